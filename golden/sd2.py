"""Makes golden/sd2: a tiny model of the kind of Stable Diffusion 2.1 as people have it, model.ckpt, and what the peers compute with it in float64.

    python golden/sd2.py            from the repository root; needs golden/requirements.txt

OpenCLIP's text encoder of four layers, of which the last is not used; linear projections and a number of heads a level in the U-Net; v-prediction. The text
states are computed by torch's own nn.MultiheadAttention from the tensors of the file, as OpenCLIP does; U-Net and autoencoder by diffusers, whose converters
must make of the file the weights that went into it. Beside them lie what such files hold: schedules, averaged copies, text_projection. golden.safetensors, F64:
    in.ids (2,T)  text.hidden (2,T,C)  in.latents, in.noise (2,4,h,w)  in.t (2)  train.noisy, train.target (2,4,h,w): the target is v
    unet.out (2,4,h,w) for train.noisy  vae.image (1,3,H,W)  vae.moments  vae.latent  vae.decoded"""
import json, pathlib
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file

import ldm
from make import draw, draw_weight
from f64 import double

OUT, KEY = pathlib.Path("golden/sd2"), "sd2"
WORDS, WIDTH, HEADS, HIDDEN, LENGTH, LAYERS = 60, 12, 3, 24, 16, 4
UNET = dict(in_channels=4, out_channels=4, block_out_channels=(4, 8), layers_per_block=1, attention_head_dim=(1, 2), cross_attention_dim=WIDTH,
            norm_num_groups=2, use_linear_projection=True, sample_size=8, down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"])
VAE = dict(block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2, scaling_factor=0.18215, latent_channels=4,
           down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)
TEXT = dict(architectures=["CLIPTextModel"], hidden_act="gelu", hidden_size=WIDTH, num_hidden_layers=LAYERS - 1, num_attention_heads=HEADS,
            intermediate_size=HIDDEN, max_position_embeddings=LENGTH, vocab_size=WORDS)
SCHEDULE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, prediction_type="v_prediction", steps_offset=1)


def text_tensors():
    """In OpenCLIP's names and shapes."""
    shapes = {"token_embedding.weight": (WORDS, WIDTH), "positional_embedding": (LENGTH, WIDTH)}
    for i in range(LAYERS):
        b = f"transformer.resblocks.{i}."
        shapes |= {b + "attn.in_proj_weight": (3 * WIDTH, WIDTH), b + "attn.in_proj_bias": (3 * WIDTH,), b + "attn.out_proj.weight": (WIDTH, WIDTH),
                   b + "attn.out_proj.bias": (WIDTH,), b + "mlp.c_fc.weight": (HIDDEN, WIDTH), b + "mlp.c_fc.bias": (HIDDEN,),
                   b + "mlp.c_proj.weight": (WIDTH, HIDDEN), b + "mlp.c_proj.bias": (WIDTH,)}
        shapes |= {f"{b}{ln}.{x}": (WIDTH,) for ln in ("ln_1", "ln_2") for x in ("weight", "bias")}
    shapes |= {"ln_final.weight": (WIDTH,), "ln_final.bias": (WIDTH,), "text_projection": (WIDTH, WIDTH), "logit_scale": ()}
    return {name: draw_weight(KEY, name, shape) if shape else torch.tensor(2.5).half() for name, shape in shapes.items()}


def text_states(w, ids):
    """The states that leave the last layer but one, through the final norm (Ilharco et al., OpenCLIP; Rombach et al., FrozenOpenCLIPEmbedder)."""
    norm = lambda name, x: torch.nn.functional.layer_norm(x, (WIDTH,), w[name + ".weight"], w[name + ".bias"], 1e-5)
    x = w["token_embedding.weight"][ids] + w["positional_embedding"]
    mask = torch.full((LENGTH, LENGTH), -torch.inf).triu(1)
    for i in range(LAYERS - 1):
        b = f"transformer.resblocks.{i}."
        attention = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        attention.load_state_dict({k: w[b + "attn." + k] for k in attention.state_dict()})
        h = norm(b + "ln_1", x)
        x = x + attention(h, h, h, need_weights=False, attn_mask=mask)[0]
        h = torch.nn.functional.gelu(norm(b + "ln_2", x) @ w[b + "mlp.c_fc.weight"].T + w[b + "mlp.c_fc.bias"])
        x = x + h @ w[b + "mlp.c_proj.weight"].T + w[b + "mlp.c_proj.bias"]
    return norm("ln_final", x)


