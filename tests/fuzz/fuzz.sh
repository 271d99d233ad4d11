#!/bin/sh
# fuzz.sh BUILD SECONDS NAME...: libFuzzer on each target for so long, from its corpus and from what earlier runs have found (build/fuzz/NAME).
# What makes one crash, hang or leak is left as build/fuzz/NAME-crash-...; `BUILD/fuzz_NAME FILE` does it again. $PROGRAM: another program for NAME.
build=$1 seconds=$2; shift 2
bad=0
for name; do
    found=build/fuzz/$name seeds=build/fuzz/$name-seeds log=build/fuzz/$name.log
    rm -rf "$seeds" build/fuzz/"$name"-*-*; mkdir -p "$found" "$seeds"
    for file in $(find tests/fuzz/corpus/"$name" -type f) $(find $(cat tests/fuzz/corpus/"$name"/FILES 2>/dev/null) /dev/null -type f); do
        cp "$file" "$seeds/$(echo "$file" | tr / _)"
    done
    rm -f "$seeds"/*_FILES
    TMPDIR=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)"); export TMPDIR
    OMP_NUM_THREADS=1 ASAN_OPTIONS=allocator_may_return_null=1 "${PROGRAM:-$build/fuzz_$name}" -max_total_time="$seconds" -max_len=65536 -timeout=20 \
        -rss_limit_mb=4096 -artifact_prefix=build/fuzz/"$name"- ${QUICK:+-entropic=1} "$found" "$seeds" >"$log" 2>&1
    status=$?
    rm -rf "$TMPDIR"
    if [ $status -eq 0 ]; then echo "$name: $(sed -n 's/^Done \(.*\) in \(.*\)$/\1 in \2/p' "$log"), nothing found"
    else
        bad=1
        echo "$name: $(grep -m 1 -E 'ERROR|bug:|runtime error' "$log")"
        echo "    again: $build/fuzz_$name $(ls build/fuzz/"$name"-*-* 2>/dev/null | head -n 1)"
    fi
done
exit $bad
