#!/bin/sh
# A small model trained and sampled from on the CUDA set (toy.c), and the whole program with it. Speaks TAP.
#   toy.sh BUILD STEPS RUNS [short]      short: toy alone. Else in other orders too, with work put off, and sdlora itself: always the same bits
build=$1; steps=$2; runs=$3; short=$4
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
number=$(($("$build/emu/plain/toy" "$steps" "$runs" | tee "$work/toy" | grep -c '^ok\|^not ok')))
grep -v '^1\.\.' "$work/toy"
bad=0; grep -q '^not ok' "$work/toy" && bad=1
[ "$number" -gt 0 ] || { number=1; bad=1; echo "not ok 1 - toy: did not run"; }
if [ -n "$short" ]; then echo "1..$number"; exit $bad; fi

verdict() { # status, name
    number=$((number + 1))
    if [ "$1" = 0 ]; then echo "ok $number - toy: $2"; else bad=1; echo "not ok $number - toy: $2"; sed 's/^/# /' "$work/log"; fi
}
orders="EMU_ORDER=plain EMU_ORDER=reversed EMU_ORDER=random EMU_ASYNC=1"

for order in $orders; do
    env "$order" "$build/emu/plain/toy" 5 0 >"$work/log" 2>&1 && grep '^# bits' "$work/log" >>"$work/bits"
    verdict $? "5 steps and sampling, $order"
done
cp "$work/bits" "$work/log" && [ "$(wc -l <"$work/bits")" = 4 ] && [ "$(sort -u "$work/bits" | wc -l)" = 1 ]
verdict $? "the same bits in these orders"

mkdir -p "$work/data/4_thing"
cp golden/demo/10_face/00[01].* "$work/data/4_thing"
model=golden/parity/a/model
whole() { # order, name: trains three steps, draws a picture with what was learned
    env "$1" EMU_VRAM_MB=1024 "$build/emu/plain/sdlora" train --set cuda --quiet --no_report --model $model --train_data_dir "$work/data" --max_train_steps 3 \
        --output_dir "$work/$2" &&
        env "$1" EMU_VRAM_MB=1024 "$build/emu/plain/sdlora" sample $model --set cuda --prompt thing --steps 2 --seed 1 --lora "$work/$2/lora.safetensors" \
            --output_dir "$work/$2"
}
sha() { "$build/emu/plain/sdlora" info "$work/$1/lora.safetensors" | grep model_hash; }
for order in $orders; do
    whole "$order" "$order" >"$work/log" 2>&1
    verdict $? "sdlora train and sample, $order"
done
for order in $orders; do
    cmp "$work/$order/00000.png" "$work/EMU_ORDER=plain/00000.png" >"$work/log" 2>&1 && [ "$(sha "$order")" = "$(sha EMU_ORDER=plain)" ]
    verdict $? "sdlora, the same LoRA and picture, $order"
done
echo "1..$number"
exit $bad
