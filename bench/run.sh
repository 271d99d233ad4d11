#!/bin/sh
# What this machine does: the nets of Stable Diffusion 1.5 at full size, one thread and all. Prints a table, and adds lines to bench/results/MACHINE.csv:
#   commit, what, model, set, width, height, batch, threads, seconds (best, median), GFLOP, MB at most
# It wants 8 GB of memory, no model, and a machine that does nothing else.     run.sh BUILD
build=$1
cd "$(dirname "$0")/.." || exit 1
machine=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1 | tr -c 'A-Za-z0-9\n' '-' | sed 's/--*/-/g; s/-$//')
commit=$(git describe --always --dirty 2>/dev/null || echo none)
all=$(nproc)
mkdir -p bench/results
out=bench/results/${machine:-machine}-$all.csv
lines=$(mktemp); trap 'rm -f "$lines"' EXIT
[ -f "$out" ] || echo "commit,what,model,set,width,height,batch,threads,best_s,median_s,gflop,peak_mb" >"$out"
run() { "$build/bench_step" --csv "$lines" "$@" || exit 1; }
run --size 512x512 --runs 3 text forward decode
run --size 512x768 --runs 3 forward step checkpoint
run --size 512x512 --runs 2 --threads 1 forward
run --size 512x512 --runs 2 --batch 4 forward
sed "s/^/$commit,/" "$lines" >>"$out"
echo "$out"
