#!/usr/bin/env python3
"""Does sdlora compute at full size what diffusers, transformers and peft compute?

    make sdlora; python golden/full.py [--only sd15] [--dir DIR] [--tokenizer DIR]     a table; exit code 1 if anything is missed

Stable Diffusion 1.5 and 2.1 in their true shapes with random weights, rounded to F16, as a diffusers folder and as a single file. Compared are text states, a
call of the U-Net at 512x512 and at 512x768, the autoencoder both ways, four steps of Euler with guidance and two LoRAs, and a training step: its loss and the
gradients of the A and B of every module. A single file has to come back from `sdlora convert` as the folder, tensor for tensor. Wants
golden/requirements.txt, 16 GB of memory and 8 GB of disk; models are kept in DIR, if it is given.

Bounds stand in golden/table.py; all sets widen the same F16 weights, exactly.
Gradients are judged all together and each for itself: of hundreds of tensors one may have luck in torch, so each has the d of the typical tensor at least.
The loss, a single number that may have luck as well, has the d of all gradients.
"""
import argparse, contextlib, gc, json, pathlib, tempfile, types

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import ldm, make
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint, convert_open_clip_checkpoint
from f64 import double
from table import MARGIN, WORK, Table, distance, fail, run
from transformers import CLIPTextConfig, CLIPTextModel

GOLDEN = pathlib.Path(__file__).resolve().parent
FLOAT = "ref", "cpu"
STEPS, CFG, RANK, ALPHA, SIDE, TALL = 4, 5.0, 4, 2.0, 512, 768
LORAS = {"one": 0.8, "two": -0.5}                      # and their weights
PROMPT, NEGATIVE, CAPTION = "a quiet harbour at dawn, oil on canvas", "people", "a red boat"
END = 49407                                            # CLIP's token; the one before it begins a prompt

STEMS = dict(unet="diffusion_pytorch_model", vae="diffusion_pytorch_model", text_encoder="model")
VAE = dict(latent_channels=4, block_out_channels=(128, 256, 512, 512), layers_per_block=2, norm_num_groups=32, scaling_factor=0.18215,
           down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4)
MODELS = {
    "sd15": dict(unet=dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8), prediction="epsilon", modules=264, pad="<|endoftext|>",
                 text=dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, hidden_act="quick_gelu")),
    "sd21": dict(unet=dict(sample_size=96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True),
                 prediction="v_prediction", modules=330, pad="!",
                 text=dict(hidden_size=1024, num_hidden_layers=23, num_attention_heads=16, intermediate_size=4096, hidden_act="gelu")),
}


# ---- models on disk -----------------------------------------------------------------------------------------------------------------------

def write_tokenizer(folder, config, given):
    """CLIP's own files, or words of single letters with CLIP's numbers for begin, end and padding."""
    folder.mkdir(parents=True, exist_ok=True)
    if given:
        for name in ("vocab.json", "merges.txt"):
            (folder / name).write_bytes((given / name).read_bytes())
    else:
        make.write_tokenizer(folder)
        vocab = json.loads((folder / "vocab.json").read_text())
        words = [w for w in vocab if not w.startswith("<|")]
        words += [f"<filler-{i}>" for i in range(END - 1 - len(words))]
        make.write_json(folder / "vocab.json", {w: i for i, w in enumerate(words + ["<|startoftext|>", "<|endoftext|>"])})
    make.write_json(folder / "tokenizer_config.json", dict(tokenizer_class="CLIPTokenizer", do_lower_case=True, model_max_length=77,
                                                           bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token=config["pad"],
                                                           unk_token="<|endoftext|>"))


def write_model(folder, key, config, tokenizer):
    """As golden/make.py draws its small models: nothing is zero or one, activations stay near 1."""
    with torch.device("meta"):
        nets = dict(text_encoder=CLIPTextModel(CLIPTextConfig(vocab_size=END + 1, max_position_embeddings=77, bos_token_id=END - 1, eos_token_id=END,
                                                              pad_token_id=END, **config["text"])),
                    unet=UNet2DConditionModel(**config["unet"]), vae=AutoencoderKL(**VAE))
    for name, net in nets.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        net.save_config(folder / name) if hasattr(net, "save_config") else net.config.save_pretrained(folder / name)
        prefix = "text_model." if name == "text_encoder" else ""
        save_file({prefix + n: make.draw_weight(f"{key} {name}", n, p.shape) for n, p in net.named_parameters()},
                  folder / name / f"{STEMS[name]}.safetensors", {"format": "pt"})
    write_tokenizer(folder / "tokenizer", config, tokenizer)
    Peers.schedule(config).save_pretrained(folder / "scheduler")
    make.write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})


