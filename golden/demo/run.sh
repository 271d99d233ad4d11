#!/bin/sh
# The demo: a LoRA of a character that the model has never seen, from two folders of pictures, and what the model draws before and after.
# $1: the score program. Everything goes to out/demo.
set -e
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"         # threads that wait soon sleep: on a machine with other work a spinning thread keeps out the one it waits for
out=out/demo; prompts=golden/demo/prompts.txt
rm -rf $out; mkdir -p $out
echo "1/4 train on 96 faces and 259 bust and full-body portraits of mochi"
./sdlora train --pretrained_model_name_or_path golden/tiny-sd --train_data_dir golden/demo --output_dir $out --output_name mochi --save_precision fp16 \
    --network_dim 16 --network_alpha 16 --conv_dim 16 --conv_alpha 16 --unet_lr 1e-3 --text_encoder_lr 5e-4 \
    --train_batch_size 4 --max_train_steps 800 --lr_scheduler cosine --lr_warmup_steps 20 --min_snr_gamma 5 \
    --shuffle_caption --keep_tokens 1 --caption_tag_dropout_rate 0.1 --caption_dropout_rate 0.05 --seed 1
echo "2/4 draw 48 prompts without and with the LoRA, the same noise for both"
./sdlora sample golden/tiny-sd --lora $out/mochi.safetensors --from_file $prompts --sampler DDIM --steps 25 --cfg_scale 3 --batch_size 8 \
    --compare --output_dir $out/pictures --grid $out/grid.png --grid_rows 6
echo "3/4 draw them again without the word mochi"
sed 's/^mochi, /blonde hair, blue eyes, /' $prompts >$out/prompts-without-trigger.txt
./sdlora sample golden/tiny-sd --lora $out/mochi.safetensors --from_file $out/prompts-without-trigger.txt --sampler DDIM --steps 25 --cfg_scale 3 --batch_size 8 \
    --output_dir $out/pictures/no-trigger
echo "4/4 score them: out/demo/grid.png shows the first six"
"$1" --prompts $prompts --before $out/pictures/without --after $out/pictures --without $out/pictures/no-trigger
