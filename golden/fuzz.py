"""Makes tests/fuzz/corpus: small files that readers take and files that they must refuse, from which `make fuzz` sets out and which `make test` replays.

    python golden/fuzz.py            from the repository root; needs numpy, safetensors, pillow

What other scripts of this folder have made is listed in NAME/FILES, not copied. Files found_* are no concern of this script: fuzzing found them, each was a
bug once. A text input with several parts has a byte 0xff between them (tests/fuzz/fuzz.h)."""
import io, json, os, struct, zipfile, zlib
import numpy, safetensors.numpy
from PIL import Image, PngImagePlugin

OUT = "tests/fuzz/corpus"


def put(target, name, *parts):
    os.makedirs(f"{OUT}/{target}", exist_ok=True)
    with open(f"{OUT}/{target}/{name}", "wb") as f:
        f.write(b"\xff".join(p.encode() if isinstance(p, str) else p for p in parts))


def listed(target, *paths):
    put(target, "FILES", "".join(p + "\n" for p in paths))


def tensors(target, name, metadata=None, **arrays):
    blob = safetensors.numpy.save({k: numpy.asarray(v) for k, v in arrays.items()}, metadata)
    if metadata:                                        # the writer's order of the metadata is another each time
        end = 8 + struct.unpack("<Q", blob[:8])[0]
        header = json.loads(blob[8:end])
        text = json.dumps({**header, "__metadata__": metadata}).encode()
        text += b" " * (-len(text) % 8)
        blob = struct.pack("<Q", len(text)) + text + blob[end:]
    put(target, name, blob)


def raw(target, name, header, data=b"", pad=b""):
    text = (header if isinstance(header, bytes) else json.dumps(header).encode()) + pad
    put(target, name, struct.pack("<Q", len(text)) + text + data)


def half(*shape, start=0):
    return (numpy.arange(start, start + numpy.prod(shape)) / 8).astype("f2").reshape(shape)


# ---- safetensors: golden's good and bad files, and what these have not ----
listed("safetensors", "golden/bad", "golden/layout")
tensors("safetensors", "types", {"a": "\u2603 \"\\\n\t\x01", "b": ""}, f=numpy.ones((2, 3), "f4"), d=numpy.array(1.5), h=half(3), i=numpy.arange(3, dtype="i4"),
        l=numpy.arange(2), u=numpy.arange(5, dtype="u1"), empty=numpy.zeros((0, 4), "f4"))
