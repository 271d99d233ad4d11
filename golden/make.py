#!/usr/bin/env python3
"""Golden values of whole models: text encoder, UNet, VAE, LoRA training and sampling, computed by torch in float64.

    python golden/make.py            writes golden/parity/{a,b,c}; the same bytes on every run
    python golden/make.py --check    computes everything again and compares it with what is stored
Needs golden/requirements.txt; about a minute on one core. Nobody needs it to build, run or test sdlora.

Three small random models have the architecture of Stable Diffusion 1.x and differ in every number that a program could have wired in (CONFIGS below).
Each folder golden/parity/X holds
    model/               a diffusers folder, weights F16. It is written first and loaded back by diffusers and transformers, so what is judged is what is stored
    lora.safetensors     kohya names, F32; up is not zero, so that every gradient is alive; rank and alpha are no simple multiples of each other
    golden.safetensors   what the peers compute: F64, I32 for ids and timesteps; images and convolutions NCHW as torch has them. n = 2:

    in.ids (n,T)  in.t (n)  in.latents (n,4,h,w)  in.noise (n,4,h,w)     one batch; latents are as the UNet sees them (scaled)
    in.{k}.*  k = 0..9                                                   the batches of ten training steps; in.0.* is in.*
    text.layer.{i} (n,T,C)  text.hidden (n,T,C)                          output of layer i; states after the final norm
    train.noisy  train.target (n,4,h,w)                                  sqrt(ac) x0 + sqrt(1-ac) n;  n, or v = sqrt(ac) n - sqrt(1-ac) x0
    time.emb (n,4c)  unet.conv_in  unet.down_blocks.{i}  unet.mid_block  unet.up_blocks.{i}  unet.out      outputs for train.noisy, in.t, text.hidden
    lora.text.hidden  lora.unet.out                                      the same with the LoRA at work (text encoder too, where the file has modules for it)
    train.weight (n)  train.loss_each (n)  train.loss ()                 min-SNR weight; weight * mean square error of each image; their mean
    grad.<module>.lora_down.weight, .lora_up.weight                      gradient of train.loss before clipping, the shapes of lora.safetensors
    train.losses (10)  train.norms (10)                                  loss and gradient norm before clipping of each of the ten steps
    step1.<module>.*  step10.<module>.*                                  LoRA after one and ten steps: all gradients together clipped to norm 1, then AdamW
                                                                         with the constants under "the training run" below; alpha is not trained
    vae.image (2,3,H,W) in -1..1  vae.moments (2,8,h',w')                mean and log variance after quant_conv, not clamped
    vae.latent (2,4,h',w')  vae.decoded (2,3,H,W)                        decoder with post_quant_conv; no scaling factor on either side
    in.sample.ids  in.sample.uncond (m,T)  in.sample.noise (m,4,h,w)  in.sample.ancestral.{i} (m,4,h,w)    m images; i = 0..4, the last step draws no noise
    sample.<sampler>.<schedule>.{sigmas (7), timesteps (6)}              schedules uniform and karras; ddim has its own, leading
    sample.<sampler>.<schedule>.{i} (m,4,h,w)  i = 0..5                  latents after step i with the LoRA at work, CFG 3.5

Sampling is stored in k-space whatever space the sampler works in: x = x0 + sigma n. The UNet sees x / sqrt(1 + sigma^2) and t, which may be
fractional. The k samplers (euler, euler_a, dpmpp_2m) start at x = noise * sigma_max. DDIM starts at x / sqrt(1 + sigma^2) = noise, as diffusers
has it, and ends at the noise level of timestep 0 (set_alpha_to_one false): its finished latent is x / sqrt(1 + sigma_end^2).

Float64 throughout, though torch, diffusers and transformers fall back to float32 in places: golden/f64.py makes sure of it and proves it.
"""
import argparse, copy, hashlib, json, logging, math, pathlib, re, sys, tempfile, warnings
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file, save_file

