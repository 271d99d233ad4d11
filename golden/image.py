"""Makes golden/image: small pictures in every form that is read, and NAME.rgb beside each: its pixels by PIL (width and height as u32, then rows of RGB).

    python golden/image.py            from the repository root; needs pillow, numpy

Transparency is composed on white by PIL's paste, 16 bits keep their upper 8. cut.*, text.png and not.* are for the tests of failures."""
import io, os, struct
import numpy
from PIL import Image, PngImagePlugin

OUT = "golden/image"
W, H = 13, 9


def save(name, image, want, **options):
    image.save(f"{OUT}/{name}", **options)
    keep(name, want)


def keep(name, want):
    with open(f"{OUT}/{name}.rgb", "wb") as f:
        f.write(struct.pack("<II", *want.size) + want.convert("RGB").tobytes())


def on_white(image):
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return ground


os.makedirs(OUT, exist_ok=True)
y, x = numpy.mgrid[0:H, 0:W]
smooth = numpy.stack([x * 19, y * 27, (x + y) * 11], -1).astype("u1")
noise = numpy.random.default_rng(3).integers(0, 256, (H, W, 4), dtype="u1")
rgb, rgba, grey = Image.fromarray(noise[..., :3].copy()), Image.fromarray(noise), Image.fromarray(noise[..., 0].copy())
save("rgb.png", rgb, rgb)
save("rgba.png", rgba, on_white(rgba))
save("grey.png", grey, grey.convert("RGB"))
la = rgba.convert("LA")
save("grey_alpha.png", la, on_white(la.convert("RGBA")))
palette = rgb.quantize(7)
save("palette.png", palette, palette.convert("RGB"))
save("palette_clear.png", palette, on_white(Image.composite(palette.convert("RGBA"), Image.new("RGBA", (W, H), (0, 0, 0, 0)),
     Image.fromarray(numpy.where(numpy.asarray(palette) == 2, 0, 255).astype("u1")))), transparency=2)
bits = grey.point(lambda v: 255 * (v > 127)).convert("1")
save("bits.png", bits, bits.convert("RGB"))
deep = Image.fromarray((noise[..., 0].astype("u2") << 8) + noise[..., 1])
save("grey16.png", deep, grey.convert("RGB"))
save("rgb.bmp", rgb, rgb)
colour = Image.fromarray(smooth)
lossy = {"444.jpg": (colour, {"subsampling": 0}), "grey.jpg": (colour.convert("L"), {}), "progressive.jpeg": (colour, {"subsampling": 0, "progressive": True})}
for name, (image, options) in lossy.items():
    image.save(f"{OUT}/{name}", quality=95, **options)
    keep(name, Image.open(f"{OUT}/{name}"))

for name, text in [("text_latin", "a café, Steps: 20\nSize: 13x9"), ("text_utf8", "漢字 😀\nSteps: 20"), ("text_empty", "")]:
    info = PngImagePlugin.PngInfo()
    info.add_text("other", "not this one")
    info.add_text("parameters", text) if text.isascii() or "é" in text else info.add_itxt("parameters", text)
    rgb.crop((0, 0, 2, 2)).save(f"{OUT}/{name}.png", pnginfo=info)
info = PngImagePlugin.PngInfo()
info.add_text("parameters", "packed " * 20, zip=True)
rgb.crop((0, 0, 2, 2)).save(f"{OUT}/text_packed.png", pnginfo=info)

for name in "rgb.png", "444.jpg", "progressive.jpeg":
    blob = open(f"{OUT}/{name}", "rb").read()
    open(f"{OUT}/cut.{name}", "wb").write(blob[: len(blob) * 3 // 4])
open(f"{OUT}/not.png", "w").write("this is text\n")
open(f"{OUT}/not.jpg", "w").close()
table = bytes([0x10]) + bytes(14) + bytes([255, 45]) + bytes(300)
open(f"{OUT}/not.huffman.jpg", "wb").write(b"\xff\xd8\xff\xc4" + struct.pack(">H", 2 + len(table)) + table + b"\xff\xd9")
large = io.BytesIO()
Image.new("1", (16385, 1)).save(large, "png")
open(f"{OUT}/not.large.png", "wb").write(large.getvalue())
