"""Makes golden/image: small pictures in every form that is read, and NAME.rgb beside each: its pixels by PIL (width and height as u32, then rows of RGB).

    python golden/image.py            from the repository root; needs pillow (with WebP), numpy, opencv

What is expected is ImageOps.exif_transpose(Image.open(file)).convert("RGB"); before that transparency is composed by PIL's paste, on white, in files green_*
on (10,200,30), and of grey pictures with 16 bits, which PIL would clip, the upper 8 are taken. cut.*, text.png and not.* are for the tests of failures."""
import io, os, struct
import cv2, numpy
from PIL import Image, ImageOps, PngImagePlugin

OUT = "golden/image"
W, H = 13, 9


def save(name, image, want, **options):
    image.save(f"{OUT}/{name}", **options)
    keep(name, want)


def keep(name, want):
    with open(f"{OUT}/{name}.rgb", "wb") as f:
        f.write(struct.pack("<II", *want.size) + want.convert("RGB").tobytes())


def on(colour, image):
    ground = Image.new("RGB", image.size, colour)
    ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return ground


def on_white(image):
    return on("white", image)


def exif(orientation, order, extra=0):
    """A TIFF block as cameras write it: `extra` entries before the orientation."""
    e = "<" if order == b"II" else ">"
    entries = [struct.pack(e + "HHII", 0x100 + k, 4, 1, 7) for k in range(extra)] + [struct.pack(e + "HHIHH", 0x112, 3, 1, orientation, 0)]
    return order + struct.pack(e + "HI", 42, 8) + struct.pack(e + "H", len(entries)) + b"".join(entries) + struct.pack(e + "I", 0)


def keep_as_opened(name):
    keep(name, ImageOps.exif_transpose(Image.open(f"{OUT}/{name}")))


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

# Every orientation, both byte orders, in each format that can say it.
small = rgb.crop((0, 0, 5, 3))
blocks = Image.fromarray(smooth).resize((24, 16), Image.NEAREST)
for k in range(1, 9):
    order, other = (b"II", b"MM") if k % 2 else (b"MM", b"II")
    small.save(f"{OUT}/upright{k}.png", exif=exif(k, order, k % 3))
    keep_as_opened(f"upright{k}.png")
    blocks.save(f"{OUT}/upright{k}.jpg", quality=95, subsampling=0, exif=b"Exif\0\0" + exif(k, other, k % 2))
    keep_as_opened(f"upright{k}.jpg")
small.save(f"{OUT}/upright0.png", exif=exif(9, b"II"))
keep_as_opened("upright0.png")

# Colours on another ground; 16 bits of colour; what JPEGs from a printer's shop hold; other BMPs; WebP.
green = (10, 200, 30)
save("green_rgba.png", rgba, on(green, rgba))
save("green_grey_alpha.png", la, on(green, la.convert("RGBA")))
deep = numpy.random.default_rng(4).integers(0, 65536, (H, W, 4), dtype="u2")
for name, channels in ("rgb16.png", 3), ("rgba16.png", 4):
    cv2.imwrite(f"{OUT}/{name}", deep[..., [2, 1, 0, 3][:channels]])
    high = Image.fromarray((deep[..., :channels] >> 8).astype("u1"))
    keep(name, high if channels == 3 else on_white(high))
inks = Image.fromarray(numpy.concatenate([smooth, 255 - smooth[..., :1] // 3], -1), "CMYK")
blob = io.BytesIO()
inks.save(blob, "jpeg", quality=95)
blob = blob.getvalue()
adobe = blob.index(b"Adobe")
open(f"{OUT}/cmyk.jpg", "wb").write(blob)
open(f"{OUT}/ycck.jpg", "wb").write(blob[: adobe + 11] + b"\2" + blob[adobe + 12 :])
open(f"{OUT}/not.cmyk.jpg", "wb").write(blob[: adobe - 4] + blob[adobe + 12 :])
keep_as_opened("cmyk.jpg"), keep_as_opened("ycck.jpg")
colour.save(f"{OUT}/420.jpg", quality=95, subsampling=2)
keep_as_opened("420.jpg")
save("palette.bmp", palette, palette.convert("RGB"))
save("bits.bmp", bits, bits.convert("RGB"))
save("unused_alpha.bmp", rgba, rgba.convert("RGB"))
small.save(f"{OUT}/plain.webp", lossless=True, exif=b"Exif\0\0" + exif(6, b"MM"))
keep_as_opened("plain.webp")
rgba.save(f"{OUT}/green_clear.webp", lossless=True, exact=True)
keep("green_clear.webp", on(green, Image.open(f"{OUT}/green_clear.webp")))
colour.save(f"{OUT}/lossy.webp", quality=90)
keep_as_opened("lossy.webp")
small.save(f"{OUT}/not.animation.webp", save_all=True, append_images=[ImageOps.mirror(small)], lossless=True)
small.save(f"{OUT}/not.a.gif", "gif")
small.save(f"{OUT}/not.a.tif", "tiff")
open(f"{OUT}/not.an.avif", "wb").write(bytes(3) + b" ftypavif" + bytes(16))

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
