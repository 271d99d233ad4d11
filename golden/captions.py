"""Makes golden/captions.safetensors: captions of more than 75 tokens as kohya's scripts train on them, by transformers' tokenizer and torch in float64.

    python golden/captions.py       needs golden/requirements.txt and golden/parity, whose model a, tokenizer and LoRA it takes; some seconds

A caption is tokenized once, cut at 75 k tokens and padded to 75 k + 2 ids, x. Chunk i of k is x[0], the 75 ids from 1 + 75 i on, x[-1]. Where the padding is
not EOS (SD 2.x) a chunk that ends within the text ends in EOS, and one that has nothing of it is BOS, EOS, padding. Each goes through the text encoder alone;
of the states the first BOS stays, the 75 in between of each chunk, and the last of all. F64, I32 for ids and t:
    ids.{pad}.{k} (8,77 k)          of captions of 0, 1, 74, 75, 76, 150, 151 and 400 words, "the cat dog the ..."; pad: the id
    in.0.ids (2,154)  in.0.latents  in.0.noise  in.0.t       captions of 100 and 20 words, k = 2; the rest as in make.py
    text.states (2,152,C)  train.loss  train.loss_each  grad.lora_te_*          with the LoRA of golden/parity/a"""
import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizer

import make
from clip_skip import HERE, Skipping, file_lora
from f64 import double

EACH = 75


def caption(words):
    return " ".join(("the", "cat", "dog")[i % 3] for i in range(words))


def chunks(tokenizer, text, k, pad):
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    x = [bos, *tokenizer(text, add_special_tokens=False).input_ids[:EACH * k], eos]
    x += [pad] * (EACH * k + 2 - len(x))
    rows = []
    for i in range(k):
        row = [x[0], *x[1 + EACH * i:1 + EACH * (i + 1)], x[-1]]
        if pad != eos and row[-2] not in (eos, pad):
            row[-1] = eos
        if pad != eos and row[1] == pad:
            row[1] = eos
        rows.append(row)
    return torch.tensor(rows)


class Chunked(Skipping):
    def hidden(self, ids):
        """ids (n,k,77) to states (n,75 k + 2,C)."""
        n, k, length = ids.shape
        x = super().hidden(ids.reshape(n * k, length)).reshape(n, k, length, -1)
        return torch.cat([x[:, 0, :1], *(x[:, i, 1:-1] for i in range(k)), x[:, -1, -1:]], 1)


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    config, model = make.CONFIGS["a"], Chunked("a", 1)
    tokenizer = CLIPTokenizer.from_pretrained(HERE / "parity/a/model/tokenizer")
    gold = {f"ids.{pad}.{k}": torch.stack([chunks(tokenizer, caption(m), k, pad).flatten() for m in (0, 1, 74, 75, 76, 150, 151, 400)])
            for pad in (tokenizer.eos_token_id, 0) for k in (1, 2, 3)}
    batch = make.inputs("a", config)
    gold |= {f"in.0.{name}": batch[f"in.0.{name}"] for name in ("latents", "noise", "t")}
    ids = torch.stack([chunks(tokenizer, caption(m), 2, tokenizer.eos_token_id) for m in (100, 20)])
    gold["in.0.ids"] = ids.flatten(1)
    loras = [file_lora("a", config, model.unet, "lora_unet_", [make.IN_TRANSFORMER]),
             file_lora("a", config, model.text, "lora_te_text_model_", [make.IN_TEXT])]
    with double():
        each = make.losses(model, config, gold["in.0.latents"], gold["in.0.noise"], gold["in.0.t"], ids)
        each.mean().backward()
        gold |= {"text.states": model.hidden(ids), "train.loss_each": each, "train.loss": each.mean()}
    gold |= {f"grad.{name}": p.grad for name, p in loras[1].parameters().items()}
    gold = {name: (x if x.is_floating_point() else x.int()).detach().clone().contiguous() for name, x in gold.items()}
    save_file(gold, HERE / "captions.safetensors", {"made_by": "golden/captions.py"})


if __name__ == "__main__":
    main()
