"""Makes golden/clip_skip.safetensors: text states, gradients and ten training steps with clip skip, computed by torch in float64.

    python golden/clip_skip.py      needs golden/requirements.txt and golden/parity, whose models and LoRA it takes; some seconds

Clip skip n, as kohya's scripts count it: transformers' hidden_states[-n], one a layer behind the embeddings, and then final_layer_norm. F64, I32 for ids and t:
    in.{k}.*  text.hidden  lora.text.hidden  train.losses  train.norms  grad.*  step1.*  step10.*      as in make.py, model a, n = 2. Of the LoRA the text
        encoder's half alone is stored; the last layer's modules have no gradient, and AdamW leaves them as they were
    c.ids  c.hidden.{n}     model c, n = 2 and 3: the layer before the last, and the first of three"""
import pathlib, sys

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

import make
from f64 import double

HERE = pathlib.Path(__file__).resolve().parent


class Skipping(make.Model):
    """A model of golden/parity as it is stored."""
    def __init__(self, key, skip):
        folder = HERE / "parity" / key / "model"
        self.skip = skip
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder", attn_implementation="eager", dtype=torch.float64).eval().requires_grad_(False)
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float64).eval().requires_grad_(False)
        self.unet.set_attn_processor(AttnProcessor())

    def hidden(self, ids):
        out = self.text(ids, output_hidden_states=True)
        norm = self.text.final_layer_norm
        if not torch.equal(norm(out.hidden_states[-1]), out.last_hidden_state) or len(out.hidden_states) != 1 + self.text.config.num_hidden_layers:
            sys.exit("clip_skip.py: these are not the hidden states of all layers before the norm")
        return norm(out.hidden_states[-self.skip])


def file_lora(key, config, net, prefix, patterns):
    """The LoRA of golden/parity: make.py's own draws, so that it is the file's."""
    lora, stored = make.Lora(key, config, net, prefix, patterns, keep=False), load_file(HERE / "parity" / key / "lora.safetensors")
    if any(not torch.equal(x, stored[name]) for name, x in lora.file().items()):
        sys.exit("clip_skip.py: golden/parity is of another make.py")
    return lora


def training(key, skip):
    model, config = Skipping(key, skip), make.CONFIGS[key]
    gold = {name: x for name, x in make.inputs(key, config).items() if name.split(".")[1].isdigit()}
    with double(), torch.no_grad():
        gold["text.hidden"] = model.hidden(gold["in.0.ids"])
    loras = [file_lora(key, config, model.unet, "lora_unet_", [make.IN_TRANSFORMER]),
             file_lora(key, config, model.text, "lora_te_text_model_", [make.IN_TEXT])]
    with double(), torch.no_grad():
        gold["lora.text.hidden"] = model.hidden(gold["in.0.ids"])
    gold["in.t"] = gold["in.0.t"]
    make.train(model, config, loras, gold)
    wanted = ("in.", "text.", "lora.", "train.losses", "train.norms", "grad.lora_te_", "step1.lora_te_", "step10.lora_te_")
    return {name: x for name, x in gold.items() if name.startswith(wanted) and name != "in.t"}


def states(key, skips):
    ids = make.draw_ids(f"{key} ids 0", 2, make.CONFIGS[key]["text"]["max_position_embeddings"])
    models = {n: Skipping(key, n) for n in skips}
    with double(), torch.no_grad():
        return {f"{key}.ids": ids} | {f"{key}.hidden.{n}": model.hidden(ids) for n, model in models.items()}


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    gold = training("a", 2) | states("c", (2, 3))
    gold = {name: (x if x.is_floating_point() else x.int()).clone().contiguous() for name, x in gold.items()}
    save_file(gold, HERE / "clip_skip.safetensors", {"made_by": "golden/clip_skip.py"})


if __name__ == "__main__":
    main()
