"""Writes golden/rng.txt: what torch's CPU generator gives.   python golden/rng.py

A line is one generator's life: its seed, calls in order, and the CRC-32 of all the bytes they gave.
  SEED COUNT  N ...  CRC            N normals a call
"""
import pathlib
import zlib
import torch

assert torch.backends.cpu.get_cpu_capability() != "DEFAULT", "torch's vector kernels define the bits"


def line(seed, *calls):
    g = torch.Generator("cpu").manual_seed(seed)
    data = b"".join(torch.randn(n, generator=g).numpy().tobytes() for n in calls)
    return " ".join(map(str, [seed, len(calls), *calls])) + f" {zlib.crc32(data):08x}"


lines = []
for seed in 0, 1, 42, 1234567, 2**32 + 5, 2**63 - 1:
    lines += [line(seed, n) for n in (1, 3, 10, 15, 16, 17, 20, 31, 32, 256, 1000)]
lines += [line(seed, 4 * 64 * 64) for seed in (0, 42, 3735928559)]
lines += [line(7, 256, 3, 20, 3, 1, 16, 17, 2)]
pathlib.Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")
