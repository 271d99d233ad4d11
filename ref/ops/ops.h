/* ops.h - the contract between the models and a kernel set.
 *
 * A model asks for operations; a set performs them. One record, Op, describes any call, so that whatever looks at calls - the tape, a dry run, a trace, a
 * comparison of two sets, a mutant, a canary - is one function over Op and not one shim an operation.
 *
 * A tensor is a view: element (n,h,w,c) lies at p + n*img + (h*W + w)*ld + c, counted in elements. Only c is contiguous, so q, k and v can be channel ranges
 * of one GEMM's output and a skip connection can be written straight into its slice of the later concatenation. Tokens are (n,1,t,c); p == NULL: absent.
 *
 * Letters: n images, h w rows and columns, c channels, t tokens, i inputs and o outputs of a linear or conv, r rank, g groups, d channels of a head.
 *
 * Sums are rounded once: a linear's or a conv's bias, per-image row, residual and low-rank segments are part of the op that carries them.
 * Nothing in run() allocates or waits: outputs, saved statistics and scratch (size from need()) are the caller's. Outputs never overlap inputs, except
 * where a constructor below says "may be". Whatever run() computes depends on its inputs alone: not on the number of threads, not on earlier calls. A value
 * that is not finite reaches the outputs that are computed from it: that is how a step finds out that it went wrong. */
#ifndef OPS_OPS_H
#define OPS_OPS_H
#include "base/type.h"

typedef struct {
    void  *p;
    Type   type;
    int    n, h, w, c;
    size_t ld, img;
} Tensor;

/* A weight and the set's own layout of it, made by pack(), or NULL: the set then reads t. conv: t is (o,kh,kw,i); linear: (o,1,1,i). A range of rows is a
 * weight. Frozen weights of linear, conv and their dx, and an embed's table and positions, may be of T_F16 or T_BF16 where act is wider: as they lie in the
 * file. A set widens them as it reads them, which is exact; so the result has the same bits as with that weight in act. Segments are of type act. */
typedef struct {
    Tensor t;
    void  *packed;
} Weight;

/* A low-rank segment of a linear or conv, added inside the same rounding: LoRA, LoCon, and their input gradients.
 *   in OP_LINEAR, OP_CONV        y[..., o0 : o0 + O] += scale * x w^T      x (n,ho,wo,r), w (O,1,1,r)
 *   in OP_LINEAR_DX              dx += scale * x w                         x (n,h,w,r),   w (r,1,1,i)
 *   in OP_CONV_DX                dx += scale * conv_dx(x, w)               x (n,ho,wo,r), w (r,kh,kw,i), geometry of the op itself */
typedef struct {
    Tensor x;
    Weight w;
    double scale;
    int    o0;
} Seg;
enum { MAX_SEG = 3 };

typedef enum {
    OP_LINEAR, OP_LINEAR_DX, OP_LINEAR_DW,
    OP_CONV, OP_CONV_DX, OP_CONV_DW,
    OP_SUM,
    OP_NORM, OP_NORM_DX, OP_NORM_DW,
    OP_ATTN, OP_ATTN_DX,
    OP_ACT, OP_ACT_DX, OP_GEGLU, OP_GEGLU_DX,
    OP_UP2, OP_UP2_DX,
    OP_EMBED, OP_EMBED_DW,
    OP_COPY, OP_ADD, OP_MUL,
    OP_DROPOUT,
    OP_LOSS,
    OP_SUMSQ, OP_UPDATE, OP_FILL,
    OP_COUNT
} OpKind;

typedef enum { ACT_SILU, ACT_GELU, ACT_QUICK_GELU } Act;
typedef enum { LOSS_L2, LOSS_L1, LOSS_HUBER, LOSS_SMOOTH_L1 } Loss;
typedef enum { UPDATE_ADAMW, UPDATE_LION, UPDATE_SGD } Update;

