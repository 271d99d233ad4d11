#!/bin/sh
# Every bug of bugs.cu is reported at the lines that bear its name, and its right form is not. bugs.sh BUILD: with what is built there: bugs for the plain
# build, sanitized or not, and the one that looks at every access.
build=$1
cd "$(dirname "$0")/../.." || exit 1
number=0; bad=0
log=$(mktemp); trap 'rm -f "$log"' EXIT
UBSAN_OPTIONS=print_stacktrace=1; export UBSAN_OPTIONS

verdict() { # status, name
    number=$((number + 1))
    if [ "$1" = 0 ]; then echo "ok $number - emu: $2"
    else bad=1; echo "not ok $number - emu: $2"; head -n 30 "$log" | sed 's/^/# /'; fi
}
silent() { # name, program, [VARIABLE=value]
    env $3 "$2" "$1" right >"$log" 2>&1
    verdict $? "$1: silent when right"
    if [ -s "$log" ]; then verdict 1 "$1: says nothing when right"; fi
}
reported() { # name, program, [VARIABLE=value]
    failed=0
    env $3 "$2" "$1" >"$log" 2>&1 && failed=1
    for line in $(grep -n "BUG $1 " tests/emu/bugs.cu | cut -d: -f1); do
        grep -q "tests/emu/bugs.cu:$line" "$log" || failed=1
    done
    verdict $failed "$1: reported with its line, $(basename "$(dirname "$2")")${3:+, $3}"
    silent "$@"
}

plain="two_barriers early_return half_a_warp large host_reads"
race="no_barrier no_barrier_in_loop no_syncwarp never_written never_copied read_past_end write_past_end misaligned sum_blocks"
sanitized="row_overrun read_past_end write_past_end misaligned"
program=$build/emu/plain/bugs
for bug in $plain; do reported "$bug" "$program"; done
if nm "$program" | grep -q __asan_init; then
    for bug in $sanitized; do reported "$bug" "$program"; done
elif [ -x "$build/emu/race/bugs" ]; then
    for bug in $plain $race; do reported "$bug" "$build/emu/race/bugs"; done
    reported no_sync "$build/emu/race/bugs" EMU_ASYNC=1
fi
echo "1..$number"
exit $bad
