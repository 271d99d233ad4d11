"""Makes golden/type.txt: SHA-256 of all 65536 values of float16 (by numpy) and bfloat16 (by torch) as little-endian float32, NaN as 7fc00000.

    python golden/type.py            from the repository root"""
import hashlib
import numpy, torch

bits = numpy.arange(65536, dtype="<u2")
values = {"f16": bits.view("<f2").astype("<f4"), "bf16": torch.from_numpy(bits.view("<i2").copy()).view(torch.bfloat16).float().numpy()}
with open("golden/type.txt", "w") as f:
    for name, x in values.items():
        x = x.copy()
        x.view("<u4")[numpy.isnan(x)] = 0x7FC00000
        f.write(f"{name} {hashlib.sha256(x.tobytes()).hexdigest()}\n")
