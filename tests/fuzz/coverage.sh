#!/bin/sh
# coverage.sh BUILD: lines of each reader that its corpora reach. A target's first line names the files that it answers for; a file that several name is counted
# over all of them. Every line counts, also those for a want of memory, which only tests/oom reaches. Regions are parts of
# lines: reported, not judged. Fails below 90 % of the lines of any reader.
build=$1 least=90
work=$build/coverage
rm -rf "$work"; mkdir -p "$work"
for target in tests/fuzz/fuzz_*.c; do
    name=$(basename "$target" .c) name=${name#fuzz_}
    LLVM_PROFILE_FILE=$work/$name-%p.profraw "$build/fuzz" "$name" >"$work/$name.log" 2>&1 || { cat "$work/$name.log"; exit 1; }
    for source in $(sed -n '1s#^/\* covers\(.*\)$#\1#p' "$target" | sed 's#\*/##'); do echo "$source $name"; done
done | sort >"$work/table"
status=0
printf '%-28s %6s %8s %7s %8s  %s\n' reader lines covered share regions targets
for source in $(cut -d' ' -f1 "$work/table" | uniq); do
    targets=$(awk -v s="$source" '$1 == s { print $2 }' "$work/table" | tr '\n' ' ')
    llvm-profdata merge -o "$work/all.profdata" $(for t in $targets; do ls "$work/$t"-*.profraw; done)
    llvm-cov report "$build/fuzz" -instr-profile="$work/all.profdata" "$source" 2>/dev/null | awk -v least=$least -v source="$source" -v targets="$targets" '
        /^TOTAL/ { printf "%-28s %6d %8d %6.1f%% %7.1f%%  %s%s\n", source, $8, $8 - $9, 100 * ($8 - $9) / $8, 100 * ($2 - $3) / $2, targets, 100 * ($8 - $9) < least * $8 ? "  TOO FEW" : ""
                   bad = 100 * ($8 - $9) < least * $8; seen = 1 } END { exit bad || !seen }' || status=1
done
exit $status
