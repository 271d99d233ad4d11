#!/bin/sh
# The CUDA set on the emulator: every op of it against its definition, in six orders and with every access looked at. Speaks TAP.
#   run.sh BUILD CASES [SHORT]      SHORT: the plain order only
build=$1; cases=$2; short=$3
cd "$(dirname "$0")/../.." || exit 1
number=0; bad=0
ops=$(sed -n 's/^    case OP_\([A-Z0-9_]*\): return cuda_.*/\1/p' kernels/cuda/set.cu | tr 'A-Z' 'a-z')
log=$(mktemp); trap 'rm -f "$log"' EXIT

try() { # name, command...
    name=$1; shift; number=$((number + 1))
    if "$@" >"$log" 2>&1; then echo "ok $number - emu: $name"
    else bad=1; echo "not ok $number - emu: $name"; grep -v '^ok' "$log" | head -n 40 | sed 's/^/# /'; fi
}
all_ops() { # build, order, seed
    for op in $ops; do
        try "$op, $1, $2 order${3:+ $3}" env EMU_ORDER="$2" EMU_SEED="$3" "$build/emu/$1/checkops" --set cuda --against ref --op "$op" --cases "$cases"
    done
}

all_ops plain plain
if [ -z "$short" ]; then
    for v in plain race; do
        if [ ! -x "$build/emu/$v/checkops" ]; then continue; fi
        if [ $v = race ]; then all_ops race plain; fi
        all_ops $v reversed
        for seed in 1 2 3 4; do all_ops $v random $seed; done
    done
fi
echo "1..$number"
exit $bad
