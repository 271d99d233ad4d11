#!/bin/sh
# kernels/cuda/FACTS is of the kernels that are there, and none of them spills. Speaks TAP; needs no CUDA.
cd "$(dirname "$0")/.." || exit 1
found=$(sh kernels/cuda/facts.sh --check)
if [ -z "$found" ]; then echo "ok 1 - facts: of these kernels, none of which spills"; else echo "not ok 1 - facts"; echo "$found"; fi
echo "1..1"
[ -z "$found" ]
