"""What the metadata and the inspection of LoRA files are judged by: golden/metadata.txt, from Python's own spelling and numpy's SVD.

    float HEX TEXT          the 64 bits of a number, repr() of it
    string HEX TEXT         UTF-8 bytes, json.dumps() of the text
    module X KEY N L S      golden/parity/X/lora.safetensors: Frobenius norm, largest and second singular value of alpha/r B A
"""
import json, pathlib, random, struct
import numpy as np
from safetensors.numpy import load_file

here = pathlib.Path(__file__).parent
draw = random.Random(1)
floats = [0.0, -0.0, 1.0, 16.0, 0.1, 1e-4, 1e-5, 0.00012345, 123456.789, 1e15, 1e16, 12345678901234567.0, 5e-324, 1.7976931348623157e308, 1700000000.123456, 2 / 3, -8.0]
floats += [struct.unpack("<d", struct.pack("<Q", draw.getrandbits(64)))[0] for _ in range(40)] + [draw.uniform(0, 10) for _ in range(20)]
strings = ["mochi, smile", "", 'a "quoted" \\ text', "tab\tline\nend\r\b\f\x01\x1f\x7f", "ümlaut 猫 \U0001f600 \u2028", "</script>"]
lines = [f"float {struct.unpack('<Q', struct.pack('<d', x))[0]:016x} {x!r}" for x in floats if x == x]
lines += [f"string {text.encode().hex() or '-'} {json.dumps(text)}" for text in strings]
for name in "abc":
    t = load_file(here / "parity" / name / "lora.safetensors")
    for key in sorted(k.removesuffix(".lora_down.weight") for k in t if k.endswith(".lora_down.weight")):
        a, b = (t[f"{key}.lora_{half}.weight"].astype(np.float64) for half in ("down", "up"))
        a, b = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)
        values = np.linalg.svd(float(t[f"{key}.alpha"]) / len(a) * b @ a, compute_uv=False)
        lines.append(f"module {name} {key} {float(np.sqrt((values ** 2).sum()))!r} {float(values[0])!r} {float(values[1])!r}")
(here / "metadata.txt").write_text("\n".join(lines) + "\n")
