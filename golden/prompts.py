#!/usr/bin/env python3
"""Weighted and long prompts for golden/parity/a/model: token ids, text states, and what the U-Net makes of them, in float64.

    python golden/prompts.py         wants golden/requirements.txt; writes golden/prompts

    want.safetensors                 ids.{i} (k,77) of prompt.{i} under emphasis.{i}, which stand in the metadata; of the first six also states.{i} (77k,12) and
                                     unet.{i} (4,4,4), from in.latents (1,4,4,4) at t = 500
                                     path.{i}.{k} (4,4,4): x after step k of five of Euler, from torch's noise of seed i, by path.{i}, negative.{i} and cfg.{i}

The rules are those of the web UI's documentation, put otherwise than it does: every character gets the product of the brackets around it, then runs of equal
weight are texts of their own; edits are resolved from the inside out. The word mocha of golden/words/kohya.safetensors, three vectors, is put behind the table by hand.
"""
import itertools
import pathlib
import re

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from f64 import double
from make import noise_levels

HERE = pathlib.Path(__file__).resolve().parent
MODEL, OUT, LENGTH = HERE / "parity/a/model", HERE / "prompts", 75
PROMPTS = [
    ("original", "a (cat:1.3), the [dog] and ((red)) thing"),
    ("original", r"((the) \(cat\) \\ [dog\], (c(at:1.5)s (thing: -.5 ) :) ] x:2) (dog"),
    ("original", "dog dog " + ", ".join(f"the cat {i}" for i in range(19)) + ", (dog:1.2)"),
    ("original", "a cat BREAK a (dog:0.5)BREAK, BREAKS (red BREAK blue:1.4)"),
    ("original", "dog " * 73 + "(mocha:1.2) cat, " + "mocha " * 30),
    ("no_norm", "BREAK the (cat:2) BREAK BREAK thing"),
    ("ignore", "the (cat:2), c(at:1.5)s BREAK dog"),
    ("none", "the (cat:2) BREAK [dog] " * 9),
    ("original", ""),
    ("original", "dog " * 54 + "," + " cat" * 20),
    ("original", "dog " * 55 + "," + " cat" * 20),
    ("original", "dog " * 54 + "," + " cat" * 21),
    ("original", "dog " * 74 + ", the cat"),
    ("original", "dog " * 75 + ", the cat"),
    ("original", "dog " * 72 + ", BREAK" + " cat" * 80),
]
PATHS = [  # prompt, negative prompt, cfg
    (r"a [cat:dog:2] thing \[x:y:1\]", "", 3.0),
    ("the [(cat:1.3)|red, " + "the dog, " * 30 + "] AND (round:1.2) thing:0.6 AND [blue::.5]red :-.25", "a [|[dog]] BREAK the cat", 4.0),
    ("a [ [the (cat:1.4) :.25]: [red:\\\\[(blue:.5):3]: 0.45 ] [x] AND", "[a:b]: (c [dog:1]", 2.0),
    ("[red|the cat||dog] [cat:0]", "no", 1.0),
    ("red AND dog: 0.5", "the cat", 1.0),
]
STEPS = 5
NUMBER = re.compile(r"\s*([+-]?[.\d]+)\s*\)")

tokenizer = CLIPTokenizer.from_pretrained(MODEL / "tokenizer")
text = CLIPTextModel.from_pretrained(MODEL / "text_encoder", dtype=torch.float64, attn_implementation="eager").eval().requires_grad_(False)
unet = UNet2DConditionModel.from_pretrained(MODEL / "unet", torch_dtype=torch.float64).eval().requires_grad_(False)
table = text.get_input_embeddings()
rows = table.weight.shape[0]
mocha = load_file(HERE / "words/kohya.safetensors")["bundle_emb.mocha.string_to_param.*"].double()
table.weight = torch.nn.Parameter(torch.cat([table.weight.data, mocha]), requires_grad=False)
bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id


def weighted(prompt):
    """[character, weight] each; None is a BREAK."""
    prompt = re.sub(r"\s*\bBREAK\b\s*", "\0", prompt)
    out, opened, at = [], {"(": [], "[": []}, 0
    def close(kind, factor):
        for item in out[opened[kind].pop():]:
            item[1] *= factor
    while at < len(prompt):
        c, skip = prompt[at], 1
        number = NUMBER.match(prompt, at + 1) if c == ":" and opened["("] else None
        if c == "\\":
            if prompt[at + 1:at + 2] and prompt[at + 1] in "\\()[]":
                out.append([prompt[at + 1], 1.0])
                skip = 2
        elif c in opened:
            opened[c].append(len(out))
        elif number:
            close("(", float(number[1]))
            skip = number.end() - at
        elif c == ")" and opened["("]:
            close("(", 1.1)
        elif c == "]" and opened["["]:
            close("[", 1 / 1.1)
        else:
            out.append([c if c != "\0" else None, 1.0])
        at += skip
    for kind, factor in ("(", 1.1), ("[", 1 / 1.1):
        while opened[kind]:
            close(kind, factor)
    return out


def units_of(part):
    """Lists of ids that stay together."""
    for piece in re.split(r"\b(mocha)\b", part):
        if piece == "mocha":
            yield [rows, rows + 1, rows + 2]
        else:
            yield from ([i] for i in tokenizer(piece, add_special_tokens=False).input_ids)