/* The numbers that steer an update, in a tensor (1,1,1,CTL_COUNT) of type acc: the step need not wait for the host. */
enum {
    CTL_SCALE,                                          /* loss scale: gradients in the parameter block are this times the true ones; 1 without f16 */
    CTL_CLIP,                                           /* largest L2 norm of all gradients together; 0: no clipping */
    CTL_SUMSQ,                                          /* sum of squares of the (scaled) gradients, from OP_SUMSQ */
    CTL_BAD,                                            /* not 0: a gradient is not finite, OP_UPDATE does nothing */
    CTL_BIAS1, CTL_BIAS2,                               /* 1 - beta1^step, 1 - beta2^step, step from 1 */
    CTL_LR,                                             /* learning rate of group g at CTL_LR + g */
    CTL_COUNT = CTL_LR + 10
};

typedef struct {
    int      kernel, stride, pad[4];                    /* conv: square kernel; zero padding top, bottom, left, right */
    int      groups, silu;                              /* norm: groups 0 is a layer norm; SiLU after it */
    int      heads, causal;                             /* attn */
    int      kind;                                      /* Act, Loss or Update */
    int      each;                                      /* OP_SUM, OP_DROPOUT: a result, a mask for each image (1) or for all together (0) */
    int      base;                                      /* OP_EMBED_DW: id of the first trainable row.  OP_UPDATE: group, the index after CTL_LR */
    double   scale;                                     /* factor of the main product, attention scale, share of a loss, value of a fill */
    double   eps, p;                                    /* p: dropout probability */
    double   beta1, beta2, decay;                       /* OP_UPDATE */
    uint64_t key;                                       /* OP_DROPOUT: what the mask is a function of, beside the element's place */
} Attr;

/* Whose work a call is, for traces and for messages: "UNet", "down_blocks.0.resnets.0.conv1", "LoRA"; any may be NULL. No set computes with it. */
typedef struct {
    const char *part, *module, *detail;
} OpPlace;

/* Fields by role; which are used, and their shapes, stands at each constructor below and is checked in one place (shape.c) for every set. */
typedef struct {
    OpKind kind;
    int    acc;                                         /* overwrite y (0) or add to it (1); only where the constructor has the argument */
    Tensor y[4], x[6];                                  /* outputs; inputs, saved tensors included */
    Weight w;
    Tensor bias, row, res;                              /* (1,1,1,o), (n,1,1,o), shape of y */
    Seg    seg[MAX_SEG];                                /* unused: x.p == NULL */
    void  *scratch;                                     /* need() bytes, 64-byte aligned */
    Attr   a;
    OpPlace place;
} Op;

enum { OP_TENSORS = 4 + 6 + 4 + 2 * MAX_SEG };

typedef struct Set Set;
struct Set {
    const char *name;                                   /* "ref", "ref64", ... */
    Type        act, acc;                               /* activations, biases; parameters, moments, loss, statistics */
    const char *error;                                  /* first failure since the last sync, or NULL */
    int    (*run)(Set *, const Op *);                   /* 0, or -1 and err(): an Op that op_check refuses */
    size_t (*need)(const Set *, const Op *);            /* bytes of scratch: a pure function of shapes, in plain C, there even when the set is not built */
    size_t (*pack)(Set *, Weight *, void *dst);         /* dst NULL: bytes wanted (0: none). After load, merge and, where trainable, update */
    void  *(*alloc)(Set *, size_t bytes);               /* zeroed, 64-byte aligned; without `room` pages not yet touched cost nothing. NULL and err() */
    void   (*release)(Set *, void *p, size_t bytes);
    int    (*upload)(Set *, Tensor dst, Tensor host);   /* same shape, types and strides may differ; each element rounded once */
    int    (*download)(Set *, Tensor host, Tensor src);
    int    (*sync)(Set *);                              /* 0, or -1 and err(): the latched error */
    int    chain;                                       /* terms of a sum that are added one after another, at most, before blocks are; 0: all */
    int    (*transform)(const Set *, const Op *);       /* conv, conv_dx: m where the product is Winograd's F(m x m, 3x3), 0: plain; NULL: always plain */
    size_t (*room)(const Set *);                        /* what alloc can still give, of memory where every byte costs; NULL: it is the host's */
};

