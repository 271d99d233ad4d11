#!/bin/sh
# manifest.sh >golden/MANIFEST: which script made which of the stored files, and their SHA-256; `cd golden && sha256sum -c MANIFEST` checks them.
# tests/rules.sh holds golden against it: no file changes, comes or goes unseen.
cd "$(dirname "$0")" || exit 1
export LC_ALL=C
made() { # command, what it made
    echo "# $1"
    shift
    find "$@" -type f ! -name '*.py' ! -name '*.pyc' ! -name '*.sh' ! -name '*.c' | sort | xargs sha256sum
}
made "python golden/bad.py" bad
made "python golden/captions.py" captions.safetensors
made "python golden/clip_skip.py" clip_skip.safetensors
made "python golden/embeddings.py" embeddings
made "python golden/events.py" events.tfevents
made "python golden/image.py" image
made "python golden/layout.py" layout
made "python golden/ldm.py" ldm
made "python golden/lora.py" $(find lora -type f ! -name keep.txt)
made "python golden/lora_keep.py sd-scripts/networks/resize_lora.py" lora/keep.txt
made "python golden/lr.py" lr.txt
made "python golden/make.py" parity
made "python golden/metadata.py" metadata.txt
made "python golden/ops.py" ops
made "python golden/prompts.py" prompts
made "python golden/resample.py" resample.txt
made "python golden/rng.py" rng.txt
made "python golden/samplers.py" samplers.txt schedule.txt
made "python golden/score.py" score
made "python golden/sd2.py" sd2
made "python golden/tokenizer.py" bpe tokenizer.json
made "python golden/toml.py" toml bad-toml
made "python golden/torch_files.py" torch
made "python golden/type.py" type.txt
made "python golden/words.py" words
made "the scripts in golden/scripts: pictures, tokenizer, model" demo scripts tiny-sd tokenizer