def net(kind, config, names, prefix, convert):
    """A net of diffusers with random weights, and the same under the names of a single file."""
    model = kind(**config).eval().requires_grad_(False)
    own = {name: draw_weight(KEY, name, p.shape) for name, p in model.named_parameters()}
    file = {a: own[b] for a, b, _ in ldm.converted(names, prefix, lambda t: convert(t, model.config))}
    file = {a: t[:, :, None, None] if ".attn_1." in a and t.dim() == 2 else t for a, t in file.items()}
    back = convert(dict(file), model.config)
    assert back.keys() == own.keys() and all(torch.equal(back[k].reshape(own[k].shape), own[k]) for k in own)
    model.load_state_dict({k: t.double() for k, t in own.items()})
    model.set_attn_processor(AttnProcessor())
    return model, file


torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
words = text_tensors()
plain = lambda c: {k: list(v) if isinstance(v, tuple) else v for k, v in c.items()}
unet, unet_file = net(UNet2DConditionModel, UNET, ldm.unet(plain(UNET)), "model.diffusion_model.", convert_ldm_unet_checkpoint)
vae, vae_file = net(AutoencoderKL, VAE, ldm.vae(plain(VAE)), "first_stage_model.", convert_ldm_vae_checkpoint)
betas = torch.linspace(SCHEDULE["beta_start"] ** 0.5, SCHEDULE["beta_end"] ** 0.5, 1000) ** 2
ac = (1 - betas).cumprod(0)
state = unet_file | vae_file | {"cond_stage_model.model." + k: t for k, t in words.items()}
state |= {"betas": betas.float(), "alphas_cumprod": ac.float(), "model_ema.decay": torch.tensor(0.9999).float()}
OUT.mkdir(exist_ok=True)
texts = {"model_index.json": dict(_class_name="StableDiffusionPipeline"), "scheduler/scheduler_config.json": SCHEDULE, "text_encoder/config.json": TEXT,
         "unet/config.json": plain(UNET), "vae/config.json": plain(VAE)}
torch.save({"state_dict": state, "global_step": 140000} | {k: json.dumps(v) for k, v in texts.items()}, OUT / "model.ckpt")

words = {name: t.double() for name, t in words.items()}
ids = (draw("sd2 ids", (2, LENGTH)).abs() * 1e6).long() % WORDS
latents, noise, t = draw("sd2 latents", (2, 4, 8, 8)), draw("sd2 noise", (2, 4, 8, 8)), torch.tensor([31, 612])
a, s = ac[t].sqrt()[:, None, None, None], (1 - ac[t]).sqrt()[:, None, None, None]
image, latent = draw("sd2 image", (1, 3, 8, 6)).clamp(-1, 1), draw("sd2 latent", (1, 4, 4, 3))
with double(), torch.no_grad():
    hidden = text_states(words, ids)
    noisy = a * latents + s * noise
    gold = {"in.ids": ids.int(), "text.hidden": hidden, "in.latents": latents, "in.noise": noise, "in.t": t.int(), "train.noisy": noisy,
            "train.target": a * noise - s * latents, "unet.out": unet(noisy, t, hidden).sample, "vae.image": image,
            "vae.moments": vae.quant_conv(vae.encoder(image)), "vae.latent": latent, "vae.decoded": vae.decoder(vae.post_quant_conv(latent))}
save_file({k: x.contiguous() for k, x in gold.items()}, OUT / "golden.safetensors", {"made_by": "golden/sd2.py"})
