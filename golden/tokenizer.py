"""Makes golden/bpe (a byte-level BPE in CLIP's format over many scripts) and golden/tokenizer.json: texts and their ids by transformers' CLIPTokenizer.

    python golden/tokenizer.py            from the repository root; needs golden/tiny-sd/tokenizer, transformers

tokenizer.json is a list of {dir, config, cases: [[text, ids]], bytes: [[hex, ids]], padded: [[text, ids, cut]]}; config is the text of a tokenizer_config.json
to use in place of the folder's own, or null; bytes are ill-formed UTF-8, read as Python's errors="replace" reads it."""
import collections, json, os, random, shutil, tempfile, unicodedata
from transformers import CLIPTokenizer

BPE, TINY = "golden/bpe", "golden/tiny-sd/tokenizer"
CORPUS = """the a of and an portrait photo of a girl woman man with long hair blue eyes wearing dress standing looking at viewer masterpiece best quality
it's don't we're i've i'm you'll she'd cats' 'tis rock'n'roll 2023 1girl 100 4k café naïve über straße fiancée crème brûlée mañana ÅNGSTRÖM søster żółw
привет мир красивая девушка Ελλάδα κόσμος ΟΔΟΣ 日本語 東京 少女 写真 한국어 소녀 中文 女孩 漂亮 สวัสดี नमस्ते שלום مرحبا 😀 😀😀 👩‍👩‍👧 ❤️ 🎨 ✨✨ !! ?! ... -- :) ٣٤ ４２ ½ Ⅷ"""


