#!/bin/sh
# `make CUDA=1` builds a program that starts without a driver: auto is then the processor, and --set cuda says why not. Skipped where there is no nvcc.
cd "$(dirname "$0")/.." || exit 1
if ! command -v "${NVCC:-nvcc}" >/dev/null; then echo "ok 1 - skipped: no nvcc"; echo "1..1"; exit 0; fi
number=0; bad=0
log=$(mktemp); trap 'rm -f "$log"' EXIT
is() { # name, exit status wanted, pattern, command...
    name=$1; wanted=$2; pattern=$3; shift 3
    number=$((number + 1))
    "$@" >"$log" 2>&1; status=$?
    if [ $status -eq "$wanted" ] && { [ -z "$pattern" ] || grep -q -- "$pattern" "$log"; }; then echo "ok $number - cuda_link: $name"
    else bad=1; echo "not ok $number - cuda_link: $name: exit status $status, and not \"$pattern\" in:"; tail -n 30 "$log" | sed 's/^/# /'; fi
}

build=$(make --no-print-directory CUDA=1 SAN= OPT=-O3 build-folder)
is "builds" 0 "" make --no-print-directory -s CUDA=1 SAN= OPT=-O3 "$build/sdlora"
program=$build/sdlora
if command -v cuobjdump >/dev/null; then
    is "holds code for sm_75 and PTX for later cards" 0 "PTX file.*sm_75" sh -c "cuobjdump --list-elf --list-ptx '$program' | tr '\n' ' '"
fi
is "needs no library of CUDA's" 0 "^none$" sh -c "ldd '$program' | grep -E 'libcu|libnv' || echo none"
if [ -e /dev/nvidiactl ]; then is "the card answers" 0 "^ok - fill" "$program" selftest --set cuda --op fill
else
    is "starts without a driver" 0 "the default, is cpu" "$program" devices
    is "says so in one line" 1 "^sdlora: cuda: no NVIDIA driver was found" "$program" selftest --set cuda --op fill
fi
echo "1..$number"
exit $bad
