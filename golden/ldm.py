"""Makes golden/ldm: which tensor of an original single file is which of a diffusers folder, as diffusers' own converters say.

    python golden/ldm.py            from the repository root; needs golden/requirements.txt

For two models of golden/parity, one with the text encoder of SD 1.x and one with that of 2.x, a line a tensor: the name in the single file, a tab, PART/NAME
in the folder; where one tensor of the file becomes several, "[k]" follows for the k-th third of its rows. The names of the file are put together as the
original program's constructors number their blocks; every tensor of the folder must be reached."""
import json, pathlib
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint, convert_open_clip_checkpoint
from safetensors import safe_open
from types import SimpleNamespace

PARITY, OUT = pathlib.Path("golden/parity"), pathlib.Path("golden/ldm")


def ends(name, *kinds):
    return [f"{name}.{kind}" for kind in kinds or ("weight", "bias")]


def resnet(at, time, shortcut):
    inner = ["in_layers.0", "in_layers.2", "out_layers.0", "out_layers.3"] + ["emb_layers.1"] * time + ["skip_connection"] * shortcut
    return [n for i in inner for n in ends(f"{at}.{i}")]


def transformer(at):
    b = f"{at}.transformer_blocks.0"
    names = [n for i in ("norm", "proj_in", "proj_out") for n in ends(f"{at}.{i}")] + [n for i in (1, 2, 3) for n in ends(f"{b}.norm{i}")]
    for a in ("attn1", "attn2"):
        names += [f"{b}.{a}.to_{x}.weight" for x in "qkv"] + ends(f"{b}.{a}.to_out.0")
    return names + ends(f"{b}.ff.net.0.proj") + ends(f"{b}.ff.net.2")


def unet(c):
    width, layers, levels = c["block_out_channels"], c["layers_per_block"], len(c["block_out_channels"])
    attention = ["CrossAttn" in t for t in c["down_block_types"]]
    names = ends("time_embed.0") + ends("time_embed.2") + ends("input_blocks.0.0")
    k, kept, ch = 1, [width[0]], width[0]
    for i in range(levels):
        for _ in range(layers):
            names += resnet(f"input_blocks.{k}.0", True, ch != width[i]) + (transformer(f"input_blocks.{k}.1") if attention[i] else [])
            ch, k = width[i], k + 1
            kept.append(ch)
        if i < levels - 1:
            names += ends(f"input_blocks.{k}.0.op")
            k += 1
            kept.append(ch)
    names += resnet("middle_block.0", True, False) + transformer("middle_block.1") + resnet("middle_block.2", True, False)
    k = 0
    for i in reversed(range(levels)):
        for j in range(layers + 1):
            names += resnet(f"output_blocks.{k}.0", True, ch + kept.pop() != width[i])
            ch, place = width[i], 1
            if attention[i]:
                names += transformer(f"output_blocks.{k}.1")
                place = 2
            if i and j == layers:
                names += ends(f"output_blocks.{k}.{place}.conv")
            k += 1
    return names + ends("out.0") + ends("out.2")


def vae_block(at, shortcut):
    return [n for i in ["norm1", "conv1", "norm2", "conv2"] + ["nin_shortcut"] * shortcut for n in ends(f"{at}.{i}")]


def vae(c):
    width, layers, levels = c["block_out_channels"], c["layers_per_block"], len(c["block_out_channels"])
    names = [n for i in ("quant_conv", "post_quant_conv") for n in ends(i)]
    for half in ("encoder", "decoder"):
        names += [n for i in ("conv_in", "norm_out", "conv_out") for n in ends(f"{half}.{i}")]
        names += vae_block(f"{half}.mid.block_1", False) + vae_block(f"{half}.mid.block_2", False)
        names += [n for i in ("norm", "q", "k", "v", "proj_out") for n in ends(f"{half}.mid.attn_1.{i}")]
    ch = width[0]
    for i in range(levels):
        for j in range(layers):
            names += vae_block(f"encoder.down.{i}.block.{j}", ch != width[i])
            ch = width[i]
        names += ends(f"encoder.down.{i}.downsample.conv") if i < levels - 1 else []
    for i in reversed(range(levels)):
        for j in range(layers + 1):
            names += vae_block(f"decoder.up.{i}.block.{j}", ch != width[i])
            ch = width[i]
        names += ends(f"decoder.up.{i}.upsample.conv") if i else []
    return names


def openclip(layers):
    names = ["token_embedding.weight", "positional_embedding"] + ends("ln_final")
    for n in range(layers):
        b = f"transformer.resblocks.{n}"
        names += ends(f"{b}.ln_1") + ends(f"{b}.ln_2") + [f"{b}.attn.in_proj_weight", f"{b}.attn.in_proj_bias"]
        names += ends(f"{b}.attn.out_proj") + ends(f"{b}.mlp.c_fc") + ends(f"{b}.mlp.c_proj")
    return names


def converted(names, prefix, convert):
    """The converter's own answer: every tensor holds its number, thirds of a fused one are told apart by its rows."""
    given = {prefix + n: torch.full((6, 2), float(3 * i)) + torch.tensor([0, 0, 1, 1, 2, 2.0])[:, None] * ("in_proj" in n) for i, n in enumerate(names)}
    given = {n: t[:, 0] if n.endswith("in_proj_bias") else t for n, t in given.items()}
    for name, tensor in convert(given).items():
        i, third = divmod(int(tensor.flatten()[0]), 3)
        yield prefix + names[i], name, f"[{third}]" if "in_proj" in names[i] else ""


if __name__ == "__main__":
    for key in "bc":
        config = {p: json.loads((PARITY / key / "model" / p / "config.json").read_text()) for p in ("unet", "vae", "text_encoder")}
        lines, text = [], config["text_encoder"]
        lines += [(a, "unet/" + b + k) for a, b, k in
                  converted(unet(config["unet"]), "model.diffusion_model.", lambda t: convert_ldm_unet_checkpoint(t, config["unet"]))]
        lines += [(a, "vae/" + b + k) for a, b, k in
                  converted(vae(config["vae"]), "first_stage_model.", lambda t: convert_ldm_vae_checkpoint(t, config["vae"]))]
        with safe_open(PARITY / key / "model/text_encoder/model.safetensors", "pt") as f:
            stored = ["text_model." + n.removeprefix("text_model.") for n in f.keys()]
        if text["hidden_act"] == "gelu":                   # a text encoder of SD 2.x
            model = SimpleNamespace(config=SimpleNamespace(hidden_size=2))
            lines += [(a, "text_encoder/" + b + k) for a, b, k in
                      converted(openclip(text["num_hidden_layers"]), "cond_stage_model.model.", lambda t: convert_open_clip_checkpoint(model, t))]
        else:                                              # its names are transformers', behind a prefix that diffusers takes away
            lines += [("cond_stage_model.transformer." + n, "text_encoder/" + n) for n in stored]
        for part, stem in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model")):
            with safe_open(PARITY / key / "model" / part / f"{stem}.safetensors", "pt") as f:
                want = set(f.keys()) if part != "text_encoder" else set(stored)
            got = {b.split("/", 1)[1].split("[")[0] for _, b in lines if b.startswith(part + "/")}
            assert got == want, (key, part, sorted(got ^ want)[:9])
        OUT.mkdir(exist_ok=True)
        (OUT / f"{key}.txt").write_text("".join(f"{a}\t{b}\n" for a, b in sorted(lines)))
