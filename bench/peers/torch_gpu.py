#!/usr/bin/env python3
"""A pass of the U-Net and a LoRA step in torch, diffusers and peft on a card, for bench/bench_gpu.sh: f16, attention by scaled_dot_product_attention.

    torch_gpu.py MODEL WIDTHxHEIGHT ... [--rank 32] [--device cuda|cpu]        MODEL: sd15, whose shapes get random numbers, or a diffusers folder

Writes a line WHAT,WIDTH,HEIGHT,SECONDS a measurement: forward and step, eager; and on a card forward-graph and step-graph, the same captured into a CUDA graph
and replayed. Frozen weights are f16, LoRA weights, gradients and moments f32, the rest is autocast's choice; the loss scale is constant, gradients are clipped,
AdamW is the fused one, nothing is checkpointed. A time is the median of 7, each of as many passes as half a second takes.
"""
import argparse, pathlib, statistics, sys, time

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from transformers import CLIPTextConfig, CLIPTextModel

from torch_nets import LINEAR, TEXT, TOKENS

SCALE, RUNS, LONG_ENOUGH = 1024.0, 7, 0.5


class Nets:
    def __init__(self, model, rank, device):
        self.device, self.type = device, torch.float16 if device == "cuda" else torch.bfloat16
        if pathlib.Path(model).is_dir():
            self.unet, self.text = UNet2DConditionModel.from_pretrained(model + "/unet"), CLIPTextModel.from_pretrained(model + "/text_encoder")
        else:
            self.unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
            self.text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12))
        for net, names in ((self.unet, LINEAR), (self.text, TEXT)):
            net.requires_grad_(False).to(device, self.type)
            net.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=names))
        self.trainable = [p for net in (self.unet, self.text) for p in net.parameters() if p.requires_grad]
        for p in self.trainable:
            p.data = p.data.float()
        self.optimizer = torch.optim.AdamW(self.trainable, lr=1e-4, weight_decay=0, fused=True, capturable=device == "cuda")

    def passes(self, width, height):
        """forward and step, functions of no arguments that may be captured."""
        on = dict(device=self.device)
        x, target = (torch.randn(1, 4, height // 8, width // 8, dtype=self.type, **on) for _ in range(2))
        ids = torch.arange(TOKENS, **on).reshape(1, TOKENS) * 331 % self.text.config.vocab_size
        states, t = torch.randn(1, TOKENS, self.text.config.hidden_size, dtype=self.type, **on), torch.full((1,), 100, **on)

        def forward():
            with torch.no_grad(), torch.autocast(self.device, self.type):
                self.unet(x, t, states)

        def step():
            with torch.autocast(self.device, self.type, cache_enabled=False):
                prediction = self.unet(x, t, self.text(ids).last_hidden_state).sample
            ((prediction.float() - target.float()).square().mean() * SCALE).backward()
            grads = [p.grad for p in self.trainable]
            torch._foreach_mul_(grads, 1 / SCALE)
            torch.nn.utils.clip_grad_norm_(self.trainable, 1.0)
            self.optimizer.step()
            torch._foreach_zero_(grads)

        return forward, step


def captured(work):
    """Warmed up on a stream of its own, as capture wants it, then one launch."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def seconds(work, device):
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    found = []
    for _ in range(RUNS + 1):                          # the first does not count
        passes, start = 0, time.perf_counter()
        while not passes or time.perf_counter() - start < LONG_ENOUGH:
            work(), wait()
            passes += 1
        found.append((time.perf_counter() - start) / passes)
    return statistics.median(found[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sizes", nargs="+")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch_gpu.py: this torch sees no card")
    torch.manual_seed(1)
    nets = Nets(args.model, args.rank, args.device)
    for size in args.sizes:
        width, height = (int(side) for side in size.split("x"))
        for what, work in zip(("forward", "step"), nets.passes(width, height)):
            print(f"{what},{width},{height},{seconds(work, args.device):.6f}", flush=True)
            if args.device == "cuda":
                print(f"{what}-graph,{width},{height},{seconds(captured(work), args.device):.6f}", flush=True)


if __name__ == "__main__":
    main()
