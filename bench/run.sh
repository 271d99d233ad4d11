#!/bin/sh
# What this machine does, at the full size of Stable Diffusion 1.5: `make bench`. It wants 12 GB of memory, no model, and a machine that does nothing else.
#   run.sh BUILD [WHAT...]          all of these, or those named:
#
#   ops                         every operation alone, its calls at 512x768: GFLOP/s and GB/s (`sdlora selftest --bench`)
#   nets                        a pass of each net, a step of LoRA (bench_step)
#   sizes, threads, batches     what the U-Net and a step cost at others than 512x512, all threads, one picture
#   draw                        a picture of these three: docs/scaling.svg
#   sample                      pictures from start to end: the embedded model's, and MODEL's where it is set (`sdlora sample`)
#
# Prints tables, and adds lines to bench/results/MACHINE-CORES-WHAT.csv that begin with the commit and the date.
set -e
build=$1; shift
cd "$(dirname "$0")/.."
machine=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1 | tr -c 'A-Za-z0-9\n' '-' | sed 's/--*/-/g; s/-$//')
all=$(nproc)
results=bench/results; stem=$results/${machine:-machine}-$all
stamp=$(git describe --always --dirty 2>/dev/null || echo none),$(date +%F)
mkdir -p $results
lines=$(mktemp -d); trap 'rm -rf "$lines"' EXIT

add() { # WHAT HEADER: the lines that came in, behind the stamp
    [ -f "$stem-$1.csv" ] || echo "commit,date,$2" >"$stem-$1.csv"
    sed "s/^/$stamp,/" "$lines/$1" >>"$stem-$1.csv"
    rm "$lines/$1"
    echo "$stem-$1.csv"
}
nets="what,model,set,width,height,batch,threads,best_s,median_s,gflop,peak_mb"

ops() {
    ./sdlora selftest --bench --set cpu | tee "$lines/table"
    awk -v threads="$all" 'NR > 2 { print substr($0, 1, 10) ",\"" substr($0, 12, 26) "\"," threads "," $(NF - 2) "," $(NF - 1) "," $NF }' "$lines/table" |
        sed 's/ *,/,/g; s/ *"/"/g' >"$lines/ops"
    add ops "op,where,threads,ms,gflops,gbs"
}
nets() {
    "$build/bench_step" --csv "$lines/nets" --runs 5 --size 512x512 text forward decode
    "$build/bench_step" --csv "$lines/nets" --runs 3 --size 512x768 forward step checkpoint
    add nets "$nets"
}
scaling() { # SERIES OPTION...: at each of these the U-Net and a step, in turns
    series=$1; shift
    "$build/bench_step" --csv "$lines/rows" "$@" forward step
    sed "s/^/$series,/" "$lines/rows" >>"$lines/scaling"
    rm "$lines/rows"
}
sizes() { scaling sizes --runs 2 --size 256x256,384x384,512x512,640x640,768x768; add scaling "series,$nets"; }
threads() { scaling threads --runs 3 --size 256x256,512x512 --threads "1,$all"; add scaling "series,$nets"; }
batches() {
    scaling batches --runs 2 --size 256x256 --batch 1,2,3,4
    scaling batches --runs 2 --size 512x512 --batch 1,4
    add scaling "series,$nets"
}
draw() { awk -f bench/scaling.awk "$stem-scaling.csv" >docs/scaling.svg; echo docs/scaling.svg; }
sample() {
    picture() { # MODEL WIDTH HEIGHT PICTURES
        begin=$(date +%s.%N)
        ./sdlora sample "$1" --prompt "mochi, smile, forest" --sampler DDIM --steps 25 --seed 1 --width "$2" --height "$3" --n_iter "$4" \
            --output_dir "$lines/pictures" >/dev/null
        echo "$begin $(date +%s.%N)" | awk -v model="$(basename "$1")" -v size="$2,$3" -v n="$4" -v threads="$all" \
            '{ printf "%s,%s,%d,%d,%.2f,%.3f\n", model, size, n, threads, $2 - $1, ($2 - $1) / n }' >>"$lines/sample"
    }
    picture golden/tiny-sd 64 96 8
    [ -z "$MODEL" ] || picture "$MODEL" 512 512 1
    awk -F, '{ printf "%s, %dx%d, 25 steps of DDIM with guidance, all in all: %.2f s a picture\n", $1, $2, $3, $7 }' "$lines/sample"
    add sample "model,width,height,pictures,threads,seconds,seconds_a_picture"
}
for what in ${*:-ops nets sizes threads batches draw sample}; do echo "-- $what"; $what; done
