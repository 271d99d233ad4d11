"""Writes CLIP's vocabulary as a tokenizer folder: vocab.json and merges.txt as transformers has them, from the list of merges in a wheel of open_clip_torch.

    python golden/clip_vocab.py WHEEL FOLDER        `make clip-vocab` downloads the wheel and calls this; nothing but Python is needed"""
import gzip, hashlib, json, pathlib, sys, zipfile

WORDS = 49408
MERGES = "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"           # sha256 of merges.txt: another list is another vocabulary

wheel, folder = sys.argv[1], pathlib.Path(sys.argv[2])
with zipfile.ZipFile(wheel) as z:
    lines = gzip.decompress(z.read("open_clip/bpe_simple_vocab_16e6.txt.gz")).decode().split("\n")
merges = lines[1:WORDS - 512 - 2 + 1]                  # behind the first line; 256 bytes, 256 that end a word, the merges, begin and end
plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
symbols = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
words = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
assert len(words) == len(set(words)) == WORDS, len(words)
text = "\n".join(["#version: 0.2", *merges, ""]).encode()
if hashlib.sha256(text).hexdigest() != MERGES:
    sys.exit(f"{wheel}: its list of merges is not CLIP's")
special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>", pad_token="<|endoftext|>")
folder.mkdir(parents=True, exist_ok=True)
(folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}, ensure_ascii=False), encoding="utf-8")
(folder / "merges.txt").write_bytes(text)
(folder / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="CLIPTokenizer", do_lower_case=True, model_max_length=77, **special), indent=2) + "\n")
print(f"{folder}: CLIP's vocabulary, {len(words)} words")
