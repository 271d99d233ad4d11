#!/bin/sh
# Runs every test program named in tests/LIST (or in the file $LIST) from the build folder $1, and every script X.sh from tests/; closes with `N passed, N failed`.
# A program speaks TAP: a plan `1..N` and a line `ok` or `not ok` a test. One that is missing, crashes or breaks its plan counts as a failure more.
build=$1; shift
pass=0; fail=0
export CMOCKA_MESSAGE_OUTPUT=TAP
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"         # threads that wait soon sleep: tests often share a machine
log=$(mktemp); trap 'rm -f "$log"' EXIT
while read -r program arguments; do
    case $program in ''|'#'*) continue ;; esac
    case " $SKIP " in *" $program "*|*" ${program%%/*} "*) echo "$program: skipped"; continue ;; esac
    if [ $# -gt 0 ]; then case " $* " in *" $program "*) ;; *) continue ;; esac; fi
    case $program in emu/*.sh) command="sh tests/$program $build" ;; *.sh) command="sh tests/$program" ;; *) command=$build/$program ;; esac
    file=${command#sh }; file=${file%% *}
    if [ ! -x "$file" ] && [ ! -f "$file" ]; then echo "not ok - $program: missing"; fail=$((fail + 1)); continue; fi
    # shellcheck disable=SC2086
    ${RUN:-} $command $arguments >"$log" 2>&1; status=$?
    good=$(grep -c '^ok' "$log"); bad=$(grep -c '^not ok' "$log"); plan=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    pass=$((pass + good)); fail=$((fail + bad))
    echo "$program $arguments: $good passed, $bad failed"
    if [ "$bad" -gt 0 ]; then grep -v '^ok' "$log" | head -n 100; fi
    if [ "$plan" -eq 0 ] || [ "$plan" -ne $((good + bad)) ] || { [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; }; then
        echo "not ok - $program $arguments: exit status $status, planned $plan tests, saw $((good + bad))"; fail=$((fail + 1)); tail -n 20 "$log"
    fi
done <"${LIST:-$(dirname "$0")/LIST}"
echo "$pass passed, $fail failed"
[ "$fail" -eq 0 ] && [ "$pass" -gt 0 ]
