#!/usr/bin/env python3
"""How many singular values kohya's resize_lora.py keeps.

    python golden/lora_keep.py sd-scripts/networks/resize_lora.py >golden/lora/keep.txt         a line a case: method param rank kept, then the values

The functions are taken out of the script as they stand; its imports are not needed.
"""
import ast, pathlib, sys

import torch

tree = ast.parse(pathlib.Path(sys.argv[1]).read_text())
wanted = {"index_sv_cumulative", "index_sv_fro", "index_sv_ratio", "rank_resize"}
body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in wanted]
space = {"torch": torch, "MIN_SV": 1e-6}
exec(compile(ast.Module(body, []), "resize_lora.py", "exec"), space)

torch.manual_seed(3)
cases = [torch.sort(torch.rand(n).double() ** power, descending=True).values for n in (2, 5, 12) for power in (0.3, 1, 4)] + [torch.zeros(4).double()]
for s in cases:
    whole = torch.cat([s, torch.zeros(40).double()])                       # the script's values are those of the whole matrix
    for method, params in (("none", [0]), ("sv_ratio", [1.5, 3, 50]), ("sv_fro", [0.5, 0.9, 0.99]), ("sv_cumulative", [0.3, 0.8, 0.97])):
        for param in params:
            for rank in (1, 3, 32):
                kept = space["rank_resize"](whole, rank, None if method == "none" else method, param)["new_rank"]
                print(method, param, rank, kept, *(f"{x:.17g}" for x in s.tolist()))
