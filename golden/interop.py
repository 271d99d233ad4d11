#!/usr/bin/env python3
"""Do LoRA files mean the same to sdlora and to those who made their formats?

    make sdlora; python golden/interop.py [--lora FILE] [--kohya DIR]        a table; exit code 1 if anything is missed; two to five minutes

Three LoRAs of golden/tiny-sd: sdlora's own (FILE; else one of 30 steps is trained here) and a random one of peft's, saved by diffusers in both of its
spellings, with an alpha in the metadata and without. Each is loaded by sdlora and by diffusers, and both draw the first prompts of golden/demo/prompts.txt
from the same noise; sdlora's own also as what `sdlora convert` makes of it: diffusers' file, and PEFT's folders, which PEFT itself loads. DIR is a checkout
of kohya's sd-scripts: its networks/lora.py has to take sdlora's file whole, and to change both nets as sdlora does.

Bounds stand in golden/table.py. Noise is drawn in float32 and widened, which is exact; golden/f64.py keeps float32 out of torch's side. Of pictures, values that
lie on the border of two bytes may differ, by 1 of 255. And diffusers has to find as many modules as the file has.
"""
import argparse, contextlib, importlib, logging, pathlib, sys, tempfile, types, warnings

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

logging.disable(logging.WARNING)
warnings.filterwarnings("ignore")
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_state_dict_to_diffusers, logging as diffusers_logging
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from transformers import logging as transformers_logging

from f64 import double
from table import WORK, Table, distance, run

diffusers_logging.disable_progress_bar()
transformers_logging.disable_progress_bar()
GOLDEN = pathlib.Path(__file__).resolve().parent
MODEL = GOLDEN / "tiny-sd"
STEPS, CFG, WIDTH, HEIGHT, FACTOR = 20, 3.0, 64, 96, 4
MODULES = dict(unet=["to_q", "to_k", "to_v", "to_out.0"], text_encoder=["q_proj", "k_proj", "v_proj", "out_proj"])        # of diffusers' training scripts
PROMPTS = (GOLDEN / "demo/prompts.txt").read_text().splitlines()[:3]


# ---- the peers ----------------------------------------------------------------------------------------------------------------------------