logging.disable(logging.WARNING)
warnings.filterwarnings("ignore")
from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.schedulers import scheduling_euler_ancestral_discrete
from peft import LoraConfig, inject_adapter_in_model
from transformers import CLIPTextConfig, CLIPTextModel, logging as transformers_logging

from f64 import double, smooth

transformers_logging.disable_progress_bar()
HERE = pathlib.Path(__file__).resolve().parent
AGREE = 1e-10                                          # two float64 computations of the same thing, relative to the largest value
ALIVE = 1e-9                                           # a tensor below this tests nothing: the rest of a derivative that is zero

# The three models. In `attention_head_dim` diffusers keeps, by an old mistake, the number of heads.
CONFIGS = {
    "a": dict(unet=dict(block_out_channels=(8, 16), layers_per_block=1, attention_head_dim=2, cross_attention_dim=12, norm_num_groups=4),
              text=dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, max_position_embeddings=77, hidden_act="quick_gelu"),
              vae=dict(block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2, scaling_factor=0.18215), text_prefix="text_model.",
              latent=(6, 8), vae_latent=(6, 8), images=2, prediction="epsilon", min_snr=None, linear=(3, 2.0), conv=None, train_text=True),
    "b": dict(unet=dict(block_out_channels=(4, 8, 12), layers_per_block=2, attention_head_dim=(2, 1, 3), cross_attention_dim=10, norm_num_groups=2),
              text=dict(hidden_size=10, num_hidden_layers=1, num_attention_heads=2, intermediate_size=30, max_position_embeddings=16, hidden_act="quick_gelu"),
              vae=dict(block_out_channels=(4, 4, 8), layers_per_block=2, norm_num_groups=2, scaling_factor=0.3), text_prefix="",
              latent=(8, 4), vae_latent=(4, 2), images=1, prediction="v_prediction", min_snr=5.0, linear=(3, 2.0), conv=(2, 1.5), train_text=True),
    "c": dict(unet=dict(block_out_channels=(6, 9, 12, 15), layers_per_block=1, attention_head_dim=(2, 3, 4, 5), cross_attention_dim=14, norm_num_groups=3),
              text=dict(hidden_size=14, num_hidden_layers=3, num_attention_heads=2, intermediate_size=35, max_position_embeddings=20, hidden_act="gelu"),
              vae=dict(block_out_channels=(4, 4, 6, 6), layers_per_block=1, norm_num_groups=2, scaling_factor=0.5), text_prefix="text_model.",
              latent=(16, 8), vae_latent=(3, 2), images=1, prediction="epsilon", min_snr=5.0, linear=(2, 1.5), conv=None, train_text=False),
}
MERGES = ["t h", "th e</w>", "c a", "ca t</w>", "d o", "do g</w>"]
VOCAB = 512 + len(MERGES) + 2                          # bytes, bytes that end a word, merges, begin, end
BEGIN, END = VOCAB - 2, VOCAB - 1
FIRST_T = [31, 612]                                    # the SNR at 31 is far above 5, so that min-SNR has something to do

# The training run and the sampling run.
STEPS, LR_UNET, LR_TEXT, CLIP, DECAY, BETAS, EPS = 10, 1e-3, 5e-4, 1.0, 0.01, (0.9, 0.999), 1e-8
SAMPLE_STEPS, CFG = 6, 3.5
BETA_START, BETA_END, T_MAX = 0.00085, 0.012, 1000


def agree(got, want):
    return got.shape == want.shape and bool((got - want).abs().max() <= AGREE * want.abs().max())


# ---- random models ------------------------------------------------------------------------------------------------------------------------

