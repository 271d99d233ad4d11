#!/usr/bin/env python3
"""Textual-inversion files in the layouts that there are, for golden/parity/a/model, and the text states of prompts with their words, in float64.

    python golden/embeddings.py      wants golden/requirements.txt; writes golden/embeddings

    dir/                             an `embeddings` folder: files of several trainers; of SDXL and of other widths; one that is damaged
    want.safetensors                 ids.{i} (77), hidden.{i} (77,12) of prompt.{i}, which stands in the metadata

Words are found as the web UI finds them: the ids of a file's name, the longest first at each place. Their vectors are rows put behind the table, by hand.
Where diffusers finds the same words its load_textual_inversion must give the same, which is checked here.
"""
import pathlib

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from f64 import double

HERE = pathlib.Path(__file__).resolve().parent
MODEL, OUT = HERE / "parity/a/model", HERE / "embeddings"
DIR = OUT / "dir"
(DIR / "more").mkdir(parents=True, exist_ok=True)

torch.manual_seed(2)
draw = lambda n: torch.randn(n, 12) * 0.5
words = {"bad-hands-5": draw(3), "<toy>": draw(1), "Cat": draw(2), "cat-dog": draw(4), "many": draw(20), "gal": draw(1)}
webui = lambda held: {"string_to_token": {"*": 265}, "string_to_param": held, "name": "inside",
                       "step": 4200, "sd_checkpoint": None, "sd_checkpoint_name": "model"}
save_file({"emb_params": words["bad-hands-5"]}, DIR / "bad-hands-5.safetensors")
torch.save({"<toy>": words["<toy>"][0]}, DIR / "learned_embeds.bin")
torch.save(webui({"*": words["Cat"].half().requires_grad_()}), DIR / "Cat.pt")
words["Cat"] = words["Cat"].half().float()
torch.save({"emb_params": words["cat-dog"]}, DIR / "cat-dog.pt")
save_file({"many things": words["many"]}, DIR / "more/many.safetensors")
save_file({"emb_params": draw(1)}, DIR / "more/Cat.safetensors")            # Cat.pt comes first
save_file({"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)}, DIR / "xl.safetensors")
save_file({"emb_params": torch.zeros(1, 1024)}, DIR / "two.safetensors")
save_file({"emb_params": torch.full((1, 12), torch.nan)}, DIR / "nan.safetensors")
save_file({"emb_params": torch.zeros(1, 12, dtype=torch.int32)}, DIR / "whole.safetensors")
save_file({"a": torch.zeros(12), "b": torch.zeros(12)}, DIR / "pair.safetensors")
(DIR / "cut.pt").write_bytes((DIR / "Cat.pt").read_bytes()[:200])
torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(words["gal"])})}, OUT / "gal.pt")
offered = ["Cat", "bad-hands-5", "cat-dog", "<toy>", "many", "gal"]       # in the order in which the folder, then gal.pt, offers them

tokenizer = CLIPTokenizer.from_pretrained(MODEL / "tokenizer")
encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids
pipe = StableDiffusionPipeline.from_pretrained(MODEL, torch_dtype=torch.float64, safety_checker=None, feature_extractor=None)
pipe.text_encoder.set_attn_implementation("eager")
text = pipe.text_encoder.eval().requires_grad_(False)
table = text.get_input_embeddings()
rows = table.weight.shape[0]

PROMPTS = [  # and whether diffusers finds the same words
    ("a Cat", True), ("bad-hands-5", True), ("red bad-hands-5, CAT.", True), ("the cat-dog, a cat, dog", False), ("(bad-hands-5:1.2), many", True),
    ("a <toy>,<toy> cat", True), ("embedding:bad-hands-5, embedding:Cat", False), ("bad-hands  -5", False), ("bad-hands-50 cat2", False),
    ("concat cats bad hands", False), ("gal", True), ("many many many many gal", False), ("embedding: cat - dog <toy", False),
    ("dog " * 73 + "bad-hands-5", True), ("a red round thing", True),
]
start = {}
weight = [table.weight.data]
for word in offered:
    start[word] = sum(len(w) for w in weight)
    weight.append(words[word].double())
named = {tuple(encode(p + w)): w for w in offered if w[0] != "<" for p in ("", "embedding:")}


def ids_of(prompt):
    out = []
    for k, piece in enumerate(prompt.split("<toy>")):                   # cut out first
        out += [start["<toy>"]] if k else []
        ids, at = encode(piece), 0
        while at < len(ids):
            n = max((len(key) for key in named if tuple(ids[at:at + len(key)]) == key), default=0)
            word = named.get(tuple(ids[at:at + n]))
            out += range(start[word], start[word] + len(words[word])) if word else [ids[at]]
            at += n or 1
    out = [tokenizer.bos_token_id] + out[:75] + [tokenizer.eos_token_id]
    return torch.tensor(out + [tokenizer.pad_token_id] * (77 - len(out)))


want, prompts = {}, {}
own = table.weight.data
for i, (prompt, _) in enumerate(PROMPTS):
    ids = ids_of(prompt)
    table.weight.data = torch.cat(weight)
    with double():
        want[f"hidden.{i}"] = text(ids[None]).last_hidden_state[0].clone()
    want[f"ids.{i}"] = ids.int()
    prompts[f"prompt.{i}"] = prompt
table.weight.data = own

for word in offered:
    pipe.load_textual_inversion(words[word].double(), token=word.lower())
for i, (prompt, same) in enumerate(PROMPTS):
    spread = pipe.maybe_convert_prompt(prompt.lower(), pipe.tokenizer)
    ids = pipe.tokenizer(spread, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    with double():
        states = pipe.text_encoder(ids).last_hidden_state[0]
    apart = (states - want[f"hidden.{i}"]).abs().max().item()
    print(prompt[:50], want[f"ids.{i}"][:14].tolist(), f"{apart:.1e}", same)
    assert apart < 1e-14 or not same
save_file(want, OUT / "want.safetensors", prompts)
