#!/usr/bin/env python3
"""LoRA files with learned words inside, for golden/parity/a/model, and what transformers makes of prompts with them, in float64.

    python golden/words.py           wants golden/requirements.txt; writes golden/words

    cloneofsimo.safetensors          <s1>, <s2>, a vector each, and the LoRA of one layer, by place
    kohya.safetensors                mocha, three vectors, as the web UI bundles them, F16, and the same LoRA by name
    want.safetensors                 ids.{i} (77), hidden.{i} (77,12) of prompt.{i}, which stands in the metadata; both files at work

diffusers' load_textual_inversion puts the words into the tokenizer and the table; its maybe_convert_prompt spreads out the word of three vectors.
"""
import pathlib

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from f64 import double

HERE = pathlib.Path(__file__).resolve().parent
OUT, LAYER = HERE / "words", "text_model.encoder.layers.0.self_attn.k_proj"
PROMPTS = ["<s1>", "the <s1>, a dog", "style of <s1><s2>,cat<S2>", "a Mocha cat", "mocha", "MOCHA<s1>!mocha", "no word of these: s1 moch ocha < s1 >",
           " ".join(["the cat <s2>"] * 23) + " the mocha dog", " ".join(["dog"] * 71) + " dog mocha cat"]

torch.manual_seed(1)
draw = lambda *shape: (torch.randn(shape) * 0.5).half()
up, down, s1, s2, mocha = draw(12, 2).float(), draw(2, 12).float(), draw(12).float(), draw(12).float(), draw(3, 12)
OUT.mkdir(exist_ok=True)
save_file({"text_encoder:0:up": up, "text_encoder:0:down": down, "<s1>": s1, "<s2>": s2}, OUT / "cloneofsimo.safetensors",
          {"text_encoder": '["CLIPAttention"]', "text_encoder:0:rank": "2", "<s1>": "<embed>", "<s2>": "<embed>"})
key = "lora_te_" + LAYER.replace(".", "_")
save_file({f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down, "bundle_emb.mocha.string_to_param.*": mocha}, OUT / "kohya.safetensors")

pipe = StableDiffusionPipeline.from_pretrained(HERE / "parity/a/model", torch_dtype=torch.float64, safety_checker=None, feature_extractor=None)
pipe.text_encoder.set_attn_implementation("eager")
text = pipe.text_encoder.eval().requires_grad_(False)
for word, vectors in ("<s1>", s1), ("<s2>", s2), ("mocha", mocha):
    pipe.load_textual_inversion(vectors.double(), token=word)
weights = dict(text.named_parameters())
(weights.get(f"{LAYER}.weight", weights.get(f"{LAYER.removeprefix('text_model.')}.weight"))).data += 2 * up.double() @ down.double()

want, prompts = {}, {}
for i, prompt in enumerate(PROMPTS):
    spread = pipe.maybe_convert_prompt(prompt.lower(), pipe.tokenizer)
    ids = pipe.tokenizer(spread, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    with double():
        want[f"hidden.{i}"] = text(ids).last_hidden_state[0].clone()
    want[f"ids.{i}"] = ids[0].int()
    prompts[f"prompt.{i}"] = prompt
    print(prompt[:60], "->", ids[0][:12].tolist(), want[f"hidden.{i}"].dtype)
save_file(want, OUT / "want.safetensors", prompts)