Set        *set_open(const char *name);                 /* NULL and err(): no such set, with the names there are. Sets are never closed. */
Set        *set_open_on(const char *name, int device);  /* the same on that one of several devices, from 0: `sdlora devices` lists them */
const Set  *set_describe(const char *name);             /* types and scratch of a set, be it built in, be its device there, or not: for set_null alone */
Set        *set_null(const Set *like);                  /* computes nothing; types, checks and scratch of `like`: for planning. free() it. NULL and err() */
const char *op_name(OpKind kind);                       /* "linear", "linear_dx", ... */
Tensor     *op_tensor(Op *op, int k);                   /* the k-th of OP_TENSORS, used or not: y[0..3], x[0..5], w, bias, row, res, x of segs, w of segs */
double      set_loss_scale(const Set *set);             /* CTL_SCALE to begin a training with: 2^16 where act cannot hold what acc can, else 1 */
int         op_check(const Set *set, const Op *op);     /* shape.c: 0, or -1 and err(): op, field, shapes; types against the set too */
Type        op_weight_type(const Set *set, Type stored);        /* in which a frozen weight that a file has as `stored` is kept: that, or act */

/* ---- tensors ---- */

static inline Tensor tensor_of(void *p, Type type, int n, int h, int w, int c)
{
    Tensor t = { p, type, n, h, w, c, (size_t)c, (size_t)h * (size_t)w * (size_t)c };
    return t;
}
static inline size_t tensor_count(Tensor t) { return (size_t)t.n * (size_t)t.h * (size_t)t.w * (size_t)t.c; }
static inline void  *tensor_at(Tensor t, size_t i) { return t.p ? (char *)t.p + i * type_size(t.type) : NULL; }

/* Channels [c0, c0 + c) of t; images [n0, n0 + n) of t. */
static inline Tensor tensor_channels(Tensor t, int c0, int c) { t.p = tensor_at(t, (size_t)c0), t.c = c; return t; }
static inline Tensor tensor_images(Tensor t, int n0, int n) { t.p = tensor_at(t, (size_t)n0 * t.img), t.n = n; return t; }

/* (n,h,w,c) as tokens (n,1,h*w,c): the same memory. */
static inline Tensor tensor_tokens(Tensor t) { t.w *= t.h, t.h = 1; return t; }

/* Are all rows one ld apart, images included? Then the tensor is one matrix (n*h*w, c). */
static inline int tensor_is_matrix(Tensor t) { return t.n == 1 || t.img == (size_t)t.h * (size_t)t.w * t.ld; }

#ifndef __cplusplus                                     /* C++ code reads Ops and makes none */
/* ---- constructors: outputs first; each states the formula and its shapes ----
 * Gradients carry a d: dx is the gradient of the loss with respect to x, of the shape of x. Unless said otherwise tensors are of type act. */

#define NONE ((Tensor){ 0 })

/* y (n,h,w,o) = a.scale * x (n,h,w,i) w^T + bias + row + res + segs. bias, row, res may be NONE; res may be y itself. */
static inline Op op_linear(Tensor y, Tensor x, Weight w, Tensor bias, Tensor row, Tensor res)
{
    return (Op){ .kind = OP_LINEAR, .y = { y }, .x = { x }, .w = w, .bias = bias, .row = row, .res = res, .a = { .scale = 1 } };
}

/* dx (n,h,w,i) (+)= scale * dy (n,h,w,o) w + segs. dx of type act or acc: text states get many gradients. */
static inline Op op_linear_dx(Tensor dx, Tensor dy, Weight w, double scale, int acc)
{
    return (Op){ .kind = OP_LINEAR_DX, .acc = acc, .y = { dx }, .x = { dy }, .w = w, .a = { .scale = scale } };
}

