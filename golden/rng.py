"""Writes golden/rng.txt: what torch's CPU generator gives.   python golden/rng.py

A line is one generator's life: its seed, calls in order, and the CRC-32 of all the bytes they gave.
  SEED COUNT  normal N | uniform N LOW HIGH | int N LOW HIGH ...  CRC
"""
import pathlib
import zlib
import torch

assert torch.backends.cpu.get_cpu_capability() != "DEFAULT", "torch's vector kernels define the bits"


def line(seed, *calls):
    g, data, text = torch.Generator("cpu").manual_seed(seed), b"", [str(seed), str(len(calls))]
    for kind, n, *args in calls:
        if kind == "normal":
            x = torch.randn(n, generator=g)
        elif kind == "uniform":
            x = torch.empty(n).uniform_(*args, generator=g)
            args = [float(a).hex() for a in args]
        else:
            x = torch.randint(*args, (n,), generator=g)
        data += x.numpy().tobytes()
        text.append(" ".join(map(str, [kind, n, *args])))
    return " ".join(text) + f" {zlib.crc32(data):08x}"


lines = []
for seed in 0, 1, 42, 1234567, 2**32 + 5, 2**63 - 1:
    lines += [line(seed, ("normal", n)) for n in (1, 3, 10, 15, 16, 17, 20, 31, 32, 256, 1000)]
lines += [line(seed, ("normal", 4 * 64 * 64)) for seed in (0, 42, 3735928559)]
lines += [line(7, ("normal", 256), ("normal", 3), ("normal", 20), ("normal", 3), ("uniform", 5, 0, 1), ("normal", 1), ("int", 9, 0, 1000))]
bound = 320 ** -0.5                                 # kaiming_uniform_(a=sqrt 5) of a (16,320) matrix
lines += [line(11, ("uniform", 16 * 320, -bound, bound)), line(3, ("uniform", 20, 0, 1)), line(9, ("uniform", 7, -3, 0.1))]
lines += [line(5, ("int", 50, 0, 1000)), line(5, ("int", 50, 3, 777)), line(6, ("int", 2000, -5, 2**27))]
pathlib.Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")
