#!/bin/sh
# kernels/cuda/FACTS: what nvcc makes of each kernel for an sm_75 card, kept with the sources, so that a change of them shows what it costs without a card.
#   facts.sh BUILD      brings the table up to date, file by file where a hash differs: wants nvcc, cuobjdump and, in BUILD, checkops on the emulator
#   facts.sh --check    says what in the table is not of these sources, or spills: wants neither
#   facts.sh --kernels  names the kernels of the table
#   facts.sh --names    standard input, demangled, in the table's spelling
cd "$(dirname "$0")" || exit 1
table=FACTS
hash_of() { cat ./*.h "$1" | sha256sum | cut -c1-16; }
files() { grep -l '^KERNEL\|> KERNEL' ./*.cu | sed 's|^\./||'; }

if [ "$1" = --check ]; then
    for f in $(files); do
        grep -q "^file $f $(hash_of "$f")\$" $table || echo "kernels/cuda/FACTS: not of this $f: make facts"
    done
    awk '$1 == "file" { if (system("test -f " $2)) print "kernels/cuda/FACTS: there is no " $2 ": make facts" }
         $1 !~ /^(#|file|kernel)/ && NF && $5 != 0 { print "kernels/cuda/FACTS: " $1 " spills " $5 " times" }' $table
    exit 0
fi
spelling='s/__half/half/g; s/> >/>>/g; s/^void //; s/(.*)\( *|\|$\)/\1/; s/, /,/g; s/ *|/ |/'
if [ "$1" = --kernels ]; then awk '$1 !~ /^(#|file|kernel)$/ && NF { print $1 }' $table; exit 0; fi
if [ "$1" = --names ]; then sed "$spelling"; exit 0; fi

for tool in "${NVCC:-nvcc}" "${CUOBJDUMP:-cuobjdump}"; do
    command -v "$tool" >/dev/null || { echo "facts: skipped, there is no $tool: install the CUDA Toolkit, 12 or later, or set NVCC and CUOBJDUMP"; exit 0; }
done
build=$(cd ../.. && cd "$1" && pwd) || exit 1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# Threads and shared memory of a kernel are known where it is launched: checkops on the emulator tells.
launches_of() { # file.cu
    ops=$(sed -n 's/^RUN(\([a-z0-9_]*\)).*/\1/p' "$1")
    for op in $ops; do (cd ../.. && EMU_LAUNCHES="$work/launches" "$build/emu/plain/checkops" --set cuda --op "$op" --tiles >/dev/null); done
    touch "$work/launches"
    sort -u "$work/launches"
}

facts_of() { # file.cu
    rm -f "$work/launches" "$work/facts.o"
    # shellcheck disable=SC2086
    (cd ../.. && ${NVCC:-nvcc} $NVCCFLAGS -Iref -c -o "$work/facts.o" "kernels/cuda/$1") || exit 1
    launches_of "$1" | sed 's/^/launch /' >"$work/all"
    ${CUOBJDUMP:-cuobjdump} -res-usage "$work/facts.o" | awk '/Function/ { sub(":$", "", $2); name = $2 } /REG:/ { print "usage", name, $1, $2 }' >>"$work/all"
    ${CUOBJDUMP:-cuobjdump} -sass "$work/facts.o" >>"$work/all"
    awk -f facts.awk "$work/all" | c++filt | sed "$spelling" | sort |
        awk -F '|' '{ printf "%-44s%s\n", $1, $2 }'
}

cat >"$work/new" <<'END'
# What nvcc makes of each kernel for sm_75 (RTX 20). `make facts` writes this table; `make test` is red when it is not of these sources.
#   threads, shared   of the largest block that checkops --tiles launches, shared memory in bytes; -: it launches none
#   registers, spills   of a thread; spills: instructions that load from or store to local memory
#   occupancy         of an SM's 32 warps, by threads, registers and shared memory
#   code              instructions in all
#   loop              instructions of the main loop: the one with most tensor-core instructions (HMMA.1688: 16x8x8), - for a kernel with none
#   hmma, share       of them HMMA; at the tensor pipe's limit of one in 16 clocks a sub-core, a share above 1/16 can keep it busy
#   shared/h, global/h    bytes that a warp moves to and from shared memory, and loads from device memory, for each HMMA of the loop
kernel                                      threads registers shared spills occupancy  code  loop  hmma share shared/h global/h
END
update() { # file.cu: its part, kept or made anew, to standard output
    if grep -q "^file $1 $(hash_of "$1")\$" $table 2>/dev/null; then awk -v file="$1" '$1 == "file" { on = $2 == file } on && NF' $table
    else echo "facts: $1" >&2; echo "file $1 $(hash_of "$1")"; facts_of "$1"; fi
}
for f in $(files); do
    update "$f" >"$work/part" || exit 1
    { echo; cat "$work/part"; } >>"$work/new"
done
mv "$work/new" $table