/* dw (o,1,1,i), type acc (+)= scale * dy^T x, summed over n, h, w. */
static inline Op op_linear_dw(Tensor dw, Tensor dy, Tensor x, double scale, int acc)
{
    return (Op){ .kind = OP_LINEAR_DW, .acc = acc, .y = { dw }, .x = { dy, x }, .a = { .scale = scale } };
}

/* y (n,ho,wo,o) = conv(x (n,h,w,i), w (o,k,k,i)) + bias + row + res + segs, ho = (h + pad[0] + pad[1] - k) / stride + 1, wo alike.
 * Cross-correlation, as every framework means it. `geometry` gives kernel, stride and pad. */
static inline Op op_conv(Tensor y, Tensor x, Weight w, Tensor bias, Tensor row, Tensor res, Attr geometry)
{
    geometry.scale = 1;
    return (Op){ .kind = OP_CONV, .y = { y }, .x = { x }, .w = w, .bias = bias, .row = row, .res = res, .a = geometry };
}
static inline Op op_conv_dx(Tensor dx, Tensor dy, Weight w, Attr geometry, double scale, int acc)
{
    geometry.scale = scale;
    return (Op){ .kind = OP_CONV_DX, .acc = acc, .y = { dx }, .x = { dy }, .w = w, .a = geometry };
}
static inline Op op_conv_dw(Tensor dw, Tensor dy, Tensor x, Attr geometry, double scale, int acc)
{
    geometry.scale = scale;
    return (Op){ .kind = OP_CONV_DW, .acc = acc, .y = { dw }, .x = { dy, x }, .a = geometry };
}

/* y (+)= sum of x (n,h,w,c) over n, h, w -> (1,1,1,c), or, each, over h, w -> (n,1,1,c). y of type act or acc. */
static inline Op op_sum(Tensor y, Tensor x, int each, int acc) { return (Op){ .kind = OP_SUM, .acc = acc, .y = { y }, .x = { x }, .a = { .each = each } }; }

/* y = f(gamma (x - mean) rstd + beta), rstd = 1 / sqrt(var + eps), var the biased variance, f = SiLU or nothing. gamma, beta (1,1,1,c).
 * Group norm (Wu & He 2018): statistics over h, w and c/g channels; mean, rstd (n,1,1,g), type acc.
 * Layer norm (Ba et al. 2016), groups 0: over the channels of each row; mean, rstd (n,h,w,1). */
static inline Op op_norm(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor gamma, Tensor beta, int groups, int silu, double eps)
{
    return (Op){ .kind = OP_NORM, .y = { y, mean, rstd }, .x = { x, gamma, beta }, .a = { .groups = groups, .silu = silu, .eps = eps } };
}
/* dy of type act or acc: where text states end. */
static inline Op op_norm_dx(Tensor dx, Tensor dy, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor rstd, int groups, int silu, int acc)
{
    return (Op){ .kind = OP_NORM_DX, .acc = acc, .y = { dx }, .x = { dy, x, gamma, beta, mean, rstd }, .a = { .groups = groups, .silu = silu } };
}
/* dgamma, dbeta (1,1,1,c), type acc. */
static inline Op op_norm_dw(Tensor dgamma, Tensor dbeta, Tensor dy, Tensor x, Tensor gamma, Tensor beta, Tensor mean, Tensor rstd, int groups, int silu,
                            int acc)
{
    return (Op){ .kind = OP_NORM_DW, .acc = acc, .y = { dgamma, dbeta }, .x = { dy, x, gamma, beta, mean, rstd }, .a = { .groups = groups, .silu = silu } };
}

/* y (n,1,tq,heads*d) = softmax(scale q k^T) v, a head at a time; lse (n,1,tq,heads), type acc, its log-sum-exp (Dao et al. 2022: the tq x tk matrix is
 * never stored). q (n,1,tq,heads*d); k, v (n,1,tk,heads*d). causal: row i sees columns 0..i, tq == tk. */
