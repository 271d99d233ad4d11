#!/bin/sh
# What the owner of a card sees, on an emulated one: `sdlora devices`, --device, the checkpointing policy that follows from the memory there is, and a refusal
# that leaves nothing behind. card.sh BUILD: with emu/plain/sdlora built there. Speaks TAP.
cd "$(dirname "$0")/../.." || exit 1
sdlora=$1/emu/plain/sdlora
number=0; bad=0
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/data"
cp -r golden/demo/10_face "$work/data"

says() { # name, exit status, pattern, VARIABLE=value ..., arguments of sdlora
    name=$1; wanted=$2; pattern=$3; shift 3
    number=$((number + 1))
    env "$@" >"$work/log" 2>&1; status=$?
    if [ $status -eq "$wanted" ] && grep -q -- "$pattern" "$work/log"; then echo "ok $number - card: $name"
    else bad=1; echo "not ok $number - card: $name: exit status $status, and not \"$pattern\" in:"; head -n 30 "$work/log" | sed 's/^/# /'; fi
}

says "one device" 0 "device 0  emulated sm_75: compute capability 7.5, 46 processors at 1710 MHz, 8.00 of 8.00 GB free, 448 GB/s" "$sdlora" devices
says "its memory" 0 "0.25 of 0.25 GB free" EMU_VRAM_MB=256 "$sdlora" devices
says "two devices" 0 "device 1  emulated" EMU_DEVICES=2 "$sdlora" devices
says "auto takes the card" 0 "the default, is cuda$" "$sdlora" devices
says "auto without a card" 0 "the default, is cpu-" EMU_DEVICES=0 "$sdlora" devices
says "no driver" 0 "no NVIDIA driver was found" EMU_DEVICES=-1 "$sdlora" devices
says "no driver, asked for" 1 "^sdlora: cuda: no NVIDIA driver was found" EMU_DEVICES=-1 "$sdlora" selftest --set cuda --op fill
says "no card, asked for" 1 "^sdlora: cuda: there is a driver, but no NVIDIA card" EMU_DEVICES=0 "$sdlora" selftest --set cuda --op fill
says "the second" 0 "^ok - fill" EMU_DEVICES=2 "$sdlora" selftest --set cuda --device 1 --op fill --cases 2
says "a second that is not there" 1 "^sdlora: --device 1: there is 1, counted from 0" "$sdlora" selftest --set cuda --device 1 --op fill

job() { # MB, arguments
    mb=$1; shift
    echo EMU_VRAM_MB="$mb" "$sdlora" train --model golden/parity/a/model --train_data_dir "$work/data" --resolution 64 --train_batch_size 4 --set cuda \
        --max_train_steps 1 --output_dir "$work/out" "$@"
}
# 48 MB are blocks of weights; of 62, 60 and 57 MB a part in 32 stays the driver's.
# shellcheck disable=SC2046
{
    says "memory for everything" 0 "set's, without gradient checkpointing" $(job 62 --dry_run)
    says "less: feed-forward layers run again" 0 "set's, with gradient checkpointing of feed-forward layers" $(job 60 --dry_run)
    says "still less: blocks run again" 0 "set's, with gradient checkpointing$" $(job 57 --dry_run)
    says "what is asked for is taken" 0 "set's, with gradient checkpointing$" $(job 62 --dry_run --gradient_checkpointing)
    says "too little: one line" 1 "^sdlora: cuda: [0-9]* MB are wanted for 64x64, 4 at once, even with gradient checkpointing, and [0-9]* MB are free" $(job 52 --quiet)
}
number=$((number + 1))
if [ ! -e "$work/out" ] && [ "$(grep -c . "$work/log")" -eq 1 ]; then echo "ok $number - card: and nothing is written"
else bad=1; echo "not ok $number - card: and nothing is written"; sed 's/^/# /' "$work/log"; fi
echo "1..$number"
exit $bad
