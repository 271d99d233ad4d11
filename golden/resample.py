"""Writes golden/resample.txt: pictures resized by OpenCV (INTER_AREA) and PIL (LANCZOS).   python golden/resample.py

The picture is made of integers alone, so that the test can make it too: smooth and noisy squares with hard edges between them.
A line is  FILTER SOURCE_W SOURCE_H W H CRC, the CRC-32 of the result's bytes.
"""
import pathlib
import zlib
import cv2
import numpy as np
from PIL import Image


def picture(w, h):
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    smooth = (x * 2 + y * 3 + c * 50) & 255
    noise = ((x * 37 + y * 59 + c * 101 + x * y) * 2654435761 & 0xffffffff) >> 24
    return np.where((x // 16 + y // 16) % 2 == 1, noise, smooth).astype(np.uint8)


FILTERS = {
    "area": lambda p, size: cv2.resize(p, size, interpolation=cv2.INTER_AREA),
    # rows first, always: PIL before 13 did so in one call, PIL 13 begins with the axis that is cheaper
    "lanczos": lambda p, size: np.asarray(Image.fromarray(p).resize((size[0], p.shape[0]), Image.LANCZOS).resize(size, Image.LANCZOS)),
}
CASES = {
    "area": [(3024, 4032, 512, 683), (1920, 1080, 683, 384), (1280, 1280, 512, 512), (1024, 1024, 512, 512), (1536, 1536, 512, 512), (1024, 1536, 512, 512),
             (2048, 1024, 512, 256), (600, 800, 448, 597), (1050, 1080, 448, 461), (512, 768, 512, 768), (512, 768, 427, 640), (640, 480, 640, 479),
             (1000, 700, 999, 699), (7, 5, 3, 5), (5, 7, 5, 1), (97, 89, 1, 1), (64, 96, 64, 96), (800, 533, 96, 64)],
    "lanczos": [(100, 100, 512, 512), (500, 900, 512, 922), (300, 2000, 512, 1000), (640, 480, 200, 150), (1280, 960, 512, 384), (511, 511, 512, 512),
                (64, 96, 64, 97), (64, 96, 63, 96), (3, 2, 64, 64), (1, 1, 7, 5), (2, 3, 2, 3), (1920, 64, 100, 70)],
}
lines = []
for name, cases in CASES.items():
    for sw, sh, w, h in cases:
        lines.append(f"{name} {sw} {sh} {w} {h} {zlib.crc32(FILTERS[name](picture(sw, sh), (w, h)).tobytes()):08x}")
pathlib.Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")
