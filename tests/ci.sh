#!/bin/sh
# The tests again under the sanitizers, one closing line for all: address and undefined behaviour (gcc), threads (clang, Archer, naive GEMM);
# and the CUDA set on its emulator, in six orders and builds; and how much of each reader of files its corpus reaches.
cd "$(dirname "$0")/.." || exit 1
pass=0; fail=0
for target in asan tsan test-emu asan-emu; do
    echo "make $target"
    log=$(mktemp)
    make --no-print-directory $target >"$log" 2>&1
    grep -v '^\(gcc\|cc\|clang\|g++\) ' "$log" | tail -n 200
    line=$(grep '^[0-9]* passed, [0-9]* failed$' "$log" | tail -n 1)
    rm -f "$log"
    if [ -z "$line" ]; then fail=$((fail + 1)); echo "not ok - make $target: broke off"; continue; fi
    pass=$((pass + ${line%% *})); line=${line#*, }; fail=$((fail + ${line%% *}))
done
log=$(mktemp)
if make --no-print-directory fuzz-coverage >"$log" 2>&1; then pass=$((pass + 1)); else fail=$((fail + 1)); echo "not ok - make fuzz-coverage"; fi
sed -n '/^reader/,$p' "$log"; rm -f "$log"
echo "$pass passed, $fail failed"
[ "$fail" -eq 0 ]