def original_names(folder, state):
    """(name in a single file, part, name in the folder, "" or "[k]": a third of the rows), from diffusers' own converters."""
    config = {part: json.loads((folder / part / "config.json").read_text()) for part in state}
    yield from ((a, "unet", b, k) for a, b, k in
                ldm.converted(ldm.unet(config["unet"]), "model.diffusion_model.", lambda t: convert_ldm_unet_checkpoint(t, config["unet"])))
    yield from ((a, "vae", b, k) for a, b, k in
                ldm.converted(ldm.vae(config["vae"]), "first_stage_model.", lambda t: convert_ldm_vae_checkpoint(t, config["vae"])))
    if config["text_encoder"]["hidden_act"] == "quick_gelu":
        yield from ((f"cond_stage_model.transformer.{name}", "text_encoder", name, "") for name in state["text_encoder"])
    else:                                              # OpenCLIP's
        net = types.SimpleNamespace(config=types.SimpleNamespace(hidden_size=2))
        names = ldm.openclip(config["text_encoder"]["num_hidden_layers"])
        yield from ((a, "text_encoder", b, k) for a, b, k in
                    ldm.converted(names, "cond_stage_model.model.", lambda t: convert_open_clip_checkpoint(net, t)))


def write_single_file(path, folder):
    """The same numbers under the original program's names: fused rows, 1x1 convolutions in the autoencoder's attention, a last layer that nobody reads."""
    state, file = {part: load_file(folder / part / f"{stem}.safetensors") for part, stem in STEMS.items()}, {}
    for name, part, source, third in sorted(original_names(folder, state), key=lambda x: (x[0], x[3])):
        x = state[part][source]
        x = x[:, :, None, None] if ".mid.attn_1." in name and x.ndim == 2 else x
        file[name] = torch.cat([file[name], x]) if third and name in file else x
    last = max((int(n.split("resblocks.")[1].split(".")[0]) for n in file if "resblocks." in n), default=None)
    if last is not None:
        file |= {n.replace(f"resblocks.{last}.", f"resblocks.{last + 1}."): x.clone() for n, x in file.items() if f"resblocks.{last}." in n}
    save_file(file, path)


def write_lora(path, key, file):
    """Shapes of a file, other numbers."""
    scale = lambda name, x: 0.2 if "lora_up" in name else x[0].numel() ** -0.5
    save_file({k: x if k.endswith("alpha") else (scale(k, x) * make.draw(f"{key} {k}", x.shape)).float() for k, x in file.items()}, path)


def write_picture(folder):
    folder = folder / "1_boat"
    folder.mkdir(parents=True, exist_ok=True)
    noise = torch.tanh(make.draw("picture", (1, 3, 32, 32))).float()
    smooth = torch.nn.functional.interpolate(noise, size=(SIDE, SIDE), mode="bicubic").clamp(-1, 1)[0].permute(1, 2, 0)
    Image.fromarray(((smooth + 1) * 127.5).round().byte().numpy()).save(folder / "0.png")
    (folder / "0.txt").write_text(CAPTION)


# ---- the peers ----------------------------------------------------------------------------------------------------------------------------

