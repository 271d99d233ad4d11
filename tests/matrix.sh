#!/bin/sh
# The same numbers with every compiler, optimisation, BLAS and machine that is at hand: a table of builds, a row each.
#
#   tests   the ops against their definitions, torch's vectors and whole nets, each number within its own bound (docs/numerics.md): N passed, N failed
#   bits    of a LoRA trained for four steps with 1, 2 and 5 threads: the first digits of its hash, which must be one
#
# `matrix.sh WORD`: only the rows whose names hold WORD.
#
# Two builds may differ in bits, for compilers may order a sum in another way; the two OpenBLAS may not, which are one code with other threads.
cd "$(dirname "$0")/.." || exit 1
word=$1
out=$(mktemp -d); trap 'rm -rf "$out"' EXIT
library=$(dirname "$(ls /usr/lib/*/openblas-pthread/libopenblas.so.0 | head -n 1)")
failed=0
programs='opgolden checkops parity'
printf 'opgolden\ncheckops --cases 40\nparity\n' >"$out/native"
printf 'opgolden\ncheckops --cases 4\nparity a\n' >"$out/emulated"     # a processor in software takes its time
export GOMP_SPINCOUNT=1000

# The hash of what a run has trained, from the LoRA's own metadata.
bits() { # runner, build, threads
    OMP_NUM_THREADS=$3 $1 "$2/sdlora" train --quiet --no_report --overwrite --model golden/parity/a/model --train_data_dir "$out/data" --output_dir "$out/lora" \
        --max_train_steps 4 --network_dim 2 --seed 3 >"$out/log" 2>&1 || { echo "$(tail -n 1 "$out/log")"; return; }
    head -c 4096 "$out/lora/lora.safetensors" | grep -ao 'sshs_model_hash":"[0-9a-f]\{12\}' | cut -d'"' -f3
}

row() { # name, runner, OpenBLAS's folder or "", make's variables
    name=$1 runner=$2 blas=$3; shift 3
    case $name in *"$word"*) ;; *) return 0 ;; esac
    build=$(make -s "$@" build-folder)
    list=$out/native; [ -z "$runner" ] || list=$out/emulated
    # shellcheck disable=SC2046
    if ! make -s -j2 "$@" "$build/sdlora" $(for t in $programs; do echo "$build/$t"; done) >"$out/make" 2>&1; then echo "$name: is not built"; tail -n 20 "$out/make"; failed=$((failed + 1)); return; fi
    result=$(LD_LIBRARY_PATH=$blas; export LD_LIBRARY_PATH
             RUN=$runner LIST=$list sh tests/run.sh "$build" >"$out/tests" 2>&1; tail -n 1 "$out/tests"
             for threads in 1 2 5; do bits "$runner" "$build" $threads; done)
    tests=$(echo "$result" | head -n 1) hashes=$(echo "$result" | tail -n +2 | sort -u)
    case $tests in *' 0 failed') ;; *) failed=$((failed + 1)); grep -v '^ok' "$out/tests" | head -n 40 ;; esac
    if [ "$(echo "$hashes" | wc -l)" -ne 1 ] || [ ${#hashes} -ne 12 ]; then failed=$((failed + 1)); hashes="DIFFER: $(echo $hashes)"; fi
    printf '%-34s %-24s %s\n' "$name" "$tests" "$hashes"
    last=$hashes
}

mkdir -p "$out/data/1_thing"
cp golden/demo/10_body/000.* golden/demo/10_body/001.* "$out/data/1_thing"
printf '%-34s %-24s %s\n' build tests 'bits, 1 2 5 threads'
row 'gcc -O3, OpenBLAS of pthreads' '' "$library" CC=gcc; first=$last
row 'gcc -O3, OpenBLAS of OpenMP' '' "${library%pthread}openmp" CC=gcc
[ "$first" = "$last" ] || { failed=$((failed + 1)); echo "the two OpenBLAS differ"; }
row 'gcc -O3, naive GEMM' '' '' CC=gcc GEMM=naive
row 'gcc -O0, naive GEMM' '' '' CC=gcc GEMM=naive OPT=-O0
row 'gcc -O0, OpenBLAS' '' '' CC=gcc OPT=-O0
row 'clang -O3, OpenBLAS' '' '' CC=clang
row 'clang -O3, naive GEMM' '' '' CC=clang GEMM=naive
row 'clang -O0, naive GEMM' '' '' CC=clang GEMM=naive OPT=-O0
sh .ci/arm64 build/arm64 && arm=$PWD/build/arm64/usr/lib/aarch64-linux-gnu &&
    row 'aarch64 gcc -O3, naive GEMM' "qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=$arm:/usr/aarch64-linux-gnu/lib" '' \
        CC=aarch64-linux-gnu-gcc GEMM=naive CFLAGS="-isystem $PWD/build/arm64/usr/include" LDFLAGS="-L$arm" || failed=$((failed + 1))
echo "$failed failed"
[ "$failed" -eq 0 ]
