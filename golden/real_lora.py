#!/usr/bin/env python3
"""A LoRA that strangers trained and published, in cloneofsimo's format: does sdlora read it as its own project does?

    make sdlora; python golden/real_lora.py FILE [--work DIR]        a table; exit code 1 if anything is missed; three minutes, 8 GB of disk, 4 GB of memory

FILE is a safetensors file of https://github.com/cloneofsimo/lora: tensors by number, unet:N:up, unet:N:down. DIR keeps the model between runs.

1. To kohya's layout, from there to PEFT's folder, to diffusers' file, and back to cloneofsimo's: each tensor the same to the bit, and no metadata lost.
2. Merged into a model of SD 1.5's shape with random weights: each weight has to be W + up down, worked out here in float64 and rounded to float32 once. Where a
   number belongs is found as that project finds it, by walking through the modules of diffusers' classes; in the diffusers that it was written for, a transformer
   block registered attn1, ff, attn2, in that order, today attn1, attn2, ff. The order is the one in which every shape fits.
3. As kohya's file with its alphas, at 0.7: the same formula times 0.7, so that the conversion means the same.
"""
import argparse, json, pathlib, subprocess, sys, tempfile

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel

ROOT = pathlib.Path(__file__).resolve().parent.parent
missed = 0


def row(what, found, expected):
    global missed
    missed += found != expected
    print(f"{what:64} {found:>8} = {expected:>8}  {'' if found == expected else 'MISSED'}", flush=True)


def sdlora(*args):
    done = subprocess.run([ROOT / "sdlora", *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"real_lora.py: sdlora {args[0]}: {done.stderr}")
    return done.stdout


def tensors(path):
    with safe_open(path, "pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, f.metadata() or {}


# ---- the model ------------------------------------------------------------------------------------------------------------------------------

def make_model(folder):
    torch.manual_seed(15)
    parts = {"unet": UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
             "text_encoder": CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)),
             "vae": AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                                  block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4)}
    for name, net in parts.items():
        net.half().save_pretrained(folder / name)
    (folder / "scheduler").mkdir()
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(dict(
        _class_name="DDIMScheduler", beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, steps_offset=1)))
    (folder / "model_index.json").write_text(json.dumps(dict(_class_name="StableDiffusionPipeline", unet=["diffusers", "UNet2DConditionModel"],
                                                             vae=["diffusers", "AutoencoderKL"], text_encoder=["transformers", "CLIPTextModel"])))


def walk(net, classes, ff_first):
    """Paths of the linear layers within modules of these classes, as that project's inject_trainable_lora walks."""
    names = {"CrossAttention": "Attention"}                                # as diffusers calls it now
    classes = {names.get(c, c) for c in classes}

    def visit(module, path, inside):
        children = list(module.named_children())
        if ff_first and isinstance(module, BasicTransformerBlock):
            rank = {"attn1": 0, "ff": 1, "attn2": 2}
            children.sort(key=lambda c: rank.get(c[0], 3))
        inside = inside or type(module).__name__ in classes
        if inside and isinstance(module, torch.nn.Linear):
            yield path
        for name, child in children:
            yield from visit(child, f"{path}.{name}" if path else name, inside)
    return list(visit(net, "", False))


def places(half, lora, meta):
    """The path of each number."""
    with torch.device("meta"):
        net = UNet2DConditionModel(sample_size=64, cross_attention_dim=768) if half == "unet" else CLIPTextModel(CLIPTextConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12))
    modules = dict(net.named_modules())
    for ff_first in (False, True):
        paths = walk(net, json.loads(meta[half]), ff_first)
        count = sum(k.startswith(f"{half}:") and k.endswith(":up") for k in lora)
        fits = len(paths) == count and all(
            (lora[f"{half}:{i}:up"].shape[0], lora[f"{half}:{i}:down"].shape[1]) == tuple(modules[p].weight.shape) for i, p in enumerate(paths))
        if fits:
            return paths
    sys.exit(f"real_lora.py: no order of the {half}'s modules fits this file")


def compare(what, lora, meta, model, merged, weight):
    ulps, seen, changed = 0, 0, 0
    for half, file in (("unet", "unet/diffusion_pytorch_model"), ("text_encoder", "text_encoder/model")):
        if half not in meta:
            continue
        with safe_open(model / f"{file}.safetensors", "pt") as before, safe_open(merged / f"{file}.safetensors", "pt") as after:
            names = {k.removeprefix("text_model."): k for k in after.keys()}
            for i, path in enumerate(places(half, lora, meta)):
                key = f"{path}.weight"
                old = {k.removeprefix("text_model."): k for k in before.keys()}
                want = before.get_tensor(old[key.removeprefix("text_model.")]).double()
                got = after.get_tensor(names.pop(key.removeprefix("text_model.")))
                want = (want + weight * (lora[f"{half}:{i}:up"].double() @ lora[f"{half}:{i}:down"].double())).float()
                ulps = max(ulps, (got.view(torch.int32).long() - want.view(torch.int32).long()).abs().max().item())
                seen += 1
            for key, name in names.items():
                old = {k.removeprefix("text_model."): k for k in before.keys()}
                changed += not torch.equal(after.get_tensor(name), before.get_tensor(old[key]).to(after.get_tensor(name).dtype))
    row(f"{what}: modules", seen, len(lora) // 2)
    row(f"{what}: elements off by more than an ulp of float32", int(ulps > 1), 0)
    row(f"{what}: other tensors changed", changed, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch) if not args.work else args.work
        model, merged = scratch / "model", scratch / "merged"
        lora, meta = tensors(args.file)
        info = json.loads(sdlora("info", args.file, "--json"))
        row("info: layout", info["layout"], "cloneofsimo")
        row("info: modules", len(info["modules"]), len(lora) // 2)

        names = [args.file, scratch / "kohya.safetensors", scratch / "peft", scratch / "diffusers.safetensors", scratch / "back.safetensors"]
        for a, b, layout in zip(names, names[1:], ("kohya", "peft", "diffusers", "cloneofsimo")):
            sdlora("convert", a, b, "--to", layout)
        back, notes = tensors(names[-1])
        row("kohya, PEFT, diffusers and back: tensors", len(back), len(lora))
        row("of these other than they were", sum(k not in back or back[k].dtype != v.dtype or not torch.equal(back[k], v) for k, v in lora.items()), 0)
        row("metadata lost", sum(notes.get(k) != v for k, v in meta.items()), 0)

        if not model.exists():
            make_model(model)
        sdlora("merge", "--sd_model", model, "--models", args.file, "--save_to", merged, "--save_precision", "float")
        compare("cloneofsimo's file at 1", lora, meta, model, merged, 1)
        sdlora("merge", "--sd_model", model, "--models", names[1], "--ratios", 0.7, "--save_to", merged, "--save_precision", "float")
        compare("kohya's file of it at 0.7", lora, meta, model, merged, 0.7)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
