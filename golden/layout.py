"""Makes golden/layout: safetensors files by the reference writer, one with the types this program computes with, one with all the others, one empty.

    python golden/layout.py            from the repository root; needs safetensors, torch

Element i of the tensor at place k of TENSORS is (7 i + 3 k) % 11 - 5, plus 1/2 in a floating-point type, plus 5 in u8."""
import os
import torch
from safetensors.torch import save_file

OUT = "golden/layout"
F = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
TENSORS = [("w.f32", torch.float32, (2, 3)), ("b.u8", torch.uint8, (5,)), ("a.f16", torch.float16, (3, 1, 2)), ("ä.f32", torch.float32, (4,)),
           ("c.i64", torch.int64, ()), ("d.f64", torch.float64, (2,)), ("e.bf16", torch.bfloat16, (1, 7)), ("Z.f16", torch.float16, (2,)),
           ("g.i32", torch.int32, (1, 1, 1, 1, 1, 1, 1, 3)),
           ("h.f32", torch.float32, (0, 4)), ("quote\"\\.u8", torch.uint8, (3,))]


def values(k, dtype, shape):
    n = torch.Size(shape).numel()
    v = torch.tensor([(7 * i + 3 * k) % 11 - 5 for i in range(n)], dtype=torch.float64)
    v += 0.5 if dtype in F else 5 if dtype == torch.uint8 else 0
    return v.to(dtype).reshape(shape)


os.makedirs(OUT, exist_ok=True)
save_file({name: values(k, d, s) for k, (name, d, s) in enumerate(TENSORS)}, f"{OUT}/types.safetensors", {"key \"1\"": "wert\nä\\"})
save_file({str(d)[6:]: torch.zeros(3, dtype=d) for d in (torch.bool, torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn,
          torch.float8_e5m2, torch.complex64)}, f"{OUT}/others.safetensors")
save_file({}, f"{OUT}/none.safetensors")