static inline Op op_attn(Tensor y, Tensor lse, Tensor q, Tensor k, Tensor v, int heads, int causal, double scale)
{
    return (Op){ .kind = OP_ATTN, .y = { y, lse }, .x = { q, k, v }, .a = { .heads = heads, .causal = causal, .scale = scale } };
}
static inline Op op_attn_dx(Tensor dq, Tensor dk, Tensor dv, Tensor dy, Tensor q, Tensor k, Tensor v, Tensor y, Tensor lse, int heads, int causal, double scale)
{
    return (Op){ .kind = OP_ATTN_DX, .y = { dq, dk, dv }, .x = { dy, q, k, v, y, lse }, .a = { .heads = heads, .causal = causal, .scale = scale } };
}

/* y = f(x): SiLU x s(x), exact GELU x (1 + erf(x/sqrt 2))/2, quick GELU x s(1.702 x), s the logistic function. y may be x. */
static inline Op op_act(Tensor y, Tensor x, Act kind) { return (Op){ .kind = OP_ACT, .y = { y }, .x = { x }, .a = { .kind = (int)kind } }; }
static inline Op op_act_dx(Tensor dx, Tensor dy, Tensor x, Act kind, int acc)
{
    return (Op){ .kind = OP_ACT_DX, .acc = acc, .y = { dx }, .x = { dy, x }, .a = { .kind = (int)kind } };
}

/* y (n,h,w,c) = x[..., 0:c] * gelu(x[..., c:2c]), x (n,h,w,2c), exact GELU (Shazeer 2020). */
static inline Op op_geglu(Tensor y, Tensor x) { return (Op){ .kind = OP_GEGLU, .y = { y }, .x = { x } }; }
static inline Op op_geglu_dx(Tensor dx, Tensor dy, Tensor x, int acc) { return (Op){ .kind = OP_GEGLU_DX, .acc = acc, .y = { dx }, .x = { dy, x } }; }

/* y (n,2h,2w,c): each element of x (n,h,w,c) four times; dx: the sum of the four. */
static inline Op op_up2(Tensor y, Tensor x) { return (Op){ .kind = OP_UP2, .y = { y }, .x = { x } }; }
static inline Op op_up2_dx(Tensor dx, Tensor dy, int acc) { return (Op){ .kind = OP_UP2_DX, .acc = acc, .y = { dx }, .x = { dy } }; }

/* y (n,1,t,c) = table[id] + position. ids (n,1,t,1) of T_I32; table (v,1,1,c); ids v.. index `extra` (e,1,1,c), type acc, the learned words of textual
 * inversion, or NONE; position (1,1,t,c) or NONE. table, position: narrow or not. run refuses an id outside. */
static inline Op op_embed(Tensor y, Tensor ids, Tensor table, Tensor extra, Tensor position)
{
    return (Op){ .kind = OP_EMBED, .y = { y }, .x = { ids, table, extra, position } };
}
/* dextra (e,1,1,c), type acc (+)= the rows of dy whose id is base + j, summed in order of n, t. */
static inline Op op_embed_dw(Tensor dextra, Tensor dy, Tensor ids, int base, int acc)
{
    return (Op){ .kind = OP_EMBED_DW, .acc = acc, .y = { dextra }, .x = { dy, ids }, .a = { .base = base } };
}

/* y (+)= scale * x. Types act or acc, each. */
static inline Op op_copy(Tensor y, Tensor x, double scale, int acc)
{
    return (Op){ .kind = OP_COPY, .acc = acc, .y = { y }, .x = { x }, .a = { .scale = scale } };
}

