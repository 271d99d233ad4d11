#!/bin/sh
# The emulator's own tests, and every op of the CUDA set on it against its definition, in six orders and with every access looked at. Speaks TAP.
#   run.sh BUILD CASES [short]      short: in plain order only. Each random order has its own cases.
# In plain order the shapes of --tiles come as well, and reach every kernel of kernels/cuda/FACTS.
build=$1; cases=$2; short=$3
cd "$(dirname "$0")/../.." || exit 1
number=0; bad=0
ops=$(sed -n 's/^    case OP_\([A-Z0-9_]*\): return cuda_.*/\1/p' kernels/cuda/set.cu | tr 'A-Z' 'a-z')
log=$(mktemp); launches=$(mktemp); trap 'rm -f "$log" "$launches"' EXIT

try() { # name, command...
    name=$1; shift; number=$((number + 1))
    if "$@" >"$log" 2>&1; then echo "ok $number - emu: $name"
    else bad=1; echo "not ok $number - emu: $name"; grep -v '^ok' "$log" | head -n 40 | sed 's/^/# /'; fi
}
order() { # build, order, seed
    how="$1 build, $2 order${3:+ $3}"
    export EMU_ORDER="$2" EMU_SEED="$3"
    try "itself, $how" "$build/emu/$1/selftest"
    for op in $ops; do try "$op, $how" "$build/emu/$1/checkops" --set cuda --against ref --op "$op" --cases "$cases" --seed "${3:-1}"; done
}
tiles() { # build
    export EMU_ORDER=plain
    for op in $ops; do try "$op, $1 build, tiles" env EMU_LAUNCHES="$launches" "$build/emu/$1/checkops" --set cuda --against ref --op "$op" --tiles; done
}
# Every kernel that nvcc makes was launched; a template's instances count one by one.
all_launched() {
    LC_ALL=C; export LC_ALL
    cut -d ' ' -f 1 "$launches" | c++filt | sh kernels/cuda/facts.sh --names | sort -u >"$launches.names"
    sh kernels/cuda/facts.sh --kernels | sort -u | comm -23 - "$launches.names" >"$launches.never"
    echo "$(wc -l <"$launches.names") kernels were launched"; sed 's/$/: never/' "$launches.never"
    [ -s "$launches.names" ] && [ ! -s "$launches.never" ]; missing=$?
    rm -f "$launches.names" "$launches.never"
    return $missing
}

builds=plain
if [ -x "$build/emu/race/checkops" ] && [ -z "$short" ]; then builds="plain race"; fi
for b in $builds; do
    order "$b" plain
    tiles "$b"
    if [ -n "$short" ]; then continue; fi
    order "$b" reversed
    for seed in 1 2 3 4; do order "$b" random $seed; done
    try "itself, $b build, work put off" env EMU_ASYNC=1 "$build/emu/$b/selftest"
    try "itself, $b build, on a card of 16 MB" env EMU_VRAM_MB=16 "$build/emu/$b/selftest"
done
try "every kernel of kernels/cuda/FACTS was launched" all_launched
echo "1..$number"
exit $bad
