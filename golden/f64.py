"""Float64 and nothing else.

torch, diffusers and transformers fall back to float32 in places: the sinusoids of the timestep, CLIP's softmax, the steps of several samplers.
Inside `with double():` every such request gets float64, and the first tensor of another floating type ends the run, forward or backward.
`smooth` proves the same from outside, whatever a kernel does within: a result that was rounded to float32 on its way moves in steps.
"""
import sys
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class Widen(TorchFunctionMode):
    """Whoever asks for float32 gets float64."""
    def __torch_function__(self, func, types, args=(), kwargs=None):
        widen = lambda v: torch.float64 if v is torch.float32 else v
        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*tree_map(widen, args), **tree_map(widen, kwargs or {}))


class Watch(TorchDispatchMode):
    """Looks at the inputs and outputs of every operation."""
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs, out)):
            if isinstance(x, torch.Tensor) and (x.is_floating_point() or x.is_complex()) and x.dtype != torch.float64:
                sys.exit(f"f64: {func} works in {x.dtype}")
        return out


@contextmanager
def double():
    with Widen(), Watch():
        yield


def is_linear(y0, y1, y2):
    return bool((y2 - 2 * y1 + y0).norm() < 1e-3 * (y1 - y0).norm())


def smooth(what, f, x):
    """Ends the run unless f is linear over steps of 1e-9: curvature and float64 rounding are 1e-6 of the change, float32 rounding 60 times the change."""
    h = 1e-9 * torch.cos(torch.arange(x.numel(), dtype=torch.float64)).reshape(x.shape)
    with double(), torch.no_grad():
        values = [f(x + i * h) for i in range(3)]
    if is_linear(*(y.float().double() for y in values)):
        sys.exit(f"f64: {what}: float32 rounding would go unnoticed")
    if not is_linear(*values):
        sys.exit(f"f64: {what} moves in steps: something inside is not float64")