/* y = a + b, y = a * b. a has the shape of y; every dimension of b is y's or 1 (broadcast): a row, an image, a weight a token. y may be a. */
static inline Op op_add(Tensor y, Tensor a, Tensor b) { return (Op){ .kind = OP_ADD, .y = { y }, .x = { a, b } }; }
static inline Op op_mul(Tensor y, Tensor a, Tensor b) { return (Op){ .kind = OP_MUL, .y = { y }, .x = { a, b } }; }

/* y = x / (1-p) where the element is kept, else 0 (Srivastava et al. 2014). Element (n,h,w,c) is kept where u(key, i) >= p, with i its index in a contiguous
 * (n,h,w,c), or, each, n*C + c; u = (word 0 of philox4x32-10(counter {lo(i), hi(i), 0, 0}, key {lo, hi}) >> 8) * 2^-24. Backward: the same op on dy.
 * y may be x. */
static inline Op op_dropout(Tensor y, Tensor x, double p, int each, uint64_t key)
{
    return (Op){ .kind = OP_DROPOUT, .y = { y }, .x = { x }, .a = { .p = p, .each = each, .key = key } };
}

/* With d = pred - target, over the N = h*w*c elements of image n:
 *   loss[n] = weight[n]/N sum of mask f(d)        dpred = share * ctl[CTL_SCALE] * weight[n]/N mask f'(d)
 *   f: l2 d^2;  l1 |d|, slope 0 at 0;  huber 2c (sqrt(d^2 + c^2) - c);  smooth l1 2 (sqrt(d^2 + c^2) - c)
 * loss, weight, c (n,1,1,1) of type acc; target (n,h,w,c) of type acc; mask (n,h,w,1) of type acc or NONE; c NONE for l2, l1. */
static inline Op op_loss(Tensor loss, Tensor dpred, Tensor pred, Tensor target, Tensor weight, Tensor c, Tensor mask, Tensor ctl, Loss kind, double share)
{
    return (Op){ .kind = OP_LOSS, .y = { loss, dpred }, .x = { pred, target, weight, c, mask, ctl }, .a = { .kind = (int)kind, .scale = share } };
}

/* ctl[CTL_SUMSQ] += sum of g^2; ctl[CTL_BAD] = 1 if an element of g is not finite. g (1,1,1,count), type acc. */
static inline Op op_sumsq(Tensor ctl, Tensor g) { return (Op){ .kind = OP_SUMSQ, .y = { ctl }, .x = { g } }; }

/* One optimizer step over a range of the parameter block, in place; nothing when ctl[CTL_BAD]. w, m, v, g (1,1,1,count), type acc; work: the copy of w that
 * ops read, type act, NONE where act == acc. With lr = ctl[CTL_LR + group], s = CTL_SCALE, norm = sqrt(CTL_SUMSQ)/s:
 *   g' = g/s * min(1, clip / (norm + 1e-6));   w' = w (1 - lr decay)                            (clip 0: g' = g/s; 1e-6 as torch's clip_grad_norm_)
 *   AdamW (Loshchilov & Hutter 2019)  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2;  w = w' - lr (m/BIAS1) / (sqrt(v/BIAS2) + eps)
 *   Lion  (Chen et al. 2023)          w = w' - lr sign(b1 m + (1-b1) g');  m = b2 m + (1-b2) g';  v NONE
 *   SGD                               m = b1 m + g';  w = w' - lr m;  v NONE */
static inline Op op_update(Tensor w, Tensor m, Tensor v, Tensor work, Tensor g, Tensor ctl, Update kind, int group, double beta1, double beta2, double eps,
                           double decay)
{
    return (Op){ .kind = OP_UPDATE, .y = { w, m, v, work }, .x = { g, ctl },
                 .a = { .kind = (int)kind, .base = group, .beta1 = beta1, .beta2 = beta2, .eps = eps, .decay = decay } };
}

/* y = value. */
static inline Op op_fill(Tensor y, double value) { return (Op){ .kind = OP_FILL, .y = { y }, .a = { .scale = value } }; }
#endif
#endif