def byte_map():
    """GPT-2's: a byte to a printable character."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def train(path, merges=420):
    symbol = byte_map()
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order += [b for b in range(256) if b not in order]
    words = collections.Counter(unicodedata.normalize("NFC", CORPUS).lower().split())
    split = {w: [symbol[b] for b in w.encode()[:-1]] + [symbol[w.encode()[-1]] + "</w>"] for w in words}
    pairs_made = []
    while len(pairs_made) < merges:
        pairs = collections.Counter()
        for w, s in split.items():
            for pair in zip(s, s[1:]):
                pairs[pair] += words[w]
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        pairs_made.append(best)
        for w, s in split.items():
            i = 0
            while i + 1 < len(s):
                if (s[i], s[i + 1]) == best:
                    s[i : i + 2] = ["".join(best)]
                i += 1
    vocab = [symbol[b] for b in order] + [symbol[b] + "</w>" for b in order] + ["".join(p) for p in pairs_made]
    vocab = list(dict.fromkeys(vocab)) + ["<|startoftext|>", "<|endoftext|>"]
    os.makedirs(path, exist_ok=True)
    with open(f"{path}/vocab.json", "w") as f:
        json.dump({t: i for i, t in enumerate(vocab)}, f, separators=(",", ":"))
    with open(f"{path}/merges.txt", "w") as f:
        f.write("#version: 0.2\n" + "".join(" ".join(p) + "\n" for p in pairs_made))


TEXTS = """a photo of a girl|masterpiece, best quality, 1girl|A PHOTO OF A GIRL|MiXeD CaSe TeXT|mochi, full body, white dress, straw hat, v arm, ocean|hello world
it's|IT'S|don't|we're|i've|i'm|you'll|she'd|cats'|'tis|''s|!'s|'S 'T 'RE|rock'n'roll|it’s|o'clock'd've|'sa|x'llama|a'b'c|'|''|'''
1|12|1234567890|3.14|4k|1girl2boys|2023-11-22|٣٤٥|４２|½|Ⅷ|²³|१२३|a1b2|①②|𝟘𝟙|1'2|௧௨
café|CAFÉ|cafe\u0301|naïve|nai\u0308ve|Å|A\u030a|\u212b|ﬁne|ẞ|ß|STRASSE straße|İstanbul|I\u0307|ıI|ΟΔΟΣ|ΟΔΟΣ ΟΔΟΣ.|Σ|ΑΣ|ǅ|ǆ|Ǆ|\u1e9b\u0323|q\u0307\u0323|e\u0323\u0302|ḑ́|Ⱥ Ⱦ|ỘỘ|Ångström|Ωmega \u2126|K\u212a|Ꭰ ꭰ|ა Ა|Ⓐ ⓐ|ⅷ Ⅷ
日本語|東京の少女の写真|中文，标点。|한국어|\u1112\u1161\u11ab|カタカナ|ｶﾀｶﾅ|か\u3099|女孩,漂亮|漢字kanji混ぜ|「引用」|𠮷野家|豈\uf900|สวัสดี|नमस्ते|שלום|مرحبا|བོད|ไทย123
😀|😀😀|😀 😀|👩‍👩‍👧|👩🏽‍🚀|❤️|❤|🏳️‍🌈|🇩🇪|✨✨✨|a😀b|1️⃣|🎨art|☺!|:)|©®™
a  b|a\tb|a\nb|a\r\nb|\u00a0a\u00a0b|a\u3000b|a\u2028b|a\u200bb|a\u180eb|a\u0085b|a\u1680b|a\ufeffb|  |\u2003\u2004|\t|a\u202fb\u205fc|\x0b\x0c
a\x01b|\x7f|\x1b[0m|\u0080\u009f|a\u00adb|\u202eabc|\u2060|\ufffd|\ufffe|\U0010ffff|\ue000|\u0378|a\u0301|\u0301a|a\u0301\u0301|\u20dd|a\u0903
...|!!!|?!?!|--|—|a-b_c|(a:1.2)|[[b]]|{c|d}|<lora:x:1>|$%^&*|http://example.com/a?b=c|#1|@me|100%|~`|\\\\|"quoted"|a,b,c|a , b|;:|¿qué?|«a»|…|·|±×÷|€£¥|№|∑∞|→|█
<|startoftext|>|<|endoftext|>|a<|endoftext|>b|<|ENDOFTEXT|>|a <|StartOfText|> b|!<|ENDOFTEXT|>!!|<|EndOfText|>!!|<|endoftext |>|<|endoftext|>'s|<|endoftext|><|startoftext|>|<|endoftext|wow!|<<|endoftext|>>|<|ENDOFTEXT|><|ENDOFTEXT|>|x! y!!|<|STARTOFTEXT|>1'll"""


def texts():
    cut = lambda line: line.replace("<|", "\0").replace("|>", "\1").split("|")
    listed = [t.replace("\0", "<|").replace("\1", "|>") for line in TEXTS.split("\n") for t in cut(line)]
    draw = random.Random(7)
    alphabet = "aab eé'  sStTlL1,!-.Äß東京😀\u0301\u200d\n٣ΣİÀẞ"
    mixed = ["".join(draw.choice(alphabet) for _ in range(draw.randint(3, 30))) for _ in range(60)]
    return ["", *listed, *mixed, "a" * 300, "pneumonoultramicroscopicsilicovolcanoconiosis" * 3, "東" * 60, "!" * 100, "é" * 70]


BROKEN = "80 61ff62 c3 c328 e28241 e282 f09f98 f09f9861 c0af eda080 f4908080 f8888080 6180bf62 e0809f fffe41 f0808080 edbfbf61".split()
A = lambda text: {"__type": "AddedToken", "content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
SD1 = {"bos_token": A("<|startoftext|>"), "eos_token": A("<|endoftext|>"), "pad_token": "<|endoftext|>", "unk_token": A("<|endoftext|>")}
SD2 = {**SD1, "pad_token": "!"}
LONG = ["a photo of a cat, " * 30, "x" * 75, " ".join("x" * 75), " ".join("x" * 76), "", "hello!", "<|endoftext|> a"]


def group(folder, config, some):
    with tempfile.TemporaryDirectory() as tmp:
        for name in os.listdir(folder):
            shutil.copy(f"{folder}/{name}", tmp)
        if config:
            config = json.dumps({**config, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}, separators=(",", ":"))
            open(f"{tmp}/tokenizer_config.json", "w").write(config)
        tok = CLIPTokenizer.from_pretrained(tmp)
    raw = lambda t: tok(t, add_special_tokens=False)["input_ids"]
    full = lambda t: tok(t, padding="max_length", truncation=True, max_length=77)["input_ids"]
    return {"dir": folder, "config": config, "cases": [[t, raw(t)] for t in some],
            "bytes": [[h, raw(bytes.fromhex(h).decode(errors="replace"))] for h in BROKEN],
            "padded": [[t, full(t), max(0, len(raw(t)) - 75)] for t in LONG]}


train(BPE)
every = texts()
special = [t for t in every if "<" in t or "!" in t]
plain = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
groups = [group(BPE, plain, every), group(TINY, None, every[::2]), group(BPE, SD1, special), group(BPE, SD2, special)]
with open("golden/tokenizer.json", "w") as f:
    json.dump(groups, f, ensure_ascii=False, separators=(",", ":"))
print(sum(len(g["cases"]) for g in groups), "texts", os.path.getsize("golden/tokenizer.json"), "bytes;", *(f"{n} {os.path.getsize(f'{BPE}/{n}')}" for n in os.listdir(BPE)))