def pipeline(dtype):
    pipe = StableDiffusionPipeline.from_pretrained(MODEL, torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.set_attn_processor(AttnProcessor())      # plain products and softmax; no fused kernel with a precision of its own
    pipe.vae.set_attn_processor(AttnProcessor())
    pipe.text_encoder.set_attn_implementation("eager")
    with precisely(dtype):
        pipe.scheduler = DDIMScheduler.from_pretrained(MODEL, subfolder="scheduler")        # its table is float32 otherwise
    return pipe


def precisely(dtype):
    return double() if dtype == torch.float64 else contextlib.nullcontext()


def modules(net):
    return sum(isinstance(module, LoraLayer) for module in net.modules())


def torch_noise():
    return torch.cat([torch.randn((1, 4, HEIGHT // FACTOR, WIDTH // FACTOR), generator=torch.Generator().manual_seed(int(line.split(" --d ")[1])))
                      for line in PROMPTS])


@torch.no_grad()
def draw(pipe, dtype):
    """Latents as the U-Net sees them, and pictures of bytes."""
    noise = torch_noise().to(dtype)
    with precisely(dtype):
        latents = pipe([line.split(" --d ")[0] for line in PROMPTS], negative_prompt=[""] * len(PROMPTS), latents=noise, width=WIDTH,
                       height=HEIGHT, num_inference_steps=STEPS, guidance_scale=CFG, output_type="latent").images
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        pictures = pipe.image_processor.postprocess(decoded, output_type="pil")
    return latents, np.stack([np.asarray(picture) for picture in pictures])


def peft_lora(folder, spelling, alpha):
    """Random A and B of rank 3 in float64, saved by diffusers. An alpha other than the rank is noted in the file's metadata, its only place there."""
    pipe = pipeline(torch.float64)
    torch.manual_seed(1)
    for name, targets in MODULES.items():
        net = getattr(pipe, name)
        net.add_adapter(LoraConfig(r=3, lora_alpha=alpha, target_modules=targets, init_lora_weights=False))
        for key, p in net.named_parameters():
            if "lora_" in key:
                p.data = 0.3 * torch.randn(p.shape).double() / p.shape[1] ** 0.5       # A x keeps the size of x; B takes a third of it
    layers = {f"{name}_lora_layers": spelling(get_peft_model_state_dict(getattr(pipe, name))) for name in MODULES}
    notes = _collate_lora_metadata({name: getattr(pipe, name) for name in MODULES}) if alpha != 3 else {}
    pipe.save_lora_weights(folder, **layers, **notes)
    return folder / "pytorch_lora_weights.safetensors"


# ---- sdlora -------------------------------------------------------------------------------------------------------------------------------

class Sdlora:
    def __init__(self, program, scratch):
        self.program, self.scratch = program, scratch
        (scratch / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")

    def run(self, *args):
        run(self.program, *args)

    def train(self):
        """Two ranks, neither of them its alpha."""
        self.run("train", "--pretrained_model_name_or_path", MODEL, "--train_data_dir", GOLDEN / "demo", "--output_dir", self.scratch, "--output_name", "own",
                 "--save_precision", "fp16", "--network_dim", 6, "--network_alpha", 4, "--conv_dim", 3, "--conv_alpha", 2, "--unet_lr", 5e-3,
                 "--text_encoder_lr", 5e-3, "--train_batch_size", 4, "--max_train_steps", 30, "--seed", 1, "--threads", 2)
        return self.scratch / "own.safetensors"

    def draw(self, lora, which):
        """The dump of a batch, and its pictures."""
        out = pathlib.Path(tempfile.mkdtemp(dir=self.scratch))
        self.run("sample", MODEL, "--lora", lora, "--from_file", self.scratch / "prompts.txt", "--sampler", "DDIM", "--steps", STEPS, "--cfg_scale", CFG,
                 "--width", WIDTH, "--height", HEIGHT, "--batch_size", len(PROMPTS), "--set", which, "--dump", out, "--output_dir", out, "--threads", 2)
        return load_file(out / "00000.safetensors"), np.stack([np.asarray(Image.open(out / f"{i:05d}.png").convert("RGB")) for i in range(len(PROMPTS))])


# ---- comparisons --------------------------------------------------------------------------------------------------------------------------

class TextModel(torch.nn.Module):
    """transformers 5 left out the level `text_model` that is in the names of all LoRA files."""
    def __init__(self, net):
        super().__init__()
        self.text_model = net


def put_file(pipe, file):
    """The LoRA of a file, by diffusers."""
    pipe.load_lora_weights(file.parent, weight_name=file.name)


def put_folder(pipe, folder):
    """The LoRA of PEFT's folders, by PEFT: it puts its layers into the nets themselves."""
    PeftModel.from_pretrained(pipe.unet, folder / "unet")
    PeftModel.from_pretrained(TextModel(pipe.text_encoder), folder / "text_encoder")


def held(path):
    files = path.rglob("adapter_model.safetensors") if path.is_dir() else [path]
    return sum(key.endswith(("down.weight", "lora_A.weight")) for file in files for key in load_file(file))


def compare_diffusers(table, name, path, sdlora, plain, put=put_file):
    """plain: latents without a LoRA. Returns the dumps, by set."""
    latents, pictures = {}, {}
    for dtype in (torch.float32, torch.float64):
        pipe = pipeline(dtype)
        put(pipe, path)
        pipe.to(dtype)
        latents[dtype], pictures[dtype] = draw(pipe, dtype)
    table.row(name, f"modules that {'peft' if put is put_folder else 'diffusers'} has", modules(pipe.unet) + modules(pipe.text_encoder), "=", held(path))
    drawn = {which: sdlora.draw(path, which) for which in ("ref64", "ref")}
    ours = {which: dump["vae.latent"] * pipe.vae.config.scaling_factor for which, (dump, _) in drawn.items()}
    table.row(name, "elements of the noise that differ", int((drawn["ref64"][0]["in.sample.noise"] != torch_noise()).sum()), "=", 0)
    d = table.distances(name, f"latents after {STEPS} steps", latents[torch.float32], latents[torch.float64], ours)
    table.row(name, "what the LoRA does to them", distance(plain, latents[torch.float64]), ">=", WORK * d)
    for which in ("ref", "ref64"):
        difference = np.abs(drawn[which][1].astype(int) - pictures[torch.float64].astype(int))
        table.row(name, f"pictures, {which}, of 255", int(difference.max()), "<=", 1)
    return {which: dump for which, (dump, _) in drawn.items()}


def import_kohya(folder):
    """networks/lora.py alone. Of its two imports from library/ it takes a logger and the class of SDXL's U-Net, to tell whether it has one; they want
    torchvision, cv2 and einops, so two modules that hold just these names stand in for them."""
    stand_in = lambda name, **members: sys.modules.update({name: types.SimpleNamespace(**members)})
    stand_in("library", __path__=[])
    stand_in("library.utils", setup_logging=lambda *a, **k: None)
    stand_in("library.sdxl_original_unet", SdxlUNet2DConditionModel=type("SdxlUNet2DConditionModel", (), {}))
    sys.path.insert(0, str(folder))
    return importlib.import_module("networks.lora")


@torch.no_grad()
def kohya_forward(kohya, file, dtype, dump):
    """Text states; what the U-Net says in the first step, where the input is the same for both sets; keys that kohya misses or does not expect."""
    pipe = pipeline(dtype)
    text, unet = TextModel(pipe.text_encoder), pipe.unet
    network, weights = kohya.create_network_from_weights(1.0, str(file), pipe.vae, text, unet)
    network.apply_to(text, unet)
    keys = network.load_state_dict(weights, strict=False)
    network.to(dtype)
    ids = torch.cat([dump["in.sample.uncond"], dump["in.sample.ids"]]).long()
    with precisely(dtype):
        for lora in network.text_encoder_loras + network.unet_loras:
            lora.scale = lora.alpha.item() / lora.lora_dim     # kohya's own is rounded to float32
        hidden = text.text_model(ids).last_hidden_state
        x, t = dump["sample.0.input"].to(dtype), dump["sample.timesteps"][0].to(dtype)
        predicted = unet(torch.cat([x, x]), t, hidden).sample
    return hidden, predicted, keys


def compare_kohya(table, kohya, file, dumps):
    (hidden, out, _), (hidden64, out64, keys) = (kohya_forward(kohya, file, dtype, dumps["ref64"]) for dtype in (torch.float32, torch.float64))
    table.row("sdlora, in kohya", "missing keys", len(keys.missing_keys), "=", 0)
    table.row("sdlora, in kohya", "unexpected keys", len(keys.unexpected_keys), "=", 0)
    ours = {which: torch.cat([dump["sample.0.uncond"], dump["sample.0.cond"]]) for which, dump in dumps.items()}
    table.distances("sdlora, in kohya", "text states", hidden, hidden64, {which: dump["text.hidden"] for which, dump in dumps.items()})
    table.distances("sdlora, in kohya", "U-Net, first step", out, out64, ours)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lora", type=pathlib.Path, help="a LoRA of golden/tiny-sd by sdlora")
    parser.add_argument("--sdlora", type=pathlib.Path, default=GOLDEN.parent / "sdlora", help="the program")
    parser.add_argument("--kohya", type=pathlib.Path, help="a checkout of kohya-ss/sd-scripts")
    args = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        sdlora, table = Sdlora(args.sdlora, scratch), Table("LoRA", 22, 44)
        own = args.lora.resolve() if args.lora else sdlora.train()
        plain = draw(pipeline(torch.float64), torch.float64)[0]
        dumps = compare_diffusers(table, "sdlora", own, sdlora, plain)
        for name, spelling, alpha in (("peft, alpha 2", lambda state: state, 2), ("diffusers, alpha 3", convert_state_dict_to_diffusers, 3)):
            compare_diffusers(table, name, peft_lora(pathlib.Path(tempfile.mkdtemp(dir=scratch)), spelling, alpha), sdlora, plain)
        for layout, path, put in (("diffusers", scratch / "diffusers.safetensors", put_file), ("peft", scratch / "peft", put_folder)):
            sdlora.run("convert", own, path, "--to", layout)
            compare_diffusers(table, f"sdlora, to {layout}", path, sdlora, plain, put)
        if args.kohya:
            compare_kohya(table, import_kohya(args.kohya), own, dumps)
        else:
            print("kohya's networks/lora.py: skipped, no --kohya DIR")
    table.end()


if __name__ == "__main__":
    main()