def draw(key, shape):
    """Normal numbers from a stream of their own for every key: no draw depends on the order of the others."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "little")
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_weight(key, name, shape):
    """Nothing is zero or one, and activations stay near 1."""
    x = draw(f"{key} {name}", shape)
    if name.endswith("bias"):
        x = 0.2 * x
    elif len(shape) == 1:
        x = 1 + 0.2 * x                                # gamma of a norm
    elif "embedding" in name and "time" not in name:
        x = 0.7 * x                                    # tokens and positions
    else:
        x = x / math.sqrt(math.prod(shape[1:]))
    return x.half()


def draw_ids(key, n, length):
    """BEGIN, words, END and END again to the length, as the tokenizer pads."""
    ids = (draw(key, (n, length)).abs() * 1e6).long() % BEGIN
    for i in range(n):
        ids[i, length // 2 + 3 * i:] = END             # prompts of several lengths
    ids[:, 0] = BEGIN
    return ids


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tokenizer(folder):
    """CLIP's format: 256 bytes as printable characters, the same at the end of a word, the merges, begin, end."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    tokens = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in MERGES] + ["<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "vocab.json", {token: i for i, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    write_json(folder / "tokenizer_config.json", dict(tokenizer_class="CLIPTokenizer", do_lower_case=True, model_max_length=77, bos_token="<|startoftext|>",
                                                      eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>"))


