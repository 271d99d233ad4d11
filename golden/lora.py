#!/usr/bin/env python3
"""LoRA files of every kind and layout for golden/parity/b/model, and the weights that they make of the model's, by those who made the kinds.

    python golden/lora.py                    wants golden/requirements.txt; writes golden/lora

A kind's file is golden/lora/KIND.safetensors, or the folder KIND of PEFT's; golden/lora/want.safetensors has KIND/PATH, the weight after it, in float64. The
formulas are lycoris' and peft's own modules in float64, never ours: of each the forward pass on random input has to be that of the weight.
"""
import json, pathlib, shutil

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

GOLDEN = pathlib.Path(__file__).resolve().parent
MODEL, OUT = GOLDEN / "parity/b/model", GOLDEN / "lora"
LINEAR = ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
          "down_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj"]
CONV, POINT = "down_blocks.1.resnets.0.conv1", "mid_block.attentions.0.proj_in"
TEXT = "text_model.encoder.layers.0.mlp.fc1"
want = {}


def unet():
    return UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet").double().requires_grad_(False)


def base(path):
    part = "text_encoder/model" if path.startswith("text_model") else "unet/diffusion_pytorch_model"
    tensors = load_file(MODEL / f"{part}.safetensors")
    return tensors.get(f"{path}.weight", tensors.get(path.removeprefix("text_model.") + ".weight")).double()


def module(path):
    """A layer of the path's weight, without a bias."""
    w = base(path)
    if w.dim() == 4:
        layer = torch.nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], padding=w.shape[2] // 2, bias=False).double()
    else:
        layer = torch.nn.Linear(w.shape[1], w.shape[0], bias=False).double()
    layer.weight.data = w
    return layer


def same_forward(path, layer, w):
    """The layer does what the weight does."""
    x = torch.randn((2, w.shape[1], 5, 5) if w.dim() == 4 else (2, w.shape[1])).double()
    ours = F.conv2d(x, w, padding=w.shape[2] // 2) if w.dim() == 4 else F.linear(x, w)
    theirs = layer(x)
    assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-9), path              # DoRA adds an eps to its norms


def key(path):
    return ("lora_te_" if path.startswith("text_model") else "lora_unet_") + path.replace(".", "_")


def random_(parameters):
    for p in parameters:
        p.data = (torch.randn(p.shape) * 0.4).float().double()                     # what float32 holds


# ---- LyCORIS --------------------------------------------------------------------------------------------------------------------------------

def lycoris(kind, algorithm, paths, rank=2, alpha=3.0, **options):
    tensors = {}
    for path in paths:
        org = module(path)
        net = algorithm(key(path), org, 1.0, rank, alpha, **options).double()
        random_(net.parameters())
        state = {k: v for k, v in net.state_dict().items() if k != "scalar"}
        w = org.weight.data
        delta = net.get_weight(w.shape) if algorithm is not LoConModule else locon_delta(net, state, w)
        after = w + delta
        if options.get("weight_decompose"):
            magnitude = net.dora_scale.data = (net.dora_scale.data.abs() + 0.5).float().double()
            state["dora_scale"] = magnitude
            ones = [1] * (w.dim() - 2)
            if options.get("wd_on_out", True):
                norm = after.flatten(1).norm(dim=1).reshape(-1, 1, *ones)
            else:
                norm = after.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *ones)
            after = magnitude * after / norm
        net.apply_to()
        same_forward(path, org, after)
        want[f"{kind}/{path}"] = after.detach()
        tensors |= {f"{key(path)}.{k}": v.detach().float() for k, v in state.items()}
    save_file(tensors, OUT / f"{kind}.safetensors")


def locon_delta(net, state, w):
    down, up, s = state["lora_down.weight"], state["lora_up.weight"], net.scale
    if "lora_mid.weight" in state:
        return s * torch.einsum("mnkl,im,nj->ijkl", state["lora_mid.weight"], up.flatten(1), down.flatten(1))
    return s * (up.flatten(1) @ down.flatten(1)).reshape(w.shape)


# ---- peft -----------------------------------------------------------------------------------------------------------------------------------

def peft(kind, config):
    net = unet()
    model = get_peft_model(net, config).double()
    random_(p for n, p in model.named_parameters() if any(s in n for s in ("lora_A", "lora_B", "hada_", "lokr_")))
    for n, p in model.named_parameters():
        if "magnitude" in n:
            p.data = (p.data * 1.25).float().double()
    model.float().save_pretrained(OUT / kind / "unet")
    model.double()
    (OUT / kind / "unet/README.md").unlink(missing_ok=True)
    text = json.loads((OUT / kind / "unet/adapter_config.json").read_text())
    (OUT / kind / "unet/adapter_config.json").write_text(json.dumps({k: v for k, v in text.items() if v not in (None, {}, [], "")}, indent=1) + "\n")
    merged = dict(model.merge_and_unload().named_parameters())
    for path in LINEAR + [CONV, POINT]:
        want[f"{kind}/{path}"] = merged[f"{path}.weight"].detach().contiguous()


# ---- names ----------------------------------------------------------------------------------------------------------------------------------

