"""The factor of the learning rate at each step, from diffusers.optimization.get_scheduler. python golden/lr.py > golden/lr.txt

A line a run: scheduler, steps of warm-up, steps in all, cycles, then the factor of step 0, 1, ..."""
import torch
from diffusers.optimization import get_scheduler

RUNS = [(0, 1), (0, 7), (1, 7), (3, 10), (5, 6), (6, 6), (9, 6), (20, 24), (2, 50)]

SCHEDULERS = [("constant", 1), ("constant_with_warmup", 1), ("linear", 1), ("cosine", 1), ("cosine_with_restarts", 1), ("cosine_with_restarts", 3)]

for name, cycles in SCHEDULERS:
    for warmup, total in RUNS:
        if name == "constant" and warmup:
            continue                    # has none
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total, num_cycles=cycles)
        factors = []
        for _ in range(total):
            factors.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        print(name, warmup, total, cycles, *("%.17g" % f for f in factors))
