#!/usr/bin/env python3
"""Where the time goes, by kind of operation, in torch and in sdlora: the same pass of the same net.

    profile_ops.py BENCH_STEP MODEL WHAT WIDTH HEIGHT [--threads N]         MODEL: a folder; WHAT: forward, step, decode or text

torch's is the self time of each operator in torch.profiler, sdlora's that of each op in `bench_step --trace`; a 1x1 convolution counts as a linear layer in
both. Of torch the second pass; of sdlora the mean of three, of which the first finds memory untouched. The loading of the model is in neither.
"""
import argparse, collections, os, pathlib, subprocess, tempfile

import torch
from torch.profiler import ProfilerActivity, profile

from torch_nets import Nets

RUNS = 3
KINDS = ["linear layers", "3x3 convolutions", "attention", "norms", "activations", "copies, sums, the rest", "optimizer"]
OURS = dict(linear=0, linear_dx=0, linear_dw=0, conv=1, conv_dx=1, conv_dw=1, attn=2, attn_dx=2, norm=3, norm_dx=3, norm_dw=3, act=4, act_dx=4,
            geglu=4, geglu_dx=4, update=6, sumsq=6)
TORCH = [("mm", 0), ("scaled_dot_product", 2), ("group_norm", 3), ("layer_norm", 3), ("silu", 4), ("gelu", 4), ("adam", 6), ("foreach", 6),
         ("linalg_vector_norm", 6)]


def torch_kind(event):
    name, shapes = event.key, event.input_shapes
    if "convolution" in name:
        weights = [s for s in shapes if len(s) == 4][2 if "backward" in name else 1:]
        return 0 if weights and weights[0][2:] == [1, 1] else 1
    return next((kind for part, kind in TORCH if part in name.lower()), 5)


def of_torch(args):
    torch.set_num_threads(args.threads)
    work = Nets(args.model, 32, False).job(args.what, args.width, args.height, 1)
    work()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as p:
        work()
    spent, ops = [0.0] * len(KINDS), collections.Counter()
    for event in p.key_averages(group_by_input_shape=True):
        spent[torch_kind(event)] += event.self_cpu_time_total / 1e6
        ops[event.key] += event.self_cpu_time_total / 1e6
    return spent, ops


def of_sdlora(args):
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([args.bench_step, "--model", args.model, "--size", f"{args.width}x{args.height}", "--threads", str(args.threads), "--runs", str(RUNS),
                        "--trace", f"{out}/trace", args.what], check=True, stdout=subprocess.DEVNULL)
        table = pathlib.Path(f"{out}/trace.txt").read_text().split("\n\n")[1]
    spent, ops = [0.0] * len(KINDS), collections.Counter()
    for line in table.splitlines()[1:]:
        seconds, op = float(line.split()[1]) / 1e3 / RUNS, line.split()[-1]
        if op != "upload":
            spent[OURS.get(op, 5)] += seconds
            ops[op] += seconds
    return spent, ops


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench_step", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("what")
    parser.add_argument("width", type=int)
    parser.add_argument("height", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    (ours, our_ops), (theirs, their_ops) = of_sdlora(args), of_torch(args)
    print(f"{args.what}, {args.width}x{args.height}, {args.threads} threads\n{'kind':26} {'sdlora s':>9} {'torch s':>9} {'ratio':>6}")
    for kind, a, b in zip(KINDS + ["all"], ours + [sum(ours)], theirs + [sum(theirs)]):
        print(f"{kind:26} {a:9.3f} {b:9.3f} " + (f"{b / a:6.2f}" if a > 0.005 else f"{'':6}"))
    for name, ops in (("sdlora", our_ops), ("torch", their_ops)):
        print(f"\n{name}'s longest: " + ", ".join(f"{op} {seconds:.2f} s" for op, seconds in ops.most_common(12)))


if __name__ == "__main__":
    main()