def names():
    """Plain LoRA under other names, types and shapes. Each file holds the same matrices, so that the weights after it are the same but for alpha."""
    plain, a_b = {}, {}
    for path in LINEAR + [POINT, TEXT]:
        w = base(path)
        a_b[path] = torch.randn(2, w.shape[1]).half(), torch.randn(w.shape[0], 2).half()

    def files(kind, name, scale, extra=lambda path: {}, four=False, paths=LINEAR + [POINT, TEXT]):
        tensors = {}
        for path in paths:
            a, b = a_b[path]
            conv = path == POINT and not four
            down, up = name(path)
            tensors |= {down: a[..., None, None].contiguous() if conv else a, up: b[..., None, None].contiguous() if conv else b} | extra(path)
            w = base(path)
            want[f"{kind}/{path}"] = w + scale(path) * (b.double() @ a.double()).reshape(w.shape)
        save_file(tensors, OUT / f"{kind}.safetensors")

    alphas = dict(zip(LINEAR + [POINT, TEXT], [torch.tensor(3), torch.tensor([0.5], dtype=torch.bfloat16), torch.tensor(1.25).half(), None,
                                               torch.tensor(0.7).double()]))
    kohya = lambda path: (f"{key(path)}.lora_down.weight", f"{key(path)}.lora_up.weight")
    files("kohya-alphas", kohya, lambda p: 1 if alphas[p] is None else alphas[p].double().item() / 2,
          lambda p: {} if alphas[p] is None else {f"{key(p)}.alpha": alphas[p]})
    files("kohya-matrices", kohya, lambda p: 1, four=True)
    te1 = lambda path: tuple(n.replace("lora_te_", "lora_te1_") for n in kohya(path))
    files("kohya-te1", te1, lambda p: 1)

    def old(path):
        if path == TEXT:
            return f"text_encoder.{path}.lora_linear_layer.down.weight", f"text_encoder.{path}.lora_linear_layer.up.weight"
        if ".attn" in path:
            stem, last = path.rsplit(".", 1)
            return f"unet.{stem}.processor.{last}_lora.down.weight", f"unet.{stem}.processor.{last}_lora.up.weight"
        return f"unet.{path}.lora.down.weight", f"unet.{path}.lora.up.weight"
    files("diffusers-old", old, lambda p: 1)
    bare = lambda path: tuple(n.removeprefix("unet.") for n in old(path))
    files("diffusers-bare", bare, lambda p: 1, paths=LINEAR)
    files("diffusers", lambda p: tuple(f"{'text_encoder' if p == TEXT else 'unet'}.{p}.lora_{x}.weight" for x in "AB"), lambda p: 1)


def pickled():
    """As torch.save writes them: PEFT's older file, and cloneofsimo's list, up and down by turns."""
    folder = OUT / "peft-bin/unet"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(OUT / "peft-pattern/unet/adapter_config.json", folder)
    torch.save(load_file(OUT / "peft-pattern/unet/adapter_model.safetensors"), folder / "adapter_model.bin")
    torch.save([torch.full((3, 1) if i % 2 == 0 else (1, 2), float(i)) for i in range(6)], OUT / "list.pt")
    torch.save([torch.full((2, 1) if i % 2 == 0 else (1, 2), float(i)) for i in range(4)], OUT / "list.text_encoder.pt")


if __name__ == "__main__":
    torch.manual_seed(6)
    [shutil.rmtree(p) if p.is_dir() else p.unlink() for p in OUT.glob("*") if p.name != "keep.txt"]
    OUT.mkdir(exist_ok=True)
    layers = LINEAR + [CONV, POINT, TEXT]
    lycoris("locon", LoConModule, layers)
    lycoris("locon-tucker", LoConModule, [CONV], use_tucker=True)
    lycoris("loha", LohaModule, layers)
    lycoris("loha-tucker", LohaModule, [CONV], use_tucker=True)
    lycoris("lokr", LokrModule, layers, rank=1, factor=2)
    lycoris("lokr-both", LokrModule, layers, rank=1, factor=4, decompose_both=True)
    lycoris("lokr-whole", LokrModule, layers, factor=2, full_matrix=True)
    lycoris("lokr-tucker", LokrModule, [CONV], rank=1, factor=2, use_tucker=True)
    lycoris("dora", LoConModule, layers, weight_decompose=True, wd_on_out=True)
    lycoris("dora-inputs", LoConModule, layers, weight_decompose=True, wd_on_out=False)
    lycoris("loha-dora", LohaModule, layers, weight_decompose=True)
    lycoris("lokr-dora", LokrModule, layers, rank=1, factor=2, weight_decompose=True)
    targets = LINEAR + [CONV, POINT]
    peft("peft-pattern", LoraConfig(r=2, lora_alpha=3, target_modules=targets, rank_pattern={"conv1": 3, "attn1.to_q": 1},
                                    alpha_pattern={"conv1": 1.5, r"mid_block.*attn2\.to_k": 5}))
    peft("peft-rslora", LoraConfig(r=3, lora_alpha=2, target_modules=targets, use_rslora=True))
    peft("peft-dora", LoraConfig(r=2, lora_alpha=1, target_modules=targets, use_dora=True))
    peft("peft-loha", LoHaConfig(r=2, alpha=3, target_modules=targets, alpha_pattern={"conv1": 0.5}))
    peft("peft-loha-core", LoHaConfig(r=2, alpha=3, target_modules=targets, use_effective_conv2d=True))
    peft("peft-lokr", LoKrConfig(r=1, alpha=3, target_modules=targets, decompose_factor=2))
    peft("peft-lokr-core", LoKrConfig(r=1, alpha=3, target_modules=targets, decompose_factor=2, decompose_both=True, use_effective_conv2d=True))
    names()
    pickled()
    save_file({k: v.contiguous() for k, v in want.items()}, OUT / "want.safetensors")
    print(f"{len(want)} weights")
