#!/usr/bin/env python3
"""Op goldens: what every operation of ref/ops/ops.h means, computed by torch in float64 (gradients by autograd).

`python golden/ops.py` writes golden/ops/STEM.safetensors; tests/opgolden runs each vector on a kernel set. A vector NAME is

    metadata NAME     "op=conv kernel=3 stride=2 ..."   the op, its attributes (fields of Attr, acc, segN.scale, segN.o0), wide=roles of type acc
    NAME.ROLE         (n,h,w,c) as the contract lays it out; ROLE is y0..y3 (what an output held before), x0..x5, w, bias, row, res, segN.x, segN.w
    NAME.wantN        output N afterwards
    NAME.slackN       (8 + sqrt K) M: how far an honest computation may be off, in units of its unit roundoff u. With J the derivative of an output by the
                      inputs, M = |want| + sum |J_i x_i| is what a relative change u of every input does, and K counts the terms. A sum of K rounded
                      products is off by about sqrt K u M, at worst by K u M (Higham & Mary 2019); 8 is for the fixed number of roundings besides.

Inputs are multiples of 1/64, so they are the same numbers in f16, f32 and f64.
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(20)
OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "ops"
files = {}                                              # stem -> (tensors, metadata)


def rnd(*shape, lo=-2.0, hi=2.0):
    """Uniform numbers on the grid of 1/64."""
    return torch.randint(round(lo * 64), round(hi * 64) + 1, shape).double() / 64


def four(t):
    """Any tensor as (n,h,w,c): leading ones are added."""
    return t.reshape((1,) * (4 - t.dim()) + tuple(t.shape))


def slack(want, inputs):
    """(8 + sqrt K) M for every element of want, see the top of the file."""
    flat, result = want.reshape(-1), []
    for j in range(flat.numel()):
        m, k = flat[j].detach().abs(), 0
        if flat.requires_grad:
            for x, d in zip(inputs, torch.autograd.grad(flat[j], inputs, retain_graph=True, allow_unused=True)):
                if d is not None:
                    m, k = m + (d * x).abs().sum().detach(), k + int(((d * x) != 0).sum())
        result.append((8 + k ** 0.5) * m)
    return torch.stack(result).reshape(want.shape)


def emit(stem, name, op, f, attr="", wide="", saved=None, **roles):
    """One vector: outputs f(**roles) with their slack. `saved` are further inputs of the op that are functions of the others (statistics of a forward pass)."""
    tensors, meta = files.setdefault(stem, ({}, {}))
    assert name not in meta, name
    inputs = {k: t.clone().requires_grad_(t.is_floating_point()) for k, t in roles.items()}
    outs = f(**inputs)
    for n, want in enumerate(outs if isinstance(outs, tuple) else (outs,)):
        if want is None:
            continue
        leaves = [t for t in inputs.values() if t.requires_grad]
        tensors[f"{name}.want{n}"] = four(want.detach()).numpy()
        tensors[f"{name}.slack{n}"] = four(slack(want, leaves)).float().numpy()
    for k, t in {**roles, **(saved or {})}.items():
        t = t.detach() if t.is_floating_point() else t.int()
        tensors[f"{name}.{k.replace('_', '.')}"] = four(t).numpy()
    meta[name] = " ".join(s for s in (f"op={op}", attr, wide and f"wide={wide}") if s)


def save(path, tensors, meta):
    """A safetensors file whose bytes depend on its content alone (the library's own writer shuffles metadata); wide types first, so all are aligned."""
    header, data = {"__metadata__": meta}, b""
    for name in sorted(tensors, key=lambda k: (-tensors[k].itemsize, k)):
        t = np.ascontiguousarray(tensors[name])
        header[name] = dict(dtype={"f": "F", "i": "I"}[t.dtype.kind] + str(8 * t.itemsize), shape=t.shape, data_offsets=(len(data), len(data) + t.nbytes))
        data += t.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def grad(y, x, dy):
    """The gradient of sum y dy by x, itself differentiable."""
    return torch.autograd.grad(y, x, dy, create_graph=True)


def chw(x): return x.permute(0, 3, 1, 2)
def hwc(x): return x.permute(0, 2, 3, 1)


# ---- linear and conv ----

def linear(x0, w, scale=1.0, bias=0, row=0, res=0, segs=(), **seg):
    y = scale * F.linear(x0, w[:, 0, 0]) + bias + row + res
    for k, (s, o0) in enumerate(segs):
        y = y + s * F.pad(F.linear(seg[f"seg{k}_x"], seg[f"seg{k}_w"][:, 0, 0]), (o0, y.shape[-1] - o0 - seg[f"seg{k}_w"].shape[0]))
    return y


def linear_vectors():
    n, h, w, i, o = 2, 1, 3, 5, 7
    emit("linear", "plain", "linear", linear, "scale=1", x0=rnd(n, h, w, i), w=rnd(o, 1, 1, i))
    emit("linear", "bias", "linear", linear, "scale=1", x0=rnd(n, 2, 2, i), w=rnd(3, 1, 1, i), bias=rnd(3))
    segs = ((0.5, 0), (-1.5, 2), (0.75, 5))
    emit("linear", "full", "linear", lambda **r: linear(scale=0.25, segs=segs, **r),
         "scale=0.25 " + " ".join(f"seg{k}.scale={s} seg{k}.o0={o0}" for k, (s, o0) in enumerate(segs)),
         x0=rnd(n, h, w, i), w=rnd(o, 1, 1, i), bias=rnd(o), row=rnd(n, 1, 1, o), res=rnd(n, h, w, o),
         seg0_x=rnd(n, h, w, 2), seg0_w=rnd(o, 1, 1, 2), seg1_x=rnd(n, h, w, 3), seg1_w=rnd(4, 1, 1, 3), seg2_x=rnd(n, h, w, 1), seg2_w=rnd(2, 1, 1, 1))

    def dx(x0, w, scale=1.0, segs=(), y0=0, **seg):
        x = torch.zeros(x0.shape[:3] + w.shape[3:], requires_grad=True)
        y = y0 + scale * grad(F.linear(x, w[:, 0, 0]), x, x0)[0]
        for k, s in enumerate(segs):
            y = y + s * seg[f"seg{k}_x"] @ seg[f"seg{k}_w"][:, 0, 0]
        return y
    emit("linear", "dx", "linear_dx", dx, "scale=1", x0=rnd(n, h, w, o), w=rnd(o, 1, 1, i))
    emit("linear", "dx_full", "linear_dx", lambda **r: dx(scale=-0.5, segs=(2.0, 0.25), **r), "scale=-0.5 acc=1 seg0.scale=2 seg1.scale=0.25",
         y0=rnd(n, h, w, i), x0=rnd(n, h, w, o), w=rnd(o, 1, 1, i), seg0_x=rnd(n, h, w, 2), seg0_w=rnd(2, 1, 1, i),
         seg1_x=rnd(n, h, w, 1), seg1_w=rnd(1, 1, 1, i))

    def dw(x0, x1, scale=1.0, y0=0):
        weight = torch.zeros(x0.shape[3], x1.shape[3], requires_grad=True)
        return y0 + scale * grad(F.linear(x1, weight), weight, x0)[0][:, None, None]
    emit("linear", "dw", "linear_dw", dw, "scale=1", "y0", x0=rnd(n, 2, w, 3), x1=rnd(n, 2, w, i))
    emit("linear", "dw_acc", "linear_dw", lambda **r: dw(scale=0.75, **r), "scale=0.75 acc=1", "y0", y0=rnd(3, 1, 1, i), x0=rnd(n, h, w, 3), x1=rnd(n, h, w, i))


def conv_forward(x, w, stride, pad):
    top, bottom, left, right = pad
    return hwc(F.conv2d(F.pad(chw(x), (left, right, top, bottom)), chw(w), stride=stride))


def conv(geometry, scale=1.0, segs=(), bias=0, row=0, res=0, *, x0, w, **seg):
    y = scale * conv_forward(x0, w, *geometry) + bias + row + res
    for k, (s, o0) in enumerate(segs):
        y = y + s * F.pad(F.linear(seg[f"seg{k}_x"], seg[f"seg{k}_w"][:, 0, 0]), (o0, y.shape[-1] - o0 - seg[f"seg{k}_w"].shape[0]))
    return y


def conv_vectors():
    def shape(k, geometry):
        stride, pad = geometry
        return f"kernel={k} stride={stride} pad=" + ",".join(map(str, pad))
    same, down, down2, one, wide = (1, (1, 1, 1, 1)), (2, (0, 1, 0, 1)), (2, (1, 1, 1, 1)), (1, (0, 0, 0, 0)), (1, (2, 0, 1, 3))
    for name, k, g, (h, w) in (("3x3", 3, same, (3, 5)), ("down", 3, down, (4, 6)), ("down_odd", 3, down2, (5, 3)), ("1x1", 1, one, (2, 3)),
                               ("uneven", 3, wide, (2, 3))):
        emit("conv", name, "conv", lambda **r: conv(g, **r), shape(k, g) + " scale=1", x0=rnd(1, h, w, 2), w=rnd(3, k, k, 2), bias=rnd(3))
    emit("conv", "full", "conv", lambda **r: conv(same, 0.5, ((0.5, 0), (-2.0, 1)), **r),
         shape(3, same) + " scale=0.5 seg0.scale=0.5 seg0.o0=0 seg1.scale=-2 seg1.o0=1",
         x0=rnd(2, 2, 3, 2), w=rnd(3, 3, 3, 2), bias=rnd(3), row=rnd(2, 1, 1, 3), res=rnd(2, 2, 3, 3),
         seg0_x=rnd(2, 2, 3, 2), seg0_w=rnd(3, 1, 1, 2), seg1_x=rnd(2, 2, 3, 1), seg1_w=rnd(2, 1, 1, 1))

    def dx(g, hw, scale=1.0, segs=(), y0=0, *, x0, w, **seg):
        def one_dx(dy, weight):
            x = torch.zeros((dy.shape[0],) + hw + weight.shape[3:], requires_grad=True)
            return grad(conv_forward(x, weight, *g), x, dy)[0]
        y = y0 + scale * one_dx(x0, w)
        for k, s in enumerate(segs):
            y = y + s * one_dx(seg[f"seg{k}_x"], seg[f"seg{k}_w"])
        return y
    for name, g, hw, out in (("3x3", same, (3, 4), (3, 4)), ("down", down, (4, 6), (2, 3)), ("down_odd", down2, (5, 4), (3, 2)),
                             ("uneven", wide, (2, 3), (2, 5))):
        emit("conv", f"dx_{name}", "conv_dx", lambda **r: dx(g, hw, **r), shape(3, g) + " scale=1", x0=rnd(1, *out, 3), w=rnd(3, 3, 3, 2))
    emit("conv", "dx_full", "conv_dx", lambda **r: dx(down, (4, 6), -0.5, (0.75, 1.5), **r),
         shape(3, down) + " scale=-0.5 acc=1 seg0.scale=0.75 seg1.scale=1.5", y0=rnd(1, 4, 6, 2), x0=rnd(1, 2, 3, 3), w=rnd(3, 3, 3, 2),
         seg0_x=rnd(1, 2, 3, 2), seg0_w=rnd(2, 3, 3, 2), seg1_x=rnd(1, 2, 3, 1), seg1_w=rnd(1, 3, 3, 2))

    def dw(g, k, scale=1.0, y0=0, *, x0, x1):
        weight = torch.zeros(x0.shape[3], k, k, x1.shape[3], requires_grad=True)
        return y0 + scale * grad(conv_forward(x1, weight, *g), weight, x0)[0]
    for name, k, g, hw, out in (("3x3", 3, same, (3, 4), (3, 4)), ("down", 3, down, (4, 6), (2, 3)), ("1x1", 1, one, (2, 3), (2, 3))):
        emit("conv", f"dw_{name}", "conv_dw", lambda **r: dw(g, k, **r), shape(k, g) + " scale=1", "y0", x0=rnd(2, *out, 2), x1=rnd(2, *hw, 2))
    emit("conv", "dw_acc", "conv_dw", lambda **r: dw(down2, 3, 0.25, **r), shape(3, down2) + " scale=0.25 acc=1", "y0",
         y0=rnd(2, 3, 3, 2), x0=rnd(1, 3, 2, 2), x1=rnd(1, 5, 4, 2))


# ---- norm, attention, activations ----

def norm(x, gamma, beta, groups, silu, eps):
    y = hwc(F.group_norm(chw(x), groups, gamma, beta, eps)) if groups else F.layer_norm(x, x.shape[3:], gamma, beta, eps)
    return F.silu(y) if silu else y


def norm_stats(x, groups, eps):
    """Mean and 1/sqrt(biased variance + eps): (n,1,1,g), or (n,h,w,1) of a layer norm."""
    if not groups:
        return x.mean(3, keepdim=True), (x.var(3, keepdim=True, unbiased=False) + eps).rsqrt()
    n, h, w, c = x.shape
    x = x.reshape(n, h * w, groups, c // groups)
    return tuple(s.reshape(n, 1, 1, groups) for s in (x.mean((1, 3)), (x.var((1, 3), unbiased=False) + eps).rsqrt()))


def norm_vectors():
    for kind, groups, silu, c, eps in (("group", 3, 0, 6, 1e-5), ("group_silu", 2, 1, 6, 1e-6), ("layer", 0, 0, 5, 1e-5), ("layer_silu", 0, 1, 7, 1e-3)):
        n, h, w = (2, 2, 3) if groups else (2, 1, 3)
        x, gamma, beta, dy = rnd(n, h, w, c) + 0.5, rnd(c), rnd(c), rnd(n, h, w, c)
        attr = f"groups={groups} silu={silu}"
        emit("norm", kind, "norm", lambda x0, x1, x2: (norm(x0, x1, x2, groups, silu, eps), *norm_stats(x0, groups, eps)), f"{attr} eps={eps}", "y1,y2",
             x0=x, x1=gamma, x2=beta)
        mean, rstd = norm_stats(x, groups, eps)
        saved = dict(x4=mean, x5=rstd)

        def dx(x0, x1, x2, x3, y0=0):
            return y0 + grad(norm(x1, x2, x3, groups, silu, eps), x1, x0)[0]

        def dw(x0, x1, x2, x3, y0=0, y1=0):
            dgamma, dbeta = grad(norm(x1, x2, x3, groups, silu, eps), (x2, x3), x0)
            return y0 + dgamma, y1 + dbeta
        emit("norm", f"{kind}_dx", "norm_dx", dx, attr, "x4,x5", saved, x0=dy, x1=x, x2=gamma, x3=beta)
        emit("norm", f"{kind}_dw", "norm_dw", dw, attr, "y0,y1,x4,x5", saved, x0=dy, x1=x, x2=gamma, x3=beta)
        if silu:
            emit("norm", f"{kind}_dx_acc", "norm_dx", dx, f"{attr} acc=1", "x4,x5", saved, y0=rnd(n, h, w, c), x0=dy, x1=x, x2=gamma, x3=beta)
            emit("norm", f"{kind}_dw_acc", "norm_dw", dw, f"{attr} acc=1", "y0,y1,x4,x5", saved, y0=rnd(c), y1=rnd(c), x0=dy, x1=x, x2=gamma, x3=beta)


def attn_vectors():
    for kind, n, tq, tk, heads, d, causal, scale in (("self", 2, 3, 3, 2, 3, 0, 0.5), ("cross", 1, 5, 3, 2, 2, 0, 0.75),
                                                     ("wide", 1, 2, 7, 1, 5, 0, 5 ** -0.5), ("causal", 1, 5, 5, 2, 3, 1, 0.375)):
        def split(x): return x.reshape(x.shape[0], -1, heads, d).transpose(1, 2)

        def forward(x0, x1, x2):
            q, k, v = split(x0), split(x1), split(x2)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=bool(causal), scale=scale)
            s = scale * q @ k.transpose(2, 3)
            if causal:
                s = s.masked_fill(torch.ones(tq, tk).triu(1) > 0, -torch.inf)
            return y.transpose(1, 2).reshape(n, 1, tq, heads * d), s.logsumexp(3).transpose(1, 2)[:, None]
        q, k, v, dy = rnd(n, 1, tq, heads * d), rnd(n, 1, tk, heads * d), rnd(n, 1, tk, heads * d), rnd(n, 1, tq, heads * d)
        attr = f"heads={heads} causal={causal} scale={scale}"
        emit("attn", kind, "attn", forward, attr, "y1", x0=q, x1=k, x2=v)
        y, lse = forward(q, k, v)
        emit("attn", f"{kind}_dx", "attn_dx", lambda x0, x1, x2, x3: grad(forward(x1, x2, x3)[0], (x1, x2, x3), x0), attr, "x5",
             dict(x4=y, x5=lse), x0=dy, x1=q, x2=k, x3=v)


def geglu(x0):
    a, b = x0.chunk(2, 3)
    return a * F.gelu(b)


def act_vectors():
    for kind, f in enumerate((F.silu, F.gelu, lambda x: x * torch.sigmoid(1.702 * x))):
        name = ("silu", "gelu", "quick_gelu")[kind]
        emit("act", name, "act", lambda x0: f(x0), f"kind={kind}", x0=rnd(2, 1, 3, 5))
        emit("act", f"{name}_dx", "act_dx", lambda x0, x1: grad(f(x1), x1, x0)[0], f"kind={kind}", x0=rnd(2, 1, 3, 3), x1=rnd(2, 1, 3, 3))
        emit("act", f"{name}_dx_acc", "act_dx", lambda y0, x0, x1: y0 + grad(f(x1), x1, x0)[0], f"kind={kind} acc=1",
             y0=rnd(1, 2, 1, 3), x0=rnd(1, 2, 1, 3), x1=rnd(1, 2, 1, 3))
    emit("act", "geglu", "geglu", geglu, x0=rnd(2, 1, 3, 6))
    emit("act", "geglu_dx", "geglu_dx", lambda x0, x1: grad(geglu(x1), x1, x0)[0], x0=rnd(2, 1, 2, 3), x1=rnd(2, 1, 2, 6))
    emit("act", "geglu_dx_acc", "geglu_dx", lambda y0, x0, x1: y0 + grad(geglu(x1), x1, x0)[0], "acc=1",
         y0=rnd(1, 1, 2, 6), x0=rnd(1, 1, 2, 3), x1=rnd(1, 1, 2, 6))


# ---- moves ----

def philox4x32(counter, key):
    """Philox4x32-10 (Salmon et al. 2011), counters (count,4), for numpy."""
    c, k = [counter[:, j].astype(np.uint64) for j in range(4)], [int(key) & 0xffffffff, int(key) >> 32]
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        lo, hi = np.uint64(0xffffffff), np.uint64(32)
        c = [(p1 >> hi) ^ c[1] ^ np.uint64(k[0]), p1 & lo, (p0 >> hi) ^ c[3] ^ np.uint64(k[1]), p0 & lo]
        k = [(k[0] + 0x9E3779B9) & 0xffffffff, (k[1] + 0xBB67AE85) & 0xffffffff]
    return np.stack(c, 1)


def kept(count, p, key):
    counter = np.zeros((count, 4), np.uint64)
    counter[:, 0] = np.arange(count)
    return torch.from_numpy(((philox4x32(counter, key)[:, 0] >> np.uint64(8)).astype(np.float64) * 2.0 ** -24 >= p).astype(np.float64))


def move_vectors():
    # The published answers for a counter and key of zeros and of ones (Random123, kat_vectors).
    assert [hex(v) for v in philox4x32(np.zeros((1, 4), np.uint64), 0)[0]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    assert [hex(v) for v in philox4x32(np.full((1, 4), 2**32 - 1, np.uint64), 2**64 - 1)[0]] == ["0x408f276d", "0x41c83b0e", "0xa20bc7c6", "0x6d5451fd"]

    def up2(x0): return hwc(F.interpolate(chw(x0), scale_factor=2, mode="nearest"))
    emit("move", "up2", "up2", up2, x0=rnd(2, 2, 3, 3))

    def up2_dx(x0, y0=0):
        x = torch.zeros(x0.shape[0], x0.shape[1] // 2, x0.shape[2] // 2, x0.shape[3], requires_grad=True)
        return y0 + grad(up2(x), x, x0)[0]
    emit("move", "up2_dx", "up2_dx", up2_dx, x0=rnd(1, 4, 6, 3))
    emit("move", "up2_dx_acc", "up2_dx", up2_dx, "acc=1", y0=rnd(2, 1, 2, 3), x0=rnd(2, 2, 4, 3))

    v, e, c, n, t = 5, 2, 3, 2, 4
    ids = torch.tensor([[0, 6, 4, 6], [5, 1, 1, 0]], dtype=torch.int32).reshape(n, 1, t, 1)
    plain = ids % v
    emit("move", "embed", "embed", lambda x0, x1: F.embedding(x0[:, :, :, 0], x1[:, 0, 0]), x0=plain, x1=rnd(v, 1, 1, c))
    emit("move", "embed_position", "embed", lambda x0, x1, x3: F.embedding(x0[:, :, :, 0], x1[:, 0, 0]) + x3, x0=plain, x1=rnd(v, 1, 1, c), x3=rnd(1, 1, t, c))
    emit("move", "embed_extra", "embed", lambda x0, x1, x2, x3: F.embedding(x0[:, :, :, 0], torch.cat((x1, x2))[:, 0, 0]) + x3, "", "x2",
         x0=ids, x1=rnd(v, 1, 1, c), x2=rnd(e, 1, 1, c), x3=rnd(1, 1, t, c))

    def embed_dw(x0, x1, y0=0):
        table = torch.zeros(v + e, c, requires_grad=True)
        return y0 + grad(F.embedding(x1[:, :, :, 0], table), table, x0)[0][v:, None, None]
    emit("move", "embed_dw", "embed_dw", embed_dw, f"base={v}", "y0", x0=rnd(n, 1, t, c), x1=ids)
    emit("move", "embed_dw_acc", "embed_dw", embed_dw, f"base={v} acc=1", "y0", y0=rnd(e, 1, 1, c), x0=rnd(n, 1, t, c), x1=ids)

    emit("move", "copy", "copy", lambda x0: x0 * 1, "scale=1", x0=rnd(2, 2, 1, 3))
    emit("move", "copy_wide", "copy", lambda x0: x0 * -0.75, "scale=-0.75", "y0", x0=rnd(2, 2, 1, 3))
    emit("move", "copy_acc", "copy", lambda x0, y0: y0 + 0.375 * x0, "scale=0.375 acc=1", x0=rnd(1, 2, 2, 3), y0=rnd(1, 2, 2, 3))
    for op, f in (("add", torch.add), ("mul", torch.mul)):
        for name, b in (("same", (2, 2, 3, 2)), ("channel", (1, 1, 1, 2)), ("image", (2, 1, 1, 1)), ("token", (2, 2, 3, 1)), ("row", (2, 1, 1, 2)),
                        ("scalar", (1, 1, 1, 1)), ("width", (1, 1, 3, 1))):
            if op == "mul" or name in ("same", "channel", "row"):
                emit("move", f"{op}_{name}", op, lambda x0, x1: f(x0, x1), x0=rnd(2, 2, 3, 2), x1=rnd(*b))
    emit("move", "sum", "sum", lambda x0: x0.sum((0, 1, 2)), "each=0", "y0", x0=rnd(2, 3, 2, 3))
    emit("move", "sum_acc", "sum", lambda x0, y0: y0 + x0.sum((0, 1, 2)), "each=0 acc=1", "y0", x0=rnd(2, 3, 2, 3), y0=rnd(3))
    emit("move", "sum_each", "sum", lambda x0: x0.sum((1, 2), keepdim=True), "each=1", x0=rnd(2, 3, 2, 3))
    emit("move", "sum_each_acc", "sum", lambda x0, y0: y0 + x0.sum((1, 2), keepdim=True), "each=1 acc=1", x0=rnd(2, 3, 2, 3), y0=rnd(2, 1, 1, 3))

    p, key, shape = 0.3, 0x0123456789abcdef, (2, 2, 3, 5)
    mask = kept(60, p, key).reshape(shape)
    emit("move", "dropout", "dropout", lambda x0: x0 * mask / (1 - p), f"p={p} each=0 key={key}", x0=rnd(*shape))
    mask_each = kept(10, p, key + 1).reshape(2, 1, 1, 5)
    emit("move", "dropout_each", "dropout", lambda x0: x0 * mask_each / (1 - p), f"p={p} each=1 key={key + 1}", x0=rnd(*shape))
    emit("move", "fill", "fill", lambda: torch.full((2, 1, 3, 2), -1.625), "scale=-1.625")


# ---- loss and update ----

CTL_SCALE, CTL_CLIP, CTL_SUMSQ, CTL_BAD, CTL_BIAS1, CTL_BIAS2, CTL_LR, CTL_COUNT = 0, 1, 2, 3, 4, 5, 6, 16


def loss_vectors():
    share, shape = 0.375, (2, 2, 3, 2)
    for kind, name in enumerate(("l2", "l1", "huber", "smooth_l1")):
        for masked in ("", "_mask"):
            r = dict(x0=rnd(*shape), x1=rnd(*shape), x2=rnd(2, 1, 1, 1, lo=0.5), x5=torch.ones(CTL_COUNT) * 0.5)
            if kind >= 2:
                r["x3"] = rnd(2, 1, 1, 1, lo=0.25, hi=1)
            if masked:
                r["x4"] = rnd(2, 2, 3, 1, lo=0, hi=1)

            def loss(x0, x1, x2, x5, x3=None, x4=None):
                if kind < 2:
                    each = (F.mse_loss, F.l1_loss)[kind](x0, x1, reduction="none")
                else:
                    each = 2 * (x3 if name == "huber" else 1) * (((x0 - x1) ** 2 + x3 ** 2).sqrt() - x3)
                value = (x2 * (each if x4 is None else each * x4)).mean((1, 2, 3), keepdim=True)
                return value, grad((value * share * x5[CTL_SCALE]).sum(), x0, None)[0]
            emit("loss", name + masked, "loss", loss, f"kind={kind} scale={share}", "y0,x1,x2,x3,x4,x5", **r)


def update_vectors():
    count, scale, group = 7, 4.0, 3
    b1, b2, eps, decay, lr, t = 0.9, 0.99, 1e-8, 0.0625, 2.0 ** -6, 3

    def ctl(g, clip=0.0, bad=0.0):
        c = torch.zeros(CTL_COUNT)
        c[CTL_SCALE], c[CTL_CLIP], c[CTL_SUMSQ], c[CTL_BAD], c[CTL_LR + group] = scale, clip, (g * g).sum(), bad, lr
        c[CTL_BIAS1], c[CTL_BIAS2] = 1 - b1 ** t, 1 - b2 ** t
        return c

    def clipped(g, c):
        g, clip = g / c[CTL_SCALE], c[CTL_CLIP]
        return g * (clip / (c[CTL_SUMSQ].sqrt() / c[CTL_SCALE] + 1e-6)).clamp(max=1) if clip > 0 else g

    def adamw(x0, x1, y0, y1, y2):
        g, rate = clipped(x0, x1), x1[CTL_LR + group]
        m, v = b1 * y1 + (1 - b1) * g, b2 * y2 + (1 - b2) * g * g
        return y0 * (1 - rate * decay) - rate * (m / x1[CTL_BIAS1]) / ((v / x1[CTL_BIAS2]).sqrt() + eps), m, v

    def lion(x0, x1, y0, y1):
        g, rate = clipped(x0, x1), x1[CTL_LR + group]
        return y0 * (1 - rate * decay) - rate * torch.sign(b1 * y1 + (1 - b1) * g), b2 * y1 + (1 - b2) * g

    def sgd(x0, x1, y0, y1):
        m = b1 * y1 + clipped(x0, x1)
        return y0 * (1 - x1[CTL_LR + group] * decay) - x1[CTL_LR + group] * m, m

    def torch_agrees(make, formula, state, w, g, c, **extra):
        """The formula is what torch's own optimizer and clip_grad_norm_ do from the same state."""
        p = torch.nn.Parameter(w.clone())
        p.grad = g / scale
        if c[CTL_CLIP] > 0:
            torch.nn.utils.clip_grad_norm_([p], c[CTL_CLIP].item())
        optimizer = make([p])
        optimizer.state[p] = dict(state)
        optimizer.step()
        got = formula(x0=g, x1=c, y0=w, **extra)[0]
        assert (got - p.detach()).abs().max() < 1e-14, (got, p)

    attr = f"base={group} beta1={b1} beta2={b2} eps={eps} decay={decay}"
    w, m, v, g = rnd(count), rnd(count), rnd(count, lo=0.5), rnd(count)
    state = dict(step=torch.tensor(float(t - 1)), exp_avg=m.clone(), exp_avg_sq=v.clone())
    for name, clip in (("adamw", 0.0), ("adamw_clip", 0.5), ("adamw_no_clip", 64.0)):
        c = ctl(g, clip)
        torch_agrees(lambda p: torch.optim.AdamW(p, lr, (b1, b2), eps, decay), adamw, {k: s.clone() for k, s in state.items()}, w, g, c, y1=m, y2=v)
        emit("update", name, "update", adamw, f"kind=0 {attr}", "y0,y1,y2,x0,x1", x0=g, x1=c, y0=w, y1=m, y2=v)
    for name, clip in (("lion", 0.0), ("lion_clip", 0.5)):
        emit("update", name, "update", lion, f"kind=1 {attr}", "y0,y1,x0,x1", x0=g, x1=ctl(g, clip), y0=w, y1=m)
    for name, clip in (("sgd", 0.0), ("sgd_clip", 0.5)):
        c = ctl(g, clip)
        # torch's SGD adds decay w to the gradient; ours is decoupled, so the comparison leaves it out.
        torch_agrees(lambda p: torch.optim.SGD(p, lr, momentum=b1), lambda x0, x1, y0, y1: (sgd(x0, x1, y0, y1)[0] + y0 * lr * decay,),
                     dict(momentum_buffer=m.clone()), w, g, c, y1=m)
        emit("update", name, "update", sgd, f"kind=2 {attr}", "y0,y1,x0,x1", x0=g, x1=c, y0=w, y1=m)
    for kind, name in enumerate(("adamw", "lion", "sgd")):
        same = dict(y0=w, y1=m, **(dict(y2=v) if kind == 0 else {}))
        emit("update", f"{name}_bad", "update", lambda x0, x1, **y: tuple(y.values()), f"kind={kind} {attr}", "y0,y1,y2,x0,x1",
             x0=g, x1=ctl(g, 0.5, 1.0), **same)

    def sumsq(x0, y0):
        return torch.cat((y0[:CTL_SUMSQ], (y0[CTL_SUMSQ] + (x0 * x0).sum())[None], y0[CTL_BAD:]))
    emit("update", "sumsq", "sumsq", sumsq, "", "y0,x0", x0=g, y0=ctl(g, 0.5))


torch.backends.cuda.enable_flash_sdp(False)             # attention by its definition: the fused one has no second derivative
for make in (linear_vectors, conv_vectors, norm_vectors, attn_vectors, act_vectors, move_vectors, loss_vectors, update_vectors):
    make()
OUT.mkdir(parents=True, exist_ok=True)
for stem, (tensors, meta) in files.items():
    save(OUT / f"{stem}.safetensors", tensors, meta)
    print(f"{stem}: {len(meta)} vectors, {(OUT / f'{stem}.safetensors').stat().st_size} bytes")
