#!/bin/sh
# Wrong versions of a room of kernels, one edit each (tests/mutate.c), must be noticed: tests/mutate.sh [SEED [COUNT [ROOM]]], 100 of seed 1 and ref/ops unless
# said otherwise; the other room is kernels/cpu. Quick tests come first, so most die in a second or two. All is built with the sanitizers, which see an
# element too far. An edit that makes the very same machine code is drawn again. One that changes no result is named in tests/mutate.equal, with the reason;
# of the others at least 95 of 100 must be noticed. Left out: trace_view.c, which draws a picture, and gemm_naive.c, which is not in this build.
cd "$(dirname "$0")/.." || exit 1
seed=${1:-1}; wanted=${2:-100}; room=${3:-ref/ops}
tree=build/mutate; log=$tree/log
# One a line, the quickest first. A program is linked when its turn comes.
case $room in
ref/ops) tests="opgolden
checkops --cases 6
unit_cost
unit_set
checkops --set ref16 --cases 6
unit_step
unit_trace
unit_shadow
gradcheck
checkops --cases 60 --seed 2" ;;
kernels/cpu) tests="opgolden
checkops --set cpu --tiles
checkops --set cpu --cases 6
checkops --set cpu-base --cases 6
unit_set
gradcheck --set cpu
checkops --set cpu --cases 40 --seed 2" ;;
*) echo "mutate.sh: $room: expected ref/ops or kernels/cpu" >&2; exit 2 ;;
esac
files=$(ls "$room"/*.c | grep -v -e gemm_naive -e trace_view)
export ASAN_OPTIONS=detect_leaks=0:hard_rss_limit_mb=8000 OMP_NUM_THREADS=2 GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}" CMOCKA_MESSAGE_OUTPUT=TAP
rm -rf $tree; mkdir -p $tree
cp -R Makefile ref kernels tests $tree; ln -s ../../golden $tree/golden
cc -std=c11 -O1 -o $tree/mutate tests/mutate.c || exit 1

build() { make -s -C $tree B=build OPT=-O1 CFLAGS=-g0 SAN=address,undefined "build/$1" >$log 2>&1; }
# Two minutes of processor time; on a machine that is busy with other things that may be half an hour.
passes() { (cd $tree && ulimit -t 120 && exec timeout 3000 "build/$@" >log 2>&1) 2>/dev/null; }
notices() { # prints the test that fails, or `compiler`
    echo "$tests" | while read -r program arguments; do
        build "$program" || { echo compiler; break; }
        # shellcheck disable=SC2086
        passes "$program" $arguments </dev/null || { echo "$program"; break; }
    done
}

# What the compiler makes of the file that is there now, optimized.
objects() {
    list=$(cd $tree && ls build/"${1%.c}".o build/"${1%.c}"_*.o 2>/dev/null | sed 's#^build#optimized#')
    # shellcheck disable=SC2086
    rm -rf $tree/optimized && make -s -C $tree B=optimized OPT=-O2 CFLAGS=-g0 $list >/dev/null 2>&1 && (cd $tree && cat $list | cksum)
}
# tests/mutate.equal has it: FILE: LINE, as it is shown, but for the number.
is_equal() { grep -qxF -- "$(echo "$1" | sed 's/:[0-9]*: /: /')" tests/mutate.equal; }

noticed=$(notices 2>/dev/null)
[ -z "$noticed" ] || { cat $log; echo "not ok 1 - mutate: without a mutation, $noticed fails"; echo 1..1; exit 1; }

# shellcheck disable=SC2086
$tree/mutate pick "$seed" $((2 * wanted)) $files >$tree/picked || exit 1
made=0; killed=0; equal=0; : >$tree/survivors; : >$tree/killers
while [ $made -lt "$wanted" ] && read -r file at length new && read -r shown; do
    was=$(objects "$file")
    $tree/mutate apply "$file" "$at" "$length" "$new" >"$tree/$file"
    if [ "$(objects "$file")" = "$was" ]; then noticed=compiler; else noticed=$(notices 2>/dev/null); fi
    cp "$file" "$tree/$file"
    [ "$noticed" != compiler ] || continue              # not a program, or the same one
    made=$((made + 1))
    if [ -n "$noticed" ]; then killed=$((killed + 1)); echo "$noticed" >>$tree/killers
    elif is_equal "$shown"; then equal=$((equal + 1))
    else echo "# survived: $shown" | tee -a $tree/survivors; fi
done <$tree/picked
echo "# noticed first by: $(sort $tree/killers | uniq -c | sort -rn | awk '{ printf "%s%s %s", n++ ? ", " : "", $2, $1 }')"
if [ $made -ge "$wanted" ] && [ $((killed * 100)) -ge $(((made - equal) * 95)) ]; then verdict=ok; else verdict="not ok"; fi
echo "$verdict 1 - mutate: $room, seed $seed, $made mutants, $killed noticed, $equal change no result, $((made - killed - equal)) survived"
echo "1..1"
[ "$verdict" = ok ]
