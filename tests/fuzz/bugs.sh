#!/bin/sh
# bugs.sh BUILD SECONDS: each tests/fuzz/bugs/NAME.sed puts one bug into a copy of one file ("# FILE: what is wrong"), and the target NAME (up to a -) must find
# it in so many seconds. BUGS: some of them. CC, FLAGS, LIB and LIBS come from the Makefile.
build=$1 seconds=$2
bugs=0 found=0
mkdir -p "$build/bugs"
for script in ${BUGS:-tests/fuzz/bugs/*.sed}; do
    bug=$(basename "$script" .sed) target=${bug%%-*} source=$(sed -n '1s/^# \([^:]*\): .*/\1/p' "$script") program=$build/bugs/$bug
    bugs=$((bugs + 1))
    sed -f "$script" "$source" >"$program.c"
    if cmp -s "$source" "$program.c"; then echo "not ok - $bug: $script changes nothing in $source"; continue; fi
    # shellcheck disable=SC2086
    $CC $FLAGS -w -I"$(dirname "$source")" -c -o "$program.o" "$program.c" &&
        $CC $FLAGS -fsanitize=fuzzer -Wl,--defsym=LLVMFuzzerTestOneInput=fuzz_"$target" -o "$program" "$program.o" "$build/tests/fuzz/fuzz_$target.o" \
            "$build/tests/fuzz/fuzz.o" $(echo " $LIB " | sed "s# $build/${source%.c}.o # #") $LIBS || { echo "not ok - $bug: is not built"; continue; }
    rm -rf build/fuzz-bugs/"$bug"; mkdir -p build/fuzz-bugs
    start=$(date +%s)
    if PROGRAM=$program sh tests/fuzz/fuzz.sh "$build" "$seconds" "$target" >"$program.log"; then echo "not ok - $bug: not found in $seconds s: $(sed -n '1s/^# //p' "$script")"
    else found=$((found + 1)); echo "ok - $bug: $(($(date +%s) - start)) s: $(sed -n '1s/^# //p' "$script")"; fi
    rm -f build/fuzz/"$target"-crash-* "$program"
done
echo "$bugs bugs, $found found"
[ "$bugs" -gt 0 ] && [ "$found" -eq "$bugs" ]
