#!/bin/sh
# Kernels that are wrong in one way each: mutants/NAME.sed changes one file of kernels/cuda ("# FILE OP [race]: what is wrong"), and checkops on the emulator
# must find OP wrong - with race, the build that looks at every access must tell. Speaks TAP.
#   mutants.sh BUILD      what is not changed is taken from there. MUTANTS: some of them. EMU_CXX, EMUFLAGS, EMU_LIB and LIBS come from the Makefile
build=$1
cd "$(dirname "$0")/../.." || exit 1
number=0; bad=0; caught=0
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

not_ok() { bad=1; echo "not ok $number - mutants: $1"; }
# The case that found it, or the emulator's line, or the way that it ended.
finder() { { sed -n 's/^# repeat with: .* \(--op .*\)/\1/p; s/^[^#]*: emu: \(.*\)/\1/p' "$work/log"; echo "exit status $1"; } | head -n 1 | cut -c 1-150; }

fresh() { rm -rf "$work/cuda"; mkdir "$work/cuda"; cp kernels/cuda/*.cu kernels/cuda/*.h "$work/cuda"; }
make_checkops() { # op, race or nothing: from $work/cuda
    source=$(basename "$(grep -l "^RUN($1)" kernels/cuda/*.cu)")
    others=$(ls "$build"/emu/plain/kernels/cuda/*.o | grep -v "/${source%.cu}\.o\$")
    # shellcheck disable=SC2086
    { $EMU_CXX $EMUFLAGS ${2:+-O1 -fsanitize=thread} -w -c -x c++ -o "$work/mutant.o" "$work/cuda/$source" &&
      $EMU_CXX $EMUFLAGS -o "$work/checkops" "$build/tests/checkops/main.o" "$work/mutant.o" $others $EMU_LIB $LIBS; } >"$work/log" 2>&1
}

mutant() { # script
    name=$(basename "$1" .sed); number=$((number + 1))
    # shellcheck disable=SC2046
    set -- "$1" $(sed -n '1s/^# \([^:]*\):.*/\1/p' "$1")
    what=$(sed -n '1s/^# [^:]*: //p' "$1"); file=$2; op=$3; race=$4
    fresh
    sed -f "$1" "kernels/cuda/$file" >"$work/cuda/$file"
    if cmp -s "kernels/cuda/$file" "$work/cuda/$file"; then not_ok "$name: changes nothing in kernels/cuda/$file"; return; fi
    if ! make_checkops "$op" "$race"; then not_ok "$name: is not built"; sed 's/^/# /' "$work/log" | head -n 20; return; fi
    for cases in --tiles "--cases 24"; do
        # shellcheck disable=SC2086
        timeout 300 "$work/checkops" --set cuda --against ref --op "$op" $cases >"$work/log" 2>&1
        status=$?; [ $status = 0 ] && continue
        if [ -n "$race" ] && ! grep -q ': emu: ' "$work/log"; then continue; fi
        caught=$((caught + 1)); echo "ok $number - mutants: $name: $what: $(finder $status)"; return
    done
    not_ok "$name: survived: $what"
}

number=1; fresh
if make_checkops linear race && "$work/checkops" --set cuda --against ref --op linear --tiles >"$work/log" 2>&1; then echo "ok 1 - mutants: none: nothing is found"
else not_ok "none: something is found"; sed 's/^/# /' "$work/log" | head -n 20; fi
for script in ${MUTANTS:-tests/emu/mutants/*.sed}; do mutant "$script"; done
echo "# $((number - 1)) mutants, $caught caught, $((number - 1 - caught)) survived"
echo "1..$number"
[ "$bad" = 0 ] && [ "$caught" -gt 0 ]