class Peers:
    """The model in torch, as golden/make.py's Sampler and Lora want it."""
    def __init__(self, folder, config, dtype):
        self.config, self.dtype = config, dtype
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder", attn_implementation="eager", dtype=dtype).eval().requires_grad_(False)
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype).eval().requires_grad_(False)
        self.vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype).eval().requires_grad_(False)
        self.schedule = dict(self.schedule_of(config))

    @staticmethod
    def schedule_of(config):
        return dict(beta_start=make.BETA_START, beta_end=make.BETA_END, beta_schedule="scaled_linear", num_train_timesteps=make.T_MAX,
                    prediction_type=config["prediction"])

    @staticmethod
    def schedule(config):
        return DDIMScheduler(**Peers.schedule_of(config), clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")

    def precisely(self):
        return double() if self.dtype == torch.float64 else contextlib.nullcontext()

    def hidden(self, ids):
        return self.text(ids).last_hidden_state

    def predict(self, x, t, hidden):
        return self.unet(x.to(self.dtype), t.to(self.dtype), hidden).sample

    def merge(self, path, weight):
        """W += weight alpha/rank up down, in the precision of the net."""
        file = load_file(path)
        nets = {"lora_te_text_model_": self.text, "lora_unet_": self.unet}
        modules = {prefix + name.replace(".", "_"): m for prefix, net in nets.items() for name, m in net.named_modules()}
        for name in {k.split(".")[0] for k in file}:
            down, up = (file[f"{name}.lora_{part}.weight"].to(self.dtype) for part in ("down", "up"))
            w = modules[name].weight
            w.data += (weight * file[f"{name}.alpha"].item() / len(down) * (up.flatten(1) @ down.flatten(1))).reshape(w.shape)

    @torch.no_grad()
    def draw(self, dump):
        """From the tokens and the noise of a dump: text states, the first call, k-space behind the last step, the picture of sdlora's latent."""
        ids = torch.cat([dump["in.sample.uncond"], dump["in.sample.ids"]]).long()
        torch.set_default_dtype(torch.float64)
        sampler = make.Sampler(self, "euler", "uniform")           # exact tables for either type
        torch.set_default_dtype(self.dtype)
        with self.precisely():
            hidden = self.hidden(ids)
            x, t = dump["sample.0.input"], dump["sample.timesteps"][0]
            first = self.predict(torch.cat([x, x]), t, hidden)
            path = sampler.run(self, hidden, dump["in.sample.noise"].to(self.dtype), [])
            picture = self.vae.decode(dump["vae.latent"].to(self.dtype)).sample
        return dict(text=hidden, first=first, last=path[-1], picture=picture)

    @torch.no_grad()
    def call(self, dump):
        with self.precisely():
            return self.predict(dump["sample.0.input"], dump["sample.timesteps"][0], dump["text.hidden"].to(self.dtype))

    @torch.no_grad()
    def encode(self, path):
        x = torch.from_numpy(np.asarray(Image.open(path))).to(self.dtype).permute(2, 0, 1)[None] / 127.5 - 1
        with self.precisely():
            return self.vae.quant_conv(self.vae.encoder(x))

    def attach(self, path):
        """The LoRA of a file, to be trained."""
        config, file = dict(linear=(RANK, ALPHA)), load_file(path)
        loras = [make.Lora("", config, self.unet, "lora_unet_", [make.IN_TRANSFORMER], keep=False),
                 make.Lora("", config, self.text, "lora_te_text_model_", [make.IN_TEXT], keep=False)]
        weights = {k: p for lora in loras for k, p in lora.parameters().items()}
        for name, p in weights.items():
            p.data = file[name].to(self.dtype)
        self.unet.enable_gradient_checkpointing()
        self.unet.train()                              # what switches checkpointing on; there is no dropout
        return weights

    def train(self, weights, dump):
        """Loss and gradients, with what a dump says was drawn."""
        with self.precisely():
            predicted = self.predict(dump["train.noisy"], dump["in.t"], self.hidden(dump["in.ids"].long()))
            loss = (predicted - dump["train.target"].to(self.dtype)).square().mean()
            loss.backward()
        gradients = {k: p.grad for k, p in weights.items()}
        for p in weights.values():
            p.grad = None
        return loss.detach().reshape(1), gradients


def both(folder, config, work):
    """work(peers) in float32 and in float64, one after the other: both at once would not fit into memory."""
    results = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        peers = Peers(folder, config, dtype)
        results.append(work(peers))
        del peers
        gc.collect()
    torch.set_default_dtype(torch.float32)
    return results


# ---- sdlora -------------------------------------------------------------------------------------------------------------------------------

class Sdlora:
    def __init__(self, program, scratch):
        self.program, self.scratch = program, scratch

    def run(self, *args, threads=True):
        more = ["--threads", str(torch.get_num_threads())] if threads else []
        run(self.program, *args, *more)

    def dump(self, args, file):
        out = pathlib.Path(tempfile.mkdtemp(dir=self.scratch))
        self.run(*args, "--dump", out, "--output_dir", out)
        return load_file(out / file)

    def draw(self, model, which, height, steps, cfg, loras=()):
        named = [x for path, weight in loras for x in ("--lora", f"{path}:{weight}")]
        return self.dump(["sample", model, *named, "--prompt", PROMPT, "--negative_prompt", NEGATIVE, "--sampler_name", "Euler", "--scheduler", "uniform",
                          "--steps", steps, "--cfg_scale", cfg, "--width", SIDE, "--height", height, "--seed", 1, "--set", which], "00000.safetensors")

    def train(self, model, which, data, lora):
        return self.dump(["train", "--pretrained_model_name_or_path", model, "--train_data_dir", data, "--network_weights", lora, "--network_dim", RANK,
                          "--network_alpha", ALPHA, "--resolution", f"{SIDE},{SIDE}", "--max_train_steps", 1, "--seed", 1, "--gradient_checkpointing",
                          "--cache_latents_to_disk", "--no_report", "--set", which], "step-00000001.safetensors")


# ---- comparisons --------------------------------------------------------------------------------------------------------------------------

def compare_single_file(table, key, folder, sdlora):
    """sdlora's reader of single files gives every number of the folder, under its name there. The last layer that nobody reads it keeps."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        file, back = pathlib.Path(scratch) / "model.safetensors", pathlib.Path(scratch) / "folder"
        write_single_file(file, folder)
        says = ["--v2", "--v_parameterization"] if MODELS[key]["prediction"] == "v_prediction" else []
        sdlora.run("convert", file, back, "--to", "diffusers", *says, threads=False)
        for part, stem in STEMS.items():
            want, got = (load_file(root / part / f"{stem}.safetensors") for root in (folder, back))
            differ = sum(name not in got or not torch.equal(x, got[name]) for name, x in want.items())
            table.row(key, f"single file: of {len(want)} tensors, {part}: differ", differ, "=", 0)


def compare_sampling(table, key, folder, sdlora, loras):
    dumps = {which: sdlora.draw(folder, which, SIDE, STEPS, CFG, loras) for which in FLOAT}
    dump = dumps["ref"]

    def work(peers):
        with peers.precisely():
            plain = peers.predict(dump["sample.0.input"], dump["sample.timesteps"][0], peers.hidden(dump["in.sample.ids"].long()))
        for path, weight in loras:
            peers.merge(path, weight)
        return peers.draw(dump) | dict(plain=plain)

    with torch.no_grad():
        single, exact = both(folder, MODELS[key], work)
    for what, name, of in (("text states, two LoRAs", "text", lambda dump: dump["text.hidden"]),
                           (f"U-Net {SIDE}x{SIDE}, two LoRAs", "first", lambda dump: torch.cat([dump["sample.0.uncond"], dump["sample.0.cond"]])),
                           (f"after {STEPS} steps, guided", "last", lambda dump: dump[f"sample.{STEPS - 1}"]),
                           ("decoded picture", "picture", lambda dump: dump["vae.decoded.0"])):
        d = table.distances(key, what, single[name], exact[name], {which: of(dump) for which, dump in dumps.items()})
        if name == "first":
            table.row(key, "what the LoRAs do to it", distance(exact["plain"], exact["first"][1:]), ">=", WORK * d)


def compare_call(table, key, folder, sdlora):
    """torch is given the text states of ref64."""
    dumps = {which: sdlora.draw(folder, which, TALL, 1, 1) for which in MARGIN}
    single, exact = both(folder, MODELS[key], lambda peers: peers.call(dumps["ref64"]))
    table.distances(key, f"U-Net {SIDE}x{TALL}", single, exact, {which: dump["sample.0.output"] for which, dump in dumps.items()})


def moments_of(data):
    """(1,8,h,w): what sdlora keeps of the one picture, which it removes here."""
    file, = (data / ".latents").glob("*.safetensors")
    moments = load_file(file)["moments"].permute(2, 0, 1)[None]
    file.unlink()
    return moments


def compare_training(table, key, folder, sdlora, lora, data):
    """Each set encodes the picture itself, so its step has an input of its own: torch in float64 is given each."""
    dumps, moments = {}, {}
    for which in MARGIN:
        dumps[which] = sdlora.train(folder, which, data, lora)
        moments[which] = moments_of(data)
    names = [k.removeprefix("grad.") for k in dumps["ref64"] if k.startswith("grad.")]
    table.row(key, "modules that are trained", len(names) // 2, "=", MODELS[key]["modules"])

    def work(peers):
        encoded, weights = peers.encode(data / "1_boat/0.png"), peers.attach(lora)
        if sorted(names) != sorted(weights):
            fail(f"{key}: torch and sdlora train other modules")
        return encoded, {which: peers.train(weights, dump) for which, dump in dumps.items() if which == "ref64" or peers.dtype == torch.float64}

    (encoded32, single), (encoded64, exact) = both(folder, MODELS[key], work)
    clamped = lambda m: torch.cat([m[:, :4], m[:, 4:].clamp(-30, 20)], 1)
    table.distances(key, "encoded picture", clamped(encoded32), clamped(encoded64), {which: moments[which] for which in FLOAT})       # the cache holds float
    whole = lambda grad: torch.cat([grad[k].flatten().double() for k in names])
    d = distance(whole(single["ref64"][1]), whole(exact["ref64"][1]))
    each = {k: distance(single["ref64"][1][k], exact["ref64"][1][k]) for k in names}
    typical = float(np.median(list(each.values())))
    for which, margin in MARGIN.items():
        ours, want = {k: dumps[which][f"grad.{k}"] for k in names}, exact[which][1]
        table.row(key, f"gradients of {len(names)} tensors, {which}", distance(whole(ours), whole(want)), "<=", margin * d)
        share = {k: distance(ours[k], want[k]) / max(each[k], typical) for k in names}
        worst = max(names, key=share.get)
        table.row(key, f"  {worst[-48:]}", share[worst] * max(each[worst], typical), "<=", margin * max(each[worst], typical))
        table.row(key, f"loss, {which}", distance(dumps[which]["train.loss"].reshape(1), exact[which][0]), "<=", margin * d)


def lora_files(folder, key, config):
    """Two LoRAs for sampling and one for training, by kohya's names."""
    with torch.device("meta"):
        nets = (UNet2DConditionModel(**config["unet"]), "lora_unet_", make.IN_TRANSFORMER), \
               (CLIPTextModel(CLIPTextConfig(vocab_size=END + 1, **config["text"])), "lora_te_text_model_", make.IN_TEXT)
    file = {}
    for net, prefix, pattern in nets:
        for path, m in net.named_modules():
            if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d)) and pattern.search("." + path):
                name, w = prefix + path.replace(".", "_"), m.weight
                file |= {f"{name}.lora_down.weight": torch.empty(RANK, *w.shape[1:]), f"{name}.alpha": torch.tensor(ALPHA),
                         f"{name}.lora_up.weight": torch.empty(w.shape[0], RANK, *[1] * (w.ndim - 2))}
    for name in [*LORAS, "train"]:
        write_lora(folder / f"{key}-{name}.safetensors", f"{key} {name}", file)
    return [(folder / f"{key}-{name}.safetensors", weight) for name, weight in LORAS.items()], folder / f"{key}-train.safetensors"


