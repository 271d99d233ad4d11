#!/bin/sh
# What a card does, all in under ten minutes: is it right, how fast, and how fast is torch on it? Needs no model. Writes bench/results/CARD.csv.
#
#   sh bench/bench_gpu.sh                     from the source tree, on a machine with a card, a driver and nvcc
#   PYTHON=venv/bin/python sh bench/bench_gpu.sh      with torch (CUDA), diffusers, peft and transformers beside it: bench/peers/requirements.txt
#
# This script has not met a card yet. Each line of it but those that only a card can run (nvcc's layout tests, compute-sanitizer, torch's CUDA graphs) has been
# run with the processor standing in, on a small model:
#   SET=cpu MODEL=golden/tiny-sd SIZES='64x64 64x96' PYTHON=python3 sh bench/bench_gpu.sh
set -e
cd "$(dirname "$0")/.."
set_name=${SET:-cuda}; model=${MODEL:-sd15}; sizes=${SIZES:-512x512 512x768}; python=${PYTHON:-}
cuda=; device=cpu
if [ "$set_name" = cuda ]; then cuda=1; device=cuda; fi
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
begin=$(date +%s)
say() { echo "-- $(($(date +%s) - begin)) s: $*"; }

say "building"
build=$(make --no-print-directory CUDA=$cuda build-folder)
make --no-print-directory -s CUDA=$cuda "$build/sdlora" "$build/bench_step"
sdlora=$build/sdlora

"$sdlora" devices | tee "$work/devices"
card=$(sed -n 's/^ *--device 0 *\(.*\): compute capability.*/\1/p' "$work/devices" | tr -c 'A-Za-z0-9\n' '-' | sed 's/--*/-/g; s/-$//')
if [ -n "$cuda" ] && [ -z "$card" ]; then echo "bench_gpu: no card answers: see above, and docs/gpu.md"; exit 1; fi
out=bench/results/${card:-$set_name}.csv
stamp=$(git describe --always --dirty 2>/dev/null || echo none),$(date +%F)
mkdir -p bench/results
[ -f "$out" ] || echo "commit,date,who,what,width,height,value,unit" >"$out"
add() { while IFS= read -r line; do echo "$stamp,$line" >>"$out"; done; }      # lines WHO,WHAT,WIDTH,HEIGHT,VALUE,UNIT

if [ -n "$cuda" ]; then
    say "layouts: what the kernels take for granted of fragments, shuffles, atomics, graphs"
    nvcc -std=c++17 -O2 -gencode 'arch=compute_75,code=[sm_75,compute_75]' -Iref -o "$work/layouts" tests/emu/selftest.cu "$build/ref/base/type.o" \
        "$build/ref/base/err.o" -lgomp
    "$work/layouts"
fi

say "every operation against its definition, random shapes"
"$sdlora" selftest --set "$set_name" --cases 8 | tee "$work/selftest"
if grep -q '^not ok' "$work/selftest"; then echo "bench_gpu: what is wrong need not be timed; please send the lines above"; exit 1; fi
say "one call of each at the size of SD 1.5, as far as it is told within 5 s"
sed -n 's/^ok - \([a-z0-9_]*\):.*/\1/p' "$work/selftest" | while read -r op; do
    status=0
    timeout 5 "$sdlora" selftest --set "$set_name" --full --op "$op" --case 0 >"$work/log" 2>&1 || status=$?
    if [ $status -eq 124 ]; then echo "$op: the definition takes longer"; elif [ $status -ne 0 ]; then cat "$work/log"; exit 1; fi
done
if [ -n "$cuda" ] && command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do
        say "compute-sanitizer, $tool"
        status=0
        timeout 40 compute-sanitizer --tool $tool --error-exitcode 9 "$sdlora" selftest --set cuda --cases 1 >"$work/log" 2>&1 || status=$?
        if [ $status -eq 9 ]; then tail -n 40 "$work/log"; elif [ $status -eq 124 ]; then echo "not through in 40 s"; else tail -n 1 "$work/log"; fi
    done
fi

say "operations of SD 1.5 at 512x768, each alone"
if [ "$model" = sd15 ]; then timeout 90 "$sdlora" selftest --bench --set "$set_name" | tee "$work/ops" || true
else "$sdlora" selftest --bench --set "$set_name" --op act | tee "$work/ops"; fi
awk 'NR > 2 { name = substr($0, 1, 37); sub(" *$", "", name); gsub("  *", " ", name); gsub(",", ";", name)
              head = "sdlora," name ",512,768,"
              printf "%s%.3f,ms\n%s%.3f,TFLOPS\n%s%.1f,GB/s\n", head, $(NF - 2), head, $(NF - 1) / 1000, head, $NF }' "$work/ops" | add

say "nets and a LoRA step of rank 32, 264 modules"
list=$(echo "$sizes" | tr ' ' ',')
"$build/bench_step" --model "$model" --set "$set_name" --rank 32 --runs 5 --size "$list" --csv "$work/nets" text forward decode step
awk -F, '{ printf "sdlora,%s,%s,%s,%s,s\n", $1, $4, $5, $9 }' "$work/nets" | tee "$work/ours" | add

if [ -n "$python" ]; then
    say "torch: f16, SDPA, eager and as a CUDA graph"
    # shellcheck disable=SC2086
    timeout 240 "$python" bench/peers/torch_gpu.py "$model" $sizes --rank 32 --device "$device" >"$work/torch" || echo "torch: did not come to its end"
    awk -F, '{ printf "torch,%s,%s,%s,%s,s\n", $1, $2, $3, $4 }' "$work/torch" | tee "$work/theirs" | add
else
    : >"$work/theirs"
fi

echo
cat "$work/ours" "$work/theirs" | awk -F, '{ printf "%-8s%-16s%4dx%-6d%9.4f s", $1, $2, $3, $4, $5; if ($2 ~ /step/) printf "%9.2f steps/s", 1 / $5; print "" }'
say "all is in $out"