tensors("safetensors", "foreign", b=numpy.array([True]), i8=numpy.arange(3, dtype="i1"), u16=numpy.arange(3, dtype="u2"), u64=numpy.arange(1, dtype="u8"))
raw("safetensors", "padded", {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\x80\x3f\x00\xc0", b"   ")
tensors("safetensors", "pages", x=numpy.zeros(3000, "f4"))
raw("safetensors", "metadata_value", {"__metadata__": {"k\n": 3}})
raw("safetensors", "metadata_text", {"__metadata__": "text"})
raw("safetensors", "dtype_line", {"a": {"dtype": "F\n", "shape": [], "data_offsets": [0, 0]}})
raw("safetensors", "dtype_number", {"a": {"dtype": 3, "shape": [], "data_offsets": [0, 0]}})
raw("safetensors", "shape_text", {"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}}, bytes(8))

# ---- json ----
listed("json", "golden/parity/a/model/unet/config.json", "golden/parity/a/model/model_index.json", "golden/tokenizer/tokenizer_config.json")
for name, text, key in [("int", '{"a":3}', "a"), ("fraction", '{"a":3.5,"b":1e300}', "a"), ("huge", '{"a":1e400}', "a"), ("bool", '{"a":true}', "a"),
                        ("null", '{"a":null}', "a"), ("text", '{"a":"t\\u00e9\\n"}', "a"), ("path", '{"a":{"b":{"c":7}}}', "a.b.c"),
                        ("literal", '{"a.b":1,"a":{"b":2}}', "a.b"), ("list", '{"a":[1,2,3]}', "a"), ("long", '{"a":[1,2,3,4,5]}', "a"),
                        ("words", '{"a":["x","y"]}', "a"), ("mixed", '{"a":["x",2,null]}', "a"), ("object", '{"a":{}}', "a"), ("missing", '{"b":1}', "a"),
                        ("array", "[1]", "a"), ("cut", '{"a":', "a"), ("after", '{"a":1} x', "a"), ("numbers", '{"x":1,"y":2,"z":3,"w":4,"v":5}', "a"),
                        ("line", '{"a":\n1,\n}', "a"), ("empty", "", "a"), ("dots", '{"a":{"":1}}', "a..")]:
    put("json", name, text, key)

# ---- tokenizer ----
vocab = ["<|startoftext|>", "<|endoftext|>", "a", "b", "c", "a</w>", "b</w>", "c</w>", "ab", "ab</w>", "abc</w>", "'", "'</w>", "1</w>", "!</w>", "\u0100", "\u00c3"]
words, merges = json.dumps({w: i for i, w in enumerate(vocab)}), "#version: 0.2\na b\na b</w>\nab c</w>\n"
config = json.dumps({"model_max_length": 8, "unk_token": {"content": "<|endoftext|>", "normalized": True}, "pad_token": "!</w>"})
special = json.dumps({"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"})
for name, text in [("plain", "A dog's bark, 12 cats; don't we'll I'd they've I'm you're it's"), ("special", "a<|endoftext|>b <|startoftext|><|endoftext|>"),
                   ("unicode", "\u00e9 e\u0301 \u0130stanbul \u2603\u3000\u1f600 \u00bd \u0661 \u01c5 \u02b0\u05d0"), ("spaces", " \t\n a \u00a0\u2028 b\r"),
                   ("broken", b"a\xc3 b \xe2\x98 c \xf0\x9f d\x80"), ("long", "abc " * 60), ("literal", "<|startoftext|>'s <|endoftext|x <|ENDOFTEXT|>")]:
    put("tokenizer", name, text)
for name, text, word in [("", "a cat, cats and a Cat-cat", "cat"), ("_brackets", "a<cat-toy>b <cat-toy><cat-toy>, cat-toy", "<cat-toy>"),
                         ("_blank", "a b", "   "), ("_digits", "bad - hands-5 bad-hands-50 bad-hand", "bad-hands-5"),
                         ("_wide", "\u00e9t\u00e9 \u732b\u732b \u00c9T\u00c9", "\u00c9t\u00e9"),
                         ("_long", "ab", "w" * 600), ("_special", "<|endoftext|> a", "<|endoftext|>")]:
    put("tokenizer", "learned" + name, text, "", "", "", "", word)
put("tokenizer", "small", "ab abc cab 1! '", words, merges, config, special)
put("tokenizer", "windows", "abc", words, merges.replace("\n", "\r\n"), "{}", "{}")
put("tokenizer", "bad_merge", "abc", words, "a b\na x\n")
put("tokenizer", "one_symbol", "abc", words, "a b\nab\n")
put("tokenizer", "long_merge", "abc", words, "a b\n" + "a" * 300 + " " + "b" * 300 + "\n")
put("tokenizer", "control_merge", "abc", words, "a b\n\x1b[2J \x07\n")
put("tokenizer", "no_special", "abc", '{"a":0}', "")
put("tokenizer", "bad_id", "abc", '{"a":-1}', "")
put("tokenizer", "large_id", "abc", '{"a":16777217}', "")
put("tokenizer", "text_id", "abc", '{"a":"b"}', "")
put("tokenizer", "no_vocab", "abc", "[]", "")
put("tokenizer", "long_role", "abc", words, merges, json.dumps({"bos_token": "x" * 64}))
put("tokenizer", "bad_role", "abc", words, merges, json.dumps({"bos_token": {"content": 3}}))
put("tokenizer", "bad_special", "abc", words, merges, "{}", "{")
put("tokenizer", "normalized", "AB <|ENDOFTEXT|> ab", words, merges, config.replace("8", "1e30"))

# ---- captions, prompts, settings ----
listed("caption", "golden/demo/10_body/000.txt")
for name, text in [("tags", "girl, red hair , ,smile,, forest"), ("mark", "\ufeffone, two\r\nthree\n"), ("mac", "one\rtwo\rthree"), ("blank", " \t\n"), ("empty", ""),
                   ("second", "\nlater"), ("unicode", "\u00e9t\u00e9, \u96ea, \u2603"), ("latin", b"gr\xfcn, blau"), ("zero", b"a, b\0c"), ("cut", b"a, \xe2\x98"),
                   ("comma", ", ,"), ("longest", "tag, " * 818 + "lastly"), ("too_long", "tag, " * 820)]:
    put("caption", name, text)
listed("prompt", "golden/demo/prompts.txt", "golden/score/prompts.txt")
for name, text in [("full", "a cat --n dog, bird --w 512 --h 768 --d 7 --s 20 --l 7.5\n# no\n\n  b  --d 1e3 \n"), ("options", "--w 64\n--n none --l 0\n"),
                   ("twice", "a --w 8 --w 9"), ("unknown", "a --q 3"), ("nothing", "a --"), ("range", "a --s 1001"), ("fraction", "a --w 8.5"), ("nan", "a --l nan"),
                   ("control", "a --\x1b[2J"), ("latin", b"gr\xfcn"), ("weight", "dir/file.safetensors:0.7"), ("colon", "C:file:1e9"), ("only", ":1"),
                   ("long", "x" * 4096), ("long_option", "--n " + "y" * 4000), ("crlf", "a --s 3\r\nb\r\n"), ("letters", "a --w8"), ("empty", "#\n")]:
    put("prompt", name, text)
for name, text in [("and", "a AND b:0.5 AND (c:2) AND : -.5 AND d:1.2.3 "), ("part_weight", "a AND b:1000"), ("share", "[x:1.3]"), ("number", "(a:1.2.3)"),
                   ("edit", "a [b:c:0.5] [[x::2]y:3] [d|e (f:1.2)||[g:h:.9]] \\[i:j:1\\] [k\\:l:1] [(m:n:2] [o] --n [p:-1] AND q\n[a:b:0.5"),
                   ("turn", "[a|b|[c|d]] --s 7\n[a:b:c:1] [a|b:1] [:] [|] [:0]"),
                   ("nested", "[" * 300 + "a|b" + "]" * 300 + "\n" + "(" * 500 + "[a:1]" + ")" * 400),
                   ("heavy", "((a:20):20) --n (b:-9)"),
                   ("weights", "a (cat:1.3), [dog] ((red)) \\(x\\) \\[y\\] \\\\ z\\q (b: -.5 )] ) (c [d\n"
                              "(a:1.2)BREAK(b:1.2) BREAK aBREAK, BREAK_ --n [(x:0)]\nx:1.5) :) (open"),
                   ("literal", "[a:b] (a|b) [a:b [a\\|b] [(c:1.2)] SAND a < b:c > <s1> [a):1] \\ "),
                   ("lora", "a <lora:x:1>"), ("hypernet", "a <hyper_net:x:1>"),
                   ("infotext", "a cat\nNegative prompt: dog\nSteps: 20"),
                   ("words", "a mocha (MOCHA:1.3), mochas, \u00e9mocha <s1> x<S1>mocha mocha5\n" + "dog " * 73 + "mocha " * 30),
                   ("chunks", ", ".join(f"the cat {i}" for i in range(40)) + "\n" + "dog " * 54 + ", " + "cat " * 24 + "cat\n" + "dog " * 200)]:
    put("prompt", name, text + "\n")
listed("toml", "golden/toml", "golden/bad-toml", "docs/examples")
put("toml", "bom", "\ufeffa = 1\r\n")
put("toml", "tables", "".join(f"[t{i}]\n" for i in range(513)))
put("toml", "sign", "a = +-1\nb = 1_0\nc = 0b2\n")
put("toml", "long_line", "a = " + "\u00e9" * 40 + "\n")
put("toml", "item", "a = [1 2]\n")
put("toml", "text_end", 'a = """x""""""\n')
listed("options", "golden/toml", "docs/examples")
for name, text in [("job", 'model = "m"\ntrain_data_dir = "d"\nresolution = [512, 768]\nnetwork_args = ["conv_dim=4", "conv_alpha=1"]\nflip_aug = true\n'),
                   ("kind", 'model = 3\n'), ("share", 'lr_warmup_steps = "5%"\ntrain_data_dir = "d"\nmodel = "m"\n'), ("name", "no_such_option = 1\n"),
                   ("control", '"no\\u001bsuch" = 1\n'), ("value", 'lr_scheduler = "co\\nsine"\n'), ("itself", 'config_file = "a.toml"\n'), ("items", "resolution = [1, 2, 3]\n"),
                   ("text", 'sample_prompts = ["a", "b"]\n'), ("flag", "flip_aug = 1\n"), ("range", "network_dim = 0\n"),
                   ("pair", 'network_args = ["conv_dim=4", "none=1"]\n')]:
    put("options", name, text)
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as z:
    for name, data in ("a/data.pkl", b"\x80\x02N."), ("a/version", b"3\n"):
        z.writestr(zipfile.ZipInfo(name), data)
last = bytearray(archive.getvalue())                    # a last member that is larger than the archive, in both of its headers
struct.pack_into("<II", last, last.rfind(b"PK\x03\x04") + 18, 5000, 5000), struct.pack_into("<II", last, last.rfind(b"PK\x01\x02") + 20, 5000, 5000)
put("zip", "long_member", bytes(last))
put("log", "run", "step,epoch,loss,average_loss,lr_unet,lr_text_encoder,gradient_norm,seconds,loss_t1,loss_t2,loss_t3,loss_t4\n"
                  "1,1,0.5,0.5,1e-4,5e-5,1,0.1,,0.5,,\n2,1,0.25,0.375,1e-4,5e-5,nan,0.2,0.25,,,\n3,1,inf,0.4,1e-4,0,1,0.3,,,,1\n4,2,0.1,0.3,1e-4,0,1,0.4,,,,1\n")
put("log", "cut", "step,epoch\n1,1,0.5,0.5\n2,1,0.")
put("log", "other", "a,b\n-1,2,3\n99999999999,1,1\n1,1,")

# ---- pictures ----
listed("image", *sorted("golden/image/" + n for n in os.listdir("golden/image") if not n.endswith(".rgb")))
listed("exif", *sorted("golden/image/" + n for n in os.listdir("golden/image") if n.startswith("upright") and not n.endswith(".rgb")), "golden/image/green_clear.webp")
listed("png_text", *sorted("golden/image/" + n for n in os.listdir("golden/image") if n.startswith(("text", "palette.png"))))


def tiff(order, *entries, at=8):
    e = "<" if order == b"II" else ">"
    return order + struct.pack(e + "HI", 42, at) + struct.pack(e + "H", len(entries)) + b"".join(struct.pack(e + "HHI", *x[:3]) + x[3] for x in entries)


def jpeg(block, name=b"Exif\0\0"):
    return b"\xff\xd8\xff\xff\xe0\0\2\xff\xe1" + struct.pack(">H", len(block) + len(name) + 2) + name + block + b"\xff\xda\0\2"


def webp(*chunks):
    body = b"WEBP" + b"".join(n + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for n, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(name, data, wrong=0):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) + wrong & 0xffffffff)


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


six = (0x112, 3, 1, b"\6\0\0\0")
put("exif", "little", jpeg(tiff(b"II", (0x100, 4, 1, b"\1\0\0\0"), six)))
put("exif", "big", jpeg(tiff(b"MM", (0x112, 4, 1, b"\0\0\0\3"))))
put("exif", "two", jpeg(tiff(b"II", (0x112, 3, 2, b"\6\0\0\0"))))
put("exif", "nine", jpeg(tiff(b"II", (0x112, 3, 1, b"\x09\0\0\0"))))
put("exif", "kind", jpeg(tiff(b"II", (0x112, 7, 1, b"\6\0\0\0"))))
put("exif", "far", jpeg(tiff(b"II", six, at=0xfffffff0)))
put("exif", "order", jpeg(tiff(b"II", six).replace(b"II", b"IM")))
put("exif", "other", jpeg(b"http", b"http:/"))
put("exif", "webp", webp((b"VP8X", bytes(9)), (b"EXIF", b"Exif\0\0" + tiff(b"II", six))))
put("exif", "webp_long", webp((b"EXIF", tiff(b"II", six)))[:-6])
put("exif", "webp_none", webp((b"VP8X", bytes(3))))
put("exif", "png", png(chunk(b"eXIf", tiff(b"MM", (0x112, 3, 1, b"\0\5\0\0")))))
put("image", "turned", png(chunk(b"eXIf", tiff(b"II", six))))
for name, data in [("gif", b"GIF89a"), ("tiff", b"II*\0"), ("heif", b"\0\0\0\x18ftypheic"), ("jxl", b"\xff\x0a"), ("psd", b"8BPS"), ("pdf", b"%PDF-1"), ("svg", b"<svg")]:
    put("image", name, data)
gray = Image.new("L", (9, 7), 99)
for name, extra in [("latin", b"k\0gr\xfcn"), ("other_key", b"kk\0x"), ("no_end", b"k")]:
    put("png_text", name, png(chunk(b"tEXt", extra)))
put("png_text", "checksum", png(chunk(b"tEXt", b"k\0x", 1)))
put("png_text", "packed", png(chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x"))))
for name, extra in [("wide", b"k\0\0\0\0\0" + "\u2603".encode()), ("wide_latin", b"k\0\0\0de\0Schl\0x"), ("wide_packed", b"k\0\1\0\0\0" + zlib.compress(b"x")),
                    ("wide_cut", b"k\0\0\0"), ("wide_open", b"k\0\0\0de"), ("wide_open2", b"k\0\0\0de\0x"), ("wide_bad", b"k\0\0\0\0\0\xc3")]:
    put("png_text", name, png(chunk(b"iTXt", extra)))
put("png_text", "no_png", b"\xff\xd8\xff\xe0")
put("png_text", "no_end", b"\x89PNG\r\n\x1a\n")
put("png_text", "long", b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xff" + b"tEXtk\0x")

# ---- LoRA files ----
for name, form, ends in [("kohya", "lora_{}_{}", ("lora_down.weight", "lora_up.weight")), ("peft", "{}.{}", ("lora_A.weight", "lora_B.weight")),
                         ("diffusers", "{}.{}", ("lora.down.weight", "lora.up.weight")), ("linear_layer", "{}.{}", ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"))]:
    kohya, x = name == "kohya", {}
    for halfway, path, o, i, kernel in [("unet", "down.0.conv", 4, 2, (3, 3)), ("unet", "mid.to_q", 4, 3, ()), ("te" if kohya else "text_encoder", "text_model.encoder.layers.0.mlp.fc1", 2, 4, ())]:
        base = form.format(halfway, path.replace(".", "_") if kohya else path)
        x[f"{base}.{ends[0]}"], x[f"{base}.{ends[1]}"] = half(2, i, *kernel, start=1), half(o, 2, *(1, 1)[:len(kernel)])
        if kohya:
            x[f"{base}.alpha"] = numpy.array(1, "f2")
    about = {"ss_tag_frequency": json.dumps({"10_a": {"tag": 3, "x": 1}, "5_b": {"tag": 2}}), "sshs_model_hash": "0" * 64, "ss_steps": "20",
             "lora_adapter_metadata": json.dumps({"unet.lora_alpha": 4, "unet.r": 2, "text_encoder.lora_alpha": 1})}
    tensors("lora", name, about, **x)
    tensors("lora", name + "_half", **{k: v for k, v in x.items() if "up" not in k and "lora_B" not in k})
    tensors("lora", name + "_shape", **{k: (v.T.copy() if v.ndim == 2 else v) for k, v in x.items()})
x = {"lora_unet_mid_to_q.lora_down.weight": half(2, 3), "lora_unet_mid_to_q.lora_up.weight": half(4, 2)}
tensors("lora", "alpha_nan", **x, **{"lora_unet_mid_to_q.alpha": numpy.array(numpy.nan, "f4")})
tensors("lora", "alpha_zero", **x, **{"lora_unet_mid_to_q.alpha": numpy.array(0, "f4")})
tensors("lora", "alpha_two", **x, **{"lora_unet_mid_to_q.alpha": numpy.ones(2, "f4"), "other": half(3)})
tensors("lora", "infinite", **{**x, "lora_unet_mid_to_q.lora_up.weight": numpy.full((4, 2), numpy.inf, "f4")})
tensors("lora", "dead", **{**x, "lora_unet_mid_to_q.lora_up.weight": numpy.zeros((4, 2), "f4")})
tensors("lora", "rank_none", **{"lora_unet_mid_to_q.lora_down.weight": half(0, 3), "lora_unet_mid_to_q.lora_up.weight": half(4, 0)})
tensors("lora", "scalar", **{"lora_unet_mid_to_q.lora_down.weight": half(), "lora_unet_mid_to_q.lora_up.weight": half()})
tensors("lora", "integer", **{k: (v * 8).astype("i4") for k, v in x.items()})
tensors("lora", "foreign_type", **{k: (v * 8).astype("i1") for k, v in x.items()})
tensors("lora", "cloneofsimo", **{"text_encoder:0:down": half(2, 3), "text_encoder:0:up": half(4, 2), "unet:0:down": half(2, 3), "unet:0:up": half(4, 2)})
tensors("lora", "none", x=half(3))
p = {"unet.mid.to_q.lora_A.weight": half(2, 3), "unet.mid.to_q.lora_B.weight": half(4, 2)}
for name, note in [("note_text", "x"), ("note_kind", '{"unet.lora_alpha": "x"}'), ("note_pattern", '{"unet.alpha_pattern": {"a": 1}}'), ("note_dora", '{"unet.use_dora": true}'),
                   ("note_rs", '{"unet.use_rslora": true}'), ("note_nan", '{"unet.lora_alpha": 1e400}')]:
    tensors("lora", name, {"lora_adapter_metadata": note}, **p)
for kind in ["ff_net_0_proj", "attn1_to_q", "resnets_0_conv1", "time_embedding"]:
    tensors("lora", "kind_" + kind, **{f"lora_unet_{kind}.lora_down.weight": half(2, 3), f"lora_unet_{kind}.lora_up.weight": half(4, 2)})

q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q."
loha = {"hada_w1_a": half(4, 2), "hada_w1_b": half(2, 3), "hada_w2_a": half(4, 2), "hada_w2_b": half(2, 3)}
tucker = {"hada_t1": half(2, 2, 3, 3), "hada_t2": half(2, 2, 3, 3), "hada_w1_a": half(2, 4), "hada_w1_b": half(2, 3), "hada_w2_a": half(2, 4), "hada_w2_b": half(2, 3)}
for name, parts in [("loha", loha), ("loha_tucker", tucker), ("loha_half", {"hada_w1_a": half(4, 2)}), ("loha_core", {**loha, "hada_t1": half(2, 2, 3, 3)}),
                    ("loha_misfit", {**loha, "hada_w2_b": half(2, 4)}), ("loha_kernel", {**loha, "hada_w2_b": half(2, 3, 3, 3)}),
                    ("lokr", {"lokr_w1": half(2, 3), "lokr_w2": half(2, 2)}), ("lokr_conv", {"lokr_w1": half(2, 3), "lokr_w2": half(2, 2, 3, 3), "alpha": half(1, start=2)}),
                    ("lokr_factors", {"lokr_w1_a": half(2, 1), "lokr_w1_b": half(1, 3), "lokr_w2_a": half(2, 2), "lokr_w2_b": half(2, 4)}),
                    ("lokr_tucker", {"lokr_w1": half(2, 3), "lokr_t2": half(2, 2, 3, 3), "lokr_w2_a": half(2, 4), "lokr_w2_b": half(2, 5)}),
                    ("lokr_both", {"lokr_w1": half(2, 3), "lokr_w1_a": half(2, 1), "lokr_w2": half(2, 2)}), ("lokr_one", {"lokr_w1": half(2, 3)}),
                    ("lokr_core", {"lokr_w1": half(2, 3), "lokr_w2": half(2, 2), "lokr_t2": half(2, 2, 3, 3)}), ("lokr_misfit", {"lokr_w1_a": half(2, 1), "lokr_w1_b": half(2, 3), "lokr_w2": half(2, 2)}),
                    ("mixed", {**loha, "lokr_w1": half(2, 3)}), ("mid", {"lora_down.weight": half(2, 3), "lora_mid.weight": half(2, 2, 3, 3), "lora_up.weight": half(4, 2)}),
                    ("mid_misfit", {"lora_down.weight": half(2, 3), "lora_mid.weight": half(3, 2, 3, 3), "lora_up.weight": half(4, 2)}),
                    ("dora", {"lora_down.weight": half(2, 3), "lora_up.weight": half(4, 2), "dora_scale": half(4, 1)}),
                    ("dora_in", {"lora_down.weight": half(2, 3), "lora_up.weight": half(4, 2), "dora_scale": half(1, 3)}),
                    ("dora_misfit", {"lora_down.weight": half(2, 3), "lora_up.weight": half(4, 2), "dora_scale": half(1, 5)}),
                    ("dora_few", {"lora_down.weight": half(2, 3), "lora_up.weight": half(4, 2), "dora_scale": half(1, 1)}),
                    ("alpha_alone", {"alpha": half(1)}), ("large", {"lora_down.weight": half(9, 1), "lora_up.weight": half(1, 9)})]:
    tensors("lora", name, **{q + k: v for k, v in parts.items()})
tensors("lora", "token", **{"<s1>": half(1, 4), "clip_l": half(2, 4)})
tensors("lora", "sdxl", **{"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": half(2, 3), "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": half(4, 2)})
tensors("lora", "old_processor", **{"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight": half(2, 3),
                                    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight": half(4, 2)})
for per in (8, 9):
    tensors("lora", f"numbered_{per}", **{f"unet:{i}:{end}": half(8 if per == 9 and i % 9 == 4 and end == "up" else 1, 1) for i in range(16 * per) for end in ("down", "up")})
tensors("lora", "numbered_hole", **{"unet:1:down": half(2, 3), "unet:1:up": half(4, 2)})
for name, text in [("plain", '{"lora_alpha": 4, "r": 2}'), ("pattern", '{"lora_alpha": 4, "alpha_pattern": {"to_q": 8, ".*to_k": 1}}'), ("rslora", '{"lora_alpha": 4, "use_rslora": true}'),
                   ("foreign", '{"alpha_pattern": {"(?:a)": 8}}'), ("backslash", '{"alpha_pattern": {"a\\d": 8}}'), ("backslash_end", '{"alpha_pattern": {"a\\\\": 8}}'), ("open", '{"alpha_pattern": {"(a": 8}}'),
                   ("text", '{"alpha_pattern": {"a": "b"}}'), ("list", '{"alpha_pattern": [1]}'), ("huge", '{"lora_alpha": 1e400}'), ("lycoris", '{"alpha": 3}'), ("broken", "{")]:
    put("peft", name, text)

# ---- sdlora info ----
listed("info", "golden/layout", "golden/bad", "golden/embeddings/dir", "golden/embeddings/gal.pt", "golden/embeddings/dir/more",
       *sorted(f"golden/image/{n}" for n in os.listdir("golden/image") if n.startswith("text") and n.endswith(".png")),
       *sorted(f"{OUT}/lora/{n}" for n in os.listdir(f"{OUT}/lora")))
tensors("info", "state", {"format": "sdlora-state-1", "step": "3", "epoch": "1", "batch": "0", "set": "ref"}, w=half(4), m=half(4), v=half(4))
tensors("info", "dump", {"format": "sdlora-dump-1", "sdlora.dump": "1"}, **{"step0.loss": half(1), "a.lora_b": half(2)})
tensors("info", "control", {"modelspec.title": "\x1b[2Jtitle\nline two", "ss_steps": "\u2603" * 90}, **{"lora_unet_a.lora_down.weight": half(2, 3), "lora_unet_a.lora_up.weight": half(4, 2)})
put("info", "text", "not a file that is known")
info = PngImagePlugin.PngInfo()
info.add_itxt("parameters", "a \u2603\nSteps: 3, \x1b[1mSeed: 4")
gray.save(f"{OUT}/info/parameters.png", pnginfo=info)

# ---- the configuration of a model ----
def model(folder):
    return [open(f"{folder}/{f}").read() for f in ("unet/config.json", "text_encoder/config.json", "vae/config.json", "scheduler/scheduler_config.json", "model_index.json")]


def changed(part, **members):
    parts = model("golden/parity/b/model")
    parts[part] = json.dumps({**json.loads(parts[part]), **members})
    return parts


put("model", "b", *model("golden/parity/b/model"))
put("model", "c", *model("golden/parity/c/model"))
put("model", "v_prediction", *changed(3, prediction_type="v_prediction", beta_schedule="linear"))
put("model", "beta", *changed(3, beta_schedule="cosine"))
put("model", "sample", *changed(3, prediction_type="sample"))
put("model", "betas", *changed(3, beta_start="x"))
put("model", "native", *changed(4, native_size=[3, 4]))
put("model", "native_one", *changed(4, native_size=[64]))
put("model", "index", *model("golden/parity/b/model")[:4], "[]")
put("model", "cross", *changed(0, cross_attention_dim=5))
put("model", "latent", *changed(0, in_channels=5))
put("model", "groups", *changed(0, norm_num_groups=0))
put("model", "layers", *changed(0, layers_per_block=2147483647))
put("model", "channels", *changed(0, block_out_channels=[1 << 30] * 4))
put("model", "heads", *changed(0, attention_head_dim=0))
put("model", "width", *changed(1, hidden_size=-8))
put("model", "vocab", *changed(1, vocab_size=2147483647, max_position_embeddings=2147483647))
put("model", "vae", *changed(2, block_out_channels=[]))
put("model", "built_in", "sd15")
put("model", "built_in_2", "sd21")
put("model", "empty", "{}", "{}", "{}", "{}", "{}")