def compare(table, key, root, sdlora, tokenizer):
    config, folder, data = MODELS[key], root / key, root / "data"
    if not (folder / "model_index.json").exists():
        write_model(folder, key, config, tokenizer)
    loras, lora = lora_files(root, key, config)
    write_picture(data)
    compare_single_file(table, key, folder, sdlora)
    compare_sampling(table, key, folder, sdlora, loras)
    compare_call(table, key, folder, sdlora)
    compare_training(table, key, folder, sdlora, lora, data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MODELS, help="one model")
    parser.add_argument("--dir", type=pathlib.Path, help="where the models are made, and found again")
    parser.add_argument("--tokenizer", type=pathlib.Path, help="CLIP's vocab.json and merges.txt")
    parser.add_argument("--sdlora", type=pathlib.Path, default=GOLDEN.parent / "sdlora", help="the program")
    args = parser.parse_args()
    make.SAMPLE_STEPS, make.CFG = STEPS, CFG
    with tempfile.TemporaryDirectory() as scratch:
        scratch, table = pathlib.Path(scratch), Table("model", 8, 52, timed=True)
        for key in [args.only] if args.only else MODELS:
            compare(table, key, args.dir or scratch, Sdlora(args.sdlora, scratch), args.tokenizer)
    table.end()


if __name__ == "__main__":
    main()