class Model:
    """A random model, written to a diffusers folder and read back from it by the libraries."""
    def __init__(self, key, config, folder):
        unet, vae, text = config["unet"], config["vae"], config["text"]
        text = CLIPTextModel(CLIPTextConfig(vocab_size=VOCAB, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=END, **text))
        cross = len(unet["block_out_channels"]) - 1    # levels with attention: all but the last
        unet = UNet2DConditionModel(in_channels=4, out_channels=4, down_block_types=["CrossAttnDownBlock2D"] * cross + ["DownBlock2D"],
                                    up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * cross, sample_size=max(config["latent"]), **unet)
        levels = len(vae["block_out_channels"])
        vae = AutoencoderKL(latent_channels=4, down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels, **vae)
        self.text = self.store(text, key, folder / "text_encoder", "model", config["text_prefix"], attn_implementation="eager", dtype=torch.float64)
        self.unet = self.store(unet, key, folder / "unet", torch_dtype=torch.float64)
        self.vae = self.store(vae, key, folder / "vae", torch_dtype=torch.float64)
        self.schedule = dict(beta_start=BETA_START, beta_end=BETA_END, beta_schedule="scaled_linear", num_train_timesteps=T_MAX,
                             prediction_type=config["prediction"])
        self.unet.set_attn_processor(AttnProcessor())  # plain products and softmax; no fused kernel with a precision of its own
        self.vae.set_attn_processor(AttnProcessor())
        self.ddim().save_pretrained(folder / "scheduler")
        write_tokenizer(folder / "tokenizer")
        write_json(folder / "model_index.json", {
            "_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})

    def store(self, net, key, folder, stem="diffusion_pytorch_model", prefix="", **how):
        weights = {name: draw_weight(f"{key} {folder.name}", name, p.shape) for name, p in net.named_parameters()}
        folder.mkdir(parents=True, exist_ok=True)
        net.save_config(folder) if hasattr(net, "save_config") else net.config.save_pretrained(folder)
        save_file({prefix + name: w for name, w in weights.items()}, folder / f"{stem}.safetensors", {"format": "pt"})
        net = type(net).from_pretrained(folder, **how).eval().requires_grad_(False)
        for name, p in net.named_parameters():
            if p.dtype != torch.float64 or not torch.equal(p, weights[name].double()):
                sys.exit(f"make.py: {folder}: {name} did not come back as it was written")
        return net

    def ddim(self):
        return DDIMScheduler(**self.schedule, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")

    def hidden(self, ids):
        return self.text(ids).last_hidden_state

    def predict(self, x, t, hidden):
        return self.unet(x, t, hidden).sample


def trace(net, names, call):
    """The result of `call` and the outputs of the named modules on the way."""
    seen = {}
    keep = lambda name: lambda module, args, out: seen.update({name: (out[0] if isinstance(out, tuple) else out).clone()})
    hooks = [net.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    result = call()
    for hook in hooks:
        hook.remove()
    return result, seen


# ---- LoRA ---------------------------------------------------------------------------------------------------------------------------------

IN_TRANSFORMER = re.compile(r"\.attentions\.\d+\.")                     # every linear and 1x1 convolution inside
IN_RESNET = re.compile(r"\.resnets\.\d+\.(conv1|conv2|time_emb_proj|conv_shortcut)$|samplers\.0\.conv$")       # what conv_dim adds
IN_TEXT = re.compile(r"layers\.\d+\.(self_attn|mlp)\.")


class Lora:
    """The low-rank pairs of one network, put there by peft and known by kohya's names: y = W x + alpha/rank up(down(x))."""
    def __init__(self, key, config, net, prefix, patterns, keep=True):
        targets, self.pairs, self.alphas = {}, {}, {}
        for path, m in net.named_modules():
            if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d)) and any(p.search("." + path) for p in patterns):
                targets[path] = config["conv"] if getattr(m, "kernel_size", (1, 1)) != (1, 1) else config["linear"]
        self.plain, self.targets = copy.deepcopy(net) if keep else None, targets
        inject_adapter_in_model(LoraConfig(target_modules=list(targets), r=config["linear"][0], lora_alpha=config["linear"][1],
                                           rank_pattern={p: r for p, (r, _) in targets.items()}, alpha_pattern={p: a for p, (_, a) in targets.items()}), net)
        net.requires_grad_(False)
        for path, (rank, alpha) in targets.items():
            name, layer = prefix + path.replace(".", "_"), net.get_submodule(path)
            down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            for p, part, scale in ((down, "down", down[0].numel() ** -0.5), (up, "up", 0.5)):
                p.data = (scale * draw(f"{key} {name} {part}", p.shape)).float().double()                      # float: what the file will hold
                p.requires_grad_(True)
            self.pairs[name], self.alphas[name] = (down, up), torch.tensor(alpha)
            assert down.shape[0] == rank and layer.scaling["default"] == alpha / rank

    def parameters(self):
        return {f"{name}.lora_{part}.weight": p for name, pair in self.pairs.items() for part, p in zip(("down", "up"), pair)}

    def file(self):
        return {k: p.detach().float().contiguous() for k, p in self.parameters().items()} | {f"{k}.alpha": a.float() for k, a in self.alphas.items()}

    def merged(self):
        """The network with W + alpha/rank up down in place of W: what peft's answer has to equal."""
        net = copy.deepcopy(self.plain)
        for (path, (rank, alpha)), (down, up) in zip(self.targets.items(), self.pairs.values()):
            w = net.get_submodule(path).weight
            w.data += alpha / rank * (up.detach().flatten(1) @ down.detach().flatten(1)).reshape(w.shape)
        return net


# ---- diffusion ----------------------------------------------------------------------------------------------------------------------------

def noise_table():
    """alphas_cumprod and sigma = sqrt((1-ac)/ac) of timesteps 0..999."""
    ac = np.cumprod(1 - np.linspace(BETA_START ** 0.5, BETA_END ** 0.5, T_MAX) ** 2)
    return ac, np.sqrt((1 - ac) / ac)


def noise_levels(schedule, n):
    """sigmas (n+1, the last is 0) and timesteps (n) of a k sampler; sigma and t are tied by interpolation in log sigma."""
    table = noise_table()[1]
    low, high, ramp = table[0], table[-1], np.linspace(0, 1, n)
    if schedule == "uniform":
        t = np.linspace(T_MAX - 1, 0, n)
        sigmas = np.exp(np.interp(t, np.arange(T_MAX), np.log(table)))
    else:                                              # Karras et al. 2022, equation 5, rho = 7
        sigmas = (high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7
        t = np.interp(np.log(sigmas), np.log(table), np.arange(T_MAX))
    return torch.tensor([*sigmas, 0.0]), torch.tensor(t)


class Sampler:
    """A scheduler of diffusers with exact tables in place of its own. It works on x in k-space, or on x / sqrt(1 + sigma^2) if `scaled`."""
    def __init__(self, model, name, schedule):
        kind = dict(euler=EulerDiscreteScheduler, euler_a=EulerAncestralDiscreteScheduler, dpmpp_2m=DPMSolverMultistepScheduler)
        self.scaled = name in ("ddim", "dpmpp_2m")
        self.scheduler = model.ddim() if name == "ddim" else kind[name](**model.schedule)
        self.scheduler.set_timesteps(SAMPLE_STEPS)
        ac, table = noise_table()
        if name == "ddim":
            self.timesteps = self.scheduler.timesteps
            self.sigmas = torch.tensor([*table[self.timesteps.numpy()], table[0]])
            exact = dict(timesteps=self.timesteps, alphas_cumprod=torch.tensor(ac), final_alpha_cumprod=torch.tensor(ac[0]))
        else:
            self.sigmas, self.timesteps = noise_levels(schedule, SAMPLE_STEPS)
            exact = dict(timesteps=self.timesteps, sigmas=self.sigmas)
        tables = [k for k, x in vars(self.scheduler).items() if isinstance(x, torch.Tensor)]
        vars(self.scheduler).update({k: exact.get(k, torch.tensor(math.nan)) for k in tables})             # NaN: to use a float32 table after all would show
        start = self.sigmas[0] if name != "ddim" else (1 + self.sigmas[0] ** 2).sqrt()
        self.start = start / (1 + self.sigmas[0] ** 2).sqrt() if self.scaled else start

    def run(self, model, hidden, noise, ancestral):
        """hidden (2m,T,C): without, then with the prompt. The latents after every step, in k-space."""
        scheduler, drawn, path, x = copy.deepcopy(self.scheduler), iter(ancestral), [], noise * self.start
        with mock.patch.object(scheduling_euler_ancestral_discrete, "randn_tensor", lambda *a, **k: next(drawn, torch.zeros_like(noise))):
            for t, sigma in zip(self.timesteps, self.sigmas[1:]):
                seen = scheduler.scale_model_input(x, t)
                without, prompted = model.predict(torch.cat([seen, seen]), t.expand(len(hidden)), hidden).chunk(2)
                x = scheduler.step(without + CFG * (prompted - without), t, x).prev_sample
                path.append(x * (1 + sigma ** 2).sqrt() if self.scaled else x)
        return path


# ---- the golden values --------------------------------------------------------------------------------------------------------------------

def inputs(key, config):
    """in.*: batches, then what sampling needs."""
    n, m, size, length, gold = len(FIRST_T), config["images"], config["latent"], config["text"]["max_position_embeddings"], {}
    for k in range(STEPS):
        gold |= {f"in.{k}.{name}": draw(f"{key} {name} {k}", (n, 4, *size)) for name in ("latents", "noise")}
        gold[f"in.{k}.t"] = torch.tensor(FIRST_T) if k == 0 else (draw(f"{key} t {k}", (n,)).abs() * 1e6).long() % T_MAX
        gold[f"in.{k}.ids"] = draw_ids(f"{key} ids {k}", n, length)
    gold |= {f"in.{name}": gold[f"in.0.{name}"] for name in ("latents", "noise", "t", "ids")}
    gold |= {"in.sample.ids": draw_ids(f"{key} sample ids", m, length), "in.sample.uncond": torch.tensor([[BEGIN] + [END] * (length - 1)] * m)}
    gold |= {f"in.sample.{name}": draw(f"{key} sample {name}", (m, 4, *size)) for name in ["noise", *(f"ancestral.{i}" for i in range(SAMPLE_STEPS - 1))]}
    return gold


def noisy_and_target(config, latents, noise, t):
    ac = torch.tensor(noise_table()[0])[t].view(-1, 1, 1, 1)
    v = ac.sqrt() * noise - (1 - ac).sqrt() * latents
    return ac.sqrt() * latents + (1 - ac).sqrt() * noise, v if config["prediction"] == "v_prediction" else noise


def min_snr(config, t):
    ac = torch.tensor(noise_table()[0])[t]
    snr = ac / (1 - ac)
    if config["min_snr"] is None:
        return torch.ones_like(snr)
    return snr.clamp(max=config["min_snr"]) / (snr + 1 if config["prediction"] == "v_prediction" else snr)


def losses(model, config, latents, noise, t, ids):
    """weight * mean square error of each image."""
    noisy, target = noisy_and_target(config, latents, noise, t)
    return min_snr(config, t) * (model.predict(noisy, t, model.hidden(ids)) - target).square().mean((1, 2, 3))


def forward(model, config, gold):
    """Every net without LoRA, layer by layer."""
    layers = [f"encoder.layers.{i}" for i in range(config["text"]["num_hidden_layers"])]
    levels = range(len(config["unet"]["block_out_channels"]))
    blocks = ["time_embedding", "conv_in", *(f"down_blocks.{i}" for i in levels), "mid_block", *(f"up_blocks.{i}" for i in levels)]
    image = torch.tanh(draw("image", (2, 3, *(x << (len(config["vae"]["block_out_channels"]) - 1) for x in config["vae_latent"]))))
    latent, t = draw("latent", (2, 4, *config["vae_latent"])), gold["in.t"].double()
    encode, decode = lambda x: model.vae.quant_conv(model.vae.encoder(x)), lambda z: model.vae.decode(z).sample
    with double(), torch.no_grad():
        hidden, seen = trace(model.text, layers, lambda: model.hidden(gold["in.ids"]))
        gold |= {"text.hidden": hidden} | {f"text.layer.{i}": seen[name] for i, name in enumerate(layers)}
        noisy, target = noisy_and_target(config, gold["in.latents"], gold["in.noise"], gold["in.t"])
        out, seen = trace(model.unet, blocks, lambda: model.predict(noisy, gold["in.t"], hidden))
        gold |= {"train.noisy": noisy, "train.target": target, "time.emb": seen.pop("time_embedding"), "unet.out": out}
        gold |= {f"unet.{name}": x for name, x in seen.items()}
        gold |= {"vae.image": image, "vae.moments": encode(image), "vae.latent": latent, "vae.decoded": decode(latent)}
    tokens = "embeddings.token_embedding.weight"
    smooth("text encoder", lambda w: torch.func.functional_call(model.text, {tokens: w}, gold["in.ids"]).last_hidden_state, model.text.get_parameter(tokens))
    smooth("UNet, latents", lambda x: model.predict(x, t, hidden), noisy)
    smooth("UNet, timestep", lambda t: model.predict(noisy, t, hidden), t)
    smooth("UNet, text", lambda h: model.predict(noisy, t, h), hidden)
    smooth("VAE encoder", encode, image)
    smooth("VAE decoder", decode, latent)


def sample(model, gold):
    ancestral = [gold[f"in.sample.ancestral.{i}"] for i in range(SAMPLE_STEPS - 1)]
    with double(), torch.no_grad():
        hidden = model.hidden(torch.cat([gold["in.sample.uncond"], gold["in.sample.ids"]]))
    for key in ["ddim.leading", *(f"{name}.{schedule}" for name in ("euler", "euler_a", "dpmpp_2m") for schedule in ("uniform", "karras"))]:
        sampler = Sampler(model, *key.split("."))
        with double(), torch.no_grad():
            path = sampler.run(model, hidden, gold["in.sample.noise"], ancestral)
        gold |= {f"sample.{key}.sigmas": sampler.sigmas, f"sample.{key}.timesteps": sampler.timesteps}
        gold |= {f"sample.{key}.{i}": x for i, x in enumerate(path)}
        smooth(key, lambda noise: sampler.run(model, hidden, noise, ancestral)[-1], gold["in.sample.noise"])


def train(model, config, loras, gold):
    """Ten steps of AdamW from the LoRA of the file."""
    weights = {k: p for lora in loras for k, p in lora.parameters().items()}
    groups = [dict(params=list(lora.parameters().values()), lr=lr) for lora, lr in zip(loras, (LR_UNET, LR_TEXT))]
    optimizer = torch.optim.AdamW(groups, betas=BETAS, eps=EPS, weight_decay=DECAY, foreach=False)
    history, norms = [], []
    for k in range(STEPS):
        with double():
            optimizer.zero_grad()
            each = losses(model, config, *(gold[f"in.{k}.{name}"] for name in ("latents", "noise", "t", "ids")))
            each.mean().backward()
            if k == 0:
                gold |= {"train.weight": min_snr(config, gold["in.t"]), "train.loss_each": each.detach(), "train.loss": each.mean().detach()}
                gold |= {f"grad.{name}": p.grad.clone() for name, p in weights.items() if p.grad is not None}
            norms.append(torch.nn.utils.clip_grad_norm_(weights.values(), CLIP, foreach=False))
            history.append(each.mean().detach())
            optimizer.step()
        if k + 1 in (1, STEPS):
            gold |= {f"step{k + 1}.{name}": p.detach().clone() for name, p in weights.items()}
    gold |= {"train.losses": torch.stack(history), "train.norms": torch.stack(norms)}


def golden(key, config, folder):
    """One folder of golden/parity."""
    model, gold = Model(key, config, folder / "model"), inputs(key, config)
    forward(model, config, gold)
    loras = [Lora(key, config, model.unet, "lora_unet_", [IN_TRANSFORMER, IN_RESNET] if config["conv"] else [IN_TRANSFORMER])]
    loras += [Lora(key, config, model.text, "lora_te_text_model_", [IN_TEXT])] if config["train_text"] else []
    save_file({k: x for lora in loras for k, x in lora.file().items()}, folder / "lora.safetensors", {"ss_network_module": "networks.lora"})
    with double(), torch.no_grad():
        hidden = gold["lora.text.hidden"] = model.hidden(gold["in.ids"])
        out = gold["lora.unet.out"] = model.predict(gold["train.noisy"], gold["in.t"], hidden)
        if not agree(loras[0].merged()(gold["train.noisy"], gold["in.t"], hidden).sample, out) or agree(out, gold["unet.out"]):
            sys.exit(f"make.py: {key}: peft and the merged UNet differ, or the LoRA does nothing")
        for lora in loras[1:]:
            if not agree(lora.merged()(gold["in.ids"]).last_hidden_state, hidden) or agree(hidden, gold["text.hidden"]):
                sys.exit(f"make.py: {key}: peft and the merged text encoder differ, or the LoRA does nothing")
    sample(model, gold)
    train(model, config, loras, gold)
    dull = [name for name, x in gold.items() if not ALIVE < x.abs().max() < math.inf]
    if dull:
        sys.exit(f"make.py: {key}: not finite, or nothing but rounding errors: {dull}")
    gold = {name: (x if x.is_floating_point() else x.int()).clone().contiguous() for name, x in gold.items()}
    save_file(gold, folder / "golden.safetensors", {"made_by": "golden/make.py"})
    print(f"{key}: {len(gold)} tensors, loss {gold['train.loss']:.4f}", flush=True)


# ---- files --------------------------------------------------------------------------------------------------------------------------------

def differences(stored, made):
    """What is missing, left over or different: golden values by more than float64 rounding on another machine, all else by anything."""
    names = {p.relative_to(root) for root in (stored / "parity", made / "parity") for p in root.rglob("*") if p.is_file()}
    for name in sorted(names):
        a, b = stored / "parity" / name, made / "parity" / name
        if not (a.exists() and b.exists()):
            yield f"{name}: only {'stored' if a.exists() else 'made'}"
        elif name.name == "golden.safetensors":
            x, y = load_file(a), load_file(b)
            yield from (f"{name}: {k} differs" for k in sorted(x.keys() | y.keys()) if k not in x or k not in y or not agree(x[k].double(), y[k].double()))
        elif a.read_bytes() != b.read_bytes():
            yield f"{name}: the bytes differ"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the stored files instead of writing them")
    check = parser.parse_args().check
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory() as scratch:
        made = pathlib.Path(scratch) if check else HERE
        for key, config in CONFIGS.items():
            golden(key, config, made / "parity" / key)
        if check:
            sys.exit("\n".join(differences(HERE, made)) or print("stored and computed values agree"))


if __name__ == "__main__":
    main()
