#!/bin/sh
# Wrong versions of ref/ops, one edit each (tests/mutate.c), must be noticed: tests/mutate.sh [SEED [COUNT]], 100 of seed 1 unless said otherwise.
# Quick tests come first, so most die in a second or two. At least 95 of 100 must; docs/numerics.md explains the kinds that do not. All is built with the
# address sanitizer, which sees an element too far that the tests' guards do not. Left out: trace_view.c, which draws a picture, and
# gemm_naive.c, which is not in this build.
cd "$(dirname "$0")/.." || exit 1
seed=${1:-1}; wanted=${2:-100}
tree=build/mutate; log=$tree/log
files=$(ls ref/ops/*.c | grep -v -e gemm_naive -e trace_view)
export ASAN_OPTIONS=detect_leaks=0:hard_rss_limit_mb=8000 OMP_NUM_THREADS=2 GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}" CMOCKA_MESSAGE_OUTPUT=TAP
rm -rf $tree; mkdir -p $tree
cp -R Makefile ref kernels tests $tree; ln -s ../../golden $tree/golden
cc -std=c11 -O1 -o $tree/mutate tests/mutate.c || exit 1

build() { make -s -C $tree B=build OPT=-O1 CFLAGS=-g0 SAN=address "build/$1" >$log 2>&1; }
# A minute of processor time; on a machine that is busy with other things that may be half an hour.
passes() { (cd $tree && ulimit -t 60 && exec timeout 3000 "build/$@" >log 2>&1) 2>/dev/null; }
# One a line, the quickest first. A program is linked when its turn comes.
tests="opgolden
checkops --cases 6
unit_cost
unit_set
checkops --set ref16 --cases 6
unit_step
unit_trace
unit_shadow
gradcheck
checkops --cases 60 --seed 2"
notices() { # prints the test that fails, or `compiler`
    echo "$tests" | while read -r program arguments; do
        build "$program" || { echo compiler; break; }
        # shellcheck disable=SC2086
        passes "$program" $arguments </dev/null || { echo "$program"; break; }
    done
}

noticed=$(notices 2>/dev/null)
[ -z "$noticed" ] || { cat $log; echo "not ok 1 - mutate: without a mutation, $noticed fails"; echo 1..1; exit 1; }

# shellcheck disable=SC2086
$tree/mutate pick "$seed" $((wanted + 40)) $files >$tree/picked || exit 1
made=0; killed=0; : >$tree/survivors; : >$tree/killers
while [ $made -lt "$wanted" ] && read -r file at length new && read -r shown; do
    $tree/mutate apply "$file" "$at" "$length" "$new" >"$tree/$file"
    noticed=$(notices 2>/dev/null)
    case $noticed in
    compiler) ;;                                        # not a program
    '') made=$((made + 1)); echo "# survived: $shown" | tee -a $tree/survivors ;;
    *) made=$((made + 1)); killed=$((killed + 1)); echo "$noticed" >>$tree/killers ;;
    esac
    cp "$file" "$tree/$file"
done <$tree/picked
echo "# noticed first by: $(sort $tree/killers | uniq -c | sort -rn | awk '{ printf "%s%s %s", n++ ? ", " : "", $2, $1 }')"
if [ $made -ge "$wanted" ] && [ $((killed * 100)) -ge $((made * 95)) ]; then verdict=ok; else verdict="not ok"; fi
echo "$verdict 1 - mutate: seed $seed, $made mutants, $killed noticed, $((made - killed)) survived"
echo "1..1"
[ "$verdict" = ok ]