def chunks_of(prompt, emphasis):
    comma = tokenizer(",", add_special_tokens=False).input_ids
    chunks, chunk = [], []                             # of (unit, weight)
    size = lambda units: sum(len(u) for u, _ in units)
    runs = [((False, 1.0), prompt)] if emphasis == "none" else \
           [(key, "".join(c or "\0" for c, _ in run)) for key, run in itertools.groupby(weighted(prompt), lambda x: (x[0] is None, x[1]))]
    for (is_break, weight), part in runs:
        if is_break:
            chunks += [chunk] + [[]] * (len(part) - 1)
            chunk = []
            continue
        for unit in units_of(part):
            if unit != comma and size(chunk) == LENGTH:
                commas = [i for i, (u, _) in enumerate(chunk) if u == comma]
                if commas and LENGTH - size(chunk[:commas[-1]]) <= 20:
                    chunks.append(chunk[:commas[-1] + 1])
                    chunk = chunk[commas[-1] + 1:]
            if size(chunk) + len(unit) > LENGTH:
                chunks.append(chunk)
                chunk = []
            chunk.append((unit, 1.0 if emphasis == "ignore" else weight))
    if chunk or not chunks:
        chunks.append(chunk)
    flat = [([i for u, _ in c for i in u], [w for u, w in c for _ in u]) for c in chunks]
    return [([bos] + i + [eos] * (LENGTH + 1 - len(i)), [1.0] + w + [1.0] * (LENGTH + 1 - len(w))) for i, w in flat]


want, notes = {}, {}
torch.manual_seed(3)
want["in.latents"] = torch.randn(1, 4, 4, 4, dtype=torch.float64)
for i, (emphasis, prompt) in enumerate(PROMPTS):
    states, chunks = [], chunks_of(prompt, emphasis)
    want[f"ids.{i}"] = torch.tensor([ids for ids, _ in chunks], dtype=torch.int32)
    notes |= {f"prompt.{i}": prompt, f"emphasis.{i}": emphasis}
    print(emphasis, prompt[:70], "->", [(sum(x != eos for x in ids) - 1, sorted(set(w))) for ids, w in chunks])
    if i > 5:
        continue
    with double():
        for ids, weights in chunks:
            z = text(torch.tensor([ids])).last_hidden_state[0]
            w = torch.tensor(weights, dtype=torch.float64)[:, None]
            y = z * w
            states.append(y * (z.mean() / y.mean()) if emphasis == "original" and (w != 1).any() else y)
        want[f"states.{i}"] = torch.cat(states)
        want[f"unet.{i}"] = unet(want["in.latents"], torch.tensor(500), want[f"states.{i}"][None]).sample[0]


def edited(prompt, steps):
    """The texts that the web UI encodes together, and which of them each step is drawn by."""
    protect = str.maketrans("()[]:|", "\ue001\ue002\ue003\ue004\ue005\ue006")
    restore = str.maketrans("\ue001\ue002\ue003\ue004\ue005\ue006", "()[]:|")
    prompt, ends = re.sub(r"\\.", lambda m: m[0].translate(protect), prompt), {steps}
    def at(t):
        text = prompt
        def resolve(m):
            parts, turns = m[2].split(":"), m[2].split("|")
            if m[1] == "[" and len(turns) > 1 and len(parts) == 1:
                ends.update(range(1, steps + 1))
                return turns[(t - 1) % len(turns)]
            if m[1] == "[" and len(parts) in (2, 3) and re.fullmatch(r"\s*[-+]?[.\d]+\s*", parts[-1]):
                number = float(parts[-1])
                end = min(steps, int(number * steps if "." in parts[-1] else number))
                ends.update({end} - {0})
                return ([""] + parts)[-3] if t <= end else parts[-2]
            return m[0].translate(protect)
        while (resolved := re.sub(r"([\[(])([^()\[\]]*)[\])]", resolve, text)) != text:
            text = resolved
        return text.translate(restore)
    at(1)
    order = sorted(ends)
    return [at(t) for t in order], [next(k for k, t in enumerate(order) if i <= t) for i in range(steps)]


def states_of(prompt):
    """Text states (77k,12) of each step."""
    texts, place = edited(prompt, STEPS)
    chunks = [chunks_of(t, "original") for t in texts]
    longest, empty = max(map(len, chunks)), chunks_of("", "original")
    out = [[] for _ in texts]
    for level in zip(*(c + empty * (longest - len(c)) for c in chunks)):
        z = text(torch.tensor([ids for ids, _ in level])).last_hidden_state
        y = z * torch.tensor([w for _, w in level], dtype=torch.float64)[:, :, None]
        for k, row in enumerate(y * (z.mean() / y.mean())):
            out[k].append(row)
    print(prompt[:60], "->", [t[:40] for t in texts], place, longest)
    return [torch.cat(out[k]) for k in place]


for i, (prompt, negative, cfg) in enumerate(PATHS):
    sigmas, times = noise_levels("uniform", STEPS)
    parts = [re.fullmatch(r"(.*?)(?::\s*([-+]?[.\d]+))?\s*", p, re.S).groups() for p in re.split(r"\bAND\b", prompt)]
    weights = [float(w or 1) for _, w in parts]
    torch.manual_seed(i)
    x = torch.randn(1, 4, 4, 4).double() * sigmas[0]
    with double():
        told, untold = [states_of(p) for p, _ in parts], states_of(negative)
        for k in range(STEPS):
            model = lambda states: unet(x / (1 + sigmas[k] ** 2).sqrt(), times[k], states[k][None]).sample
            u = model(untold)
            y = u + sum(cfg * w * (model(c) - u) for w, c in zip(weights, told))
            x = x + y * (sigmas[k + 1] - sigmas[k])
            want[f"path.{i}.{k}"] = x[0]
    notes |= {f"path.{i}": prompt, f"negative.{i}": negative, f"cfg.{i}": str(cfg)}
OUT.mkdir(exist_ok=True)
save_file(want, OUT / "want.safetensors", notes)
