#!/usr/bin/env python3
"""The nets of bench/nets.c in torch, diffusers and peft, float32, attention by scaled_dot_product_attention.

    torch_nets.py MODEL [--rank 32] [--conv]           MODEL: a folder in the diffusers layout; --conv: adapters on the residual blocks, too

As `bench_step --serve`: reads lines WHAT WIDTH HEIGHT BATCH THREADS and answers each with a line, here seconds, peak MB and the count of trainable numbers,
which has to be that of sdlora. What it may do to be fast, it does: AdamW is the fused one, frozen weights want no gradients, nothing is checkpointed.
"""
import argparse, json, pathlib, resource, sys, time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from peft import LoraConfig
from transformers import CLIPTextModel

TOKENS, LONG_ENOUGH = 77, 0.5                          # seconds of passes of a job
LINEAR = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
CONV = ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def half_second(work):
    """Seconds of a pass: the mean of as many as half a second takes, one at least."""
    passes, start = 0, time.perf_counter()
    while True:
        work()
        passes, spent = passes + 1, time.perf_counter() - start
        if spent >= LONG_ENOUGH:
            return spent / passes


class Nets:
    def __init__(self, folder, rank, conv):
        self.folder, self.rank, self.conv = folder, rank, conv
        self.unet, self.text, self.vae, self.optimizer, self.halves = None, None, None, None, None

    def load(self, kind, part):
        if getattr(self, part) is None:
            where = dict(unet="unet", text="text_encoder", vae="vae")[part]
            net = kind.from_pretrained(self.folder / where, torch_dtype=torch.float32, low_cpu_mem_usage=True)
            setattr(self, part, net.eval().requires_grad_(False))
        return getattr(self, part)

    def need(self, halves):
        """The U-Net and the text encoder, with adapters on these halves alone."""
        unet, text = self.load(UNet2DConditionModel, "unet"), self.load(CLIPTextModel, "text")
        if halves == self.halves:
            return
        for net, name in ((unet, "unet"), (text, "text")):
            if name in (self.halves or ()):
                net.delete_adapter("default") if name == "text" else net.delete_adapters("default")
        config = lambda names: LoraConfig(r=self.rank, lora_alpha=self.rank, target_modules=names)
        if "unet" in halves:
            unet.add_adapter(config(LINEAR + (CONV if self.conv else [])))
        if "text" in halves:
            text.add_adapter(config(TEXT))
        self.halves = halves
        self.trainable = [p for net in (unet, text) for p in net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trainable, lr=1e-4, weight_decay=0, fused=True) if self.trainable else None

    def job(self, what, width, height, batch):
        """A function of no arguments that does it once."""
        self.need(("unet", "text") if what == "step" else ("unet",) if what == "unet" else ())
        unet, text = self.unet, self.text
        size = 2 ** (len(json.loads((self.folder / "vae/config.json").read_text())["block_out_channels"]) - 1)
        x, target = (torch.randn(batch, unet.config.in_channels, height // size, width // size) for _ in range(2))
        ids = torch.arange(batch * TOKENS).reshape(batch, TOKENS) * 331 % text.config.vocab_size
        states, t = torch.randn(batch, TOKENS, text.config.hidden_size), 100 * torch.arange(1, batch + 1)

        def step():
            hidden = text(ids).last_hidden_state if what == "step" else states
            loss = (unet(x, t, hidden).sample - target).square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.trainable, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

        passes = dict(forward=lambda: unet(x, t, states), text=lambda: text(ids), decode=lambda: self.load(AutoencoderKL, "vae").decode(x))
        return torch.no_grad()(passes[what]) if what in passes else step

    def serve(self):
        for line in sys.stdin:
            what, width, height, batch, threads = line.split()
            torch.set_num_threads(int(threads))
            seconds = half_second(self.job(what, int(width), int(height), int(batch)))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{seconds:.6f} {peak:.0f} {sum(p.numel() for p in self.trainable)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--conv", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(1)
    Nets(args.model, args.rank, args.conv).serve()


if __name__ == "__main__":
    main()
