/* Activations and dropout: bound by memory, 8 channels at a time where rows allow it.
 *
 * Each kind of activation is y = x s(x), and dy/dx = s + x s' (ref/ops/act.c has the derivation). */
#include "dev.h"

DEVICE float normal(float x) { return 0.5f * erfcf(-0.70710678f * x); }                 /* the distribution, exact in its tail as well */
DEVICE float density(float x) { return 0.39894228f * expf(-0.5f * x * x); }

struct Share {
    float s, slope;                                     /* s(x) and s'(x) */
};
template <int KIND> DEVICE Share share_of(float x)
{
    if (KIND == ACT_GELU) return { normal(x), density(x) };
    const float a = KIND == ACT_SILU ? 1 : 1.702f, s = logistic(a * x);
    return { s, a * s * (1 - s) };
}

/* ---- y = f(x), dx (+)= dy f'(x) ---- */

template <int V, int KIND> KERNEL act_kernel(Tensor y, Tensor x)
{
    const unsigned groups = (unsigned)y.c / V;
    FOR_EACH (i, row_count(y) * groups) {
        const unsigned row = i / groups, c = i % groups * V;
        Floats<V>      v = load<V>(row_at<const half>(x, row) + c);
#pragma unroll
        for (int j = 0; j < V; j++) v.v[j] *= share_of<KIND>(v.v[j]).s;
        store<V>(row_at<half>(y, row) + c, v);
    }
}

template <int V, int KIND> KERNEL act_dx_kernel(Tensor dx, Tensor dy, Tensor x, int acc)
{
    const unsigned groups = (unsigned)dx.c / V;
    FOR_EACH (i, row_count(dx) * groups) {
        const unsigned row = i / groups, c = i % groups * V;
        half          *to = row_at<half>(dx, row) + c;
        Floats<V>      v = load<V>(row_at<const half>(x, row) + c), g = load<V>(row_at<const half>(dy, row) + c), old = acc ? load<V>(to) : Floats<V>();
#pragma unroll
        for (int j = 0; j < V; j++) {
            const Share share = share_of<KIND>(v.v[j]);
            g.v[j] *= share.s + v.v[j] * share.slope;
            if (acc) g.v[j] += old.v[j];
        }
        store<V>(to, g);
    }
}

template <int V, int KIND> static void launch_act(Tensor y, Tensor x, cudaStream_t stream)
{
    LAUNCH((act_kernel<V, KIND>), blocks_for(row_count(y) * ((unsigned)y.c / V)), THREADS, 0, stream, y, x);
}
template <int KIND> static int act_as(const Op *op, cudaStream_t stream)
{
    const bool   dense = is_dense(op->y[0]) && is_dense(op->x[0]);
    const Tensor y = dense ? as_row(op->y[0]) : op->y[0], x = dense ? as_row(op->x[0]) : op->x[0];
    if (is_wide<8>(y) && is_wide<8>(x)) launch_act<8, KIND>(y, x, stream);
    else launch_act<1, KIND>(y, x, stream);
    return 0;
}

template <int V, int KIND> static void launch_act_dx(Tensor dx, Tensor dy, Tensor x, int acc, cudaStream_t stream)
{
    LAUNCH((act_dx_kernel<V, KIND>), blocks_for(row_count(dx) * ((unsigned)dx.c / V)), THREADS, 0, stream, dx, dy, x, acc);
}
template <int KIND> static int act_dx_as(const Op *op, cudaStream_t stream)
{
    const bool   dense = is_dense(op->y[0]) && is_dense(op->x[0]) && is_dense(op->x[1]);
    const Tensor dx = dense ? as_row(op->y[0]) : op->y[0], dy = dense ? as_row(op->x[0]) : op->x[0], x = dense ? as_row(op->x[1]) : op->x[1];
    if (is_wide<8>(dx) && is_wide<8>(dy) && is_wide<8>(x)) launch_act_dx<8, KIND>(dx, dy, x, op->acc, stream);
    else launch_act_dx<1, KIND>(dx, dy, x, op->acc, stream);
    return 0;
}

RUN(act)
{
    switch (op->a.kind) {
    case ACT_SILU: return act_as<ACT_SILU>(op, stream);
    case ACT_GELU: return act_as<ACT_GELU>(op, stream);
    default: return act_as<ACT_QUICK_GELU>(op, stream);
    }
}

RUN(act_dx)
{
    switch (op->a.kind) {
    case ACT_SILU: return act_dx_as<ACT_SILU>(op, stream);
    case ACT_GELU: return act_dx_as<ACT_GELU>(op, stream);
    default: return act_dx_as<ACT_QUICK_GELU>(op, stream);
    }
}

/* ---- y = a gelu(b), x = (a, b) along the channels: da = dy gelu(b), db = dy a gelu'(b) ---- */

template <int V> KERNEL geglu_kernel(Tensor y, Tensor x)
{
    const unsigned groups = (unsigned)y.c / V;
    FOR_EACH (i, row_count(y) * groups) {
        const unsigned row = i / groups, c = i % groups * V;
        const half    *from = row_at<const half>(x, row) + c;
        Floats<V>      a = load<V>(from), b = load<V>(from + y.c);
#pragma unroll
        for (int j = 0; j < V; j++) a.v[j] *= b.v[j] * normal(b.v[j]);
        store<V>(row_at<half>(y, row) + c, a);
    }
}

RUN(geglu)
{
    const Tensor   y = op->y[0], x = op->x[0];
    const unsigned rows = row_count(y), c = (unsigned)y.c;
    if (is_wide<8>(y) && is_wide<8>(x)) LAUNCH((geglu_kernel<8>), blocks_for(rows * (c / 8)), THREADS, 0, stream, y, x);
    else LAUNCH((geglu_kernel<1>), blocks_for(rows * c), THREADS, 0, stream, y, x);
    return 0;
}

template <int V> KERNEL geglu_dx_kernel(Tensor dx, Tensor dy, Tensor x, int acc)
{
    const unsigned groups = (unsigned)dy.c / V;
    FOR_EACH (i, row_count(dy) * groups) {
        const unsigned  row = i / groups, c = i % groups * V;
        const half     *from = row_at<const half>(x, row) + c;
        half           *to = row_at<half>(dx, row) + c;
        const Floats<V> a = load<V>(from), b = load<V>(from + dy.c), g = load<V>(row_at<const half>(dy, row) + c);
        Floats<V>       da = acc ? load<V>(to) : Floats<V>(), db = acc ? load<V>(to + dy.c) : Floats<V>();
#pragma unroll
        for (int j = 0; j < V; j++) {
            const float s = normal(b.v[j]), da_j = g.v[j] * b.v[j] * s, db_j = g.v[j] * a.v[j] * (s + b.v[j] * density(b.v[j]));
            da.v[j] = acc ? da.v[j] + da_j : da_j;
            db.v[j] = acc ? db.v[j] + db_j : db_j;
        }
        store<V>(to, da);
        store<V>(to + dy.c, db);
    }
}

RUN(geglu_dx)
{
    const Tensor   dx = op->y[0], dy = op->x[0], x = op->x[1];
    const unsigned rows = row_count(dy), c = (unsigned)dy.c;
    if (is_wide<8>(dx) && is_wide<8>(dy) && is_wide<8>(x)) LAUNCH((geglu_dx_kernel<8>), blocks_for(rows * (c / 8)), THREADS, 0, stream, dx, dy, x, op->acc);
    else LAUNCH((geglu_dx_kernel<1>), blocks_for(rows * c), THREADS, 0, stream, dx, dy, x, op->acc);
    return 0;
}

/* ---- y = x / (1-p) where the element is kept. The mask is a function of the element's place: no set draws another ---- */

/* Word 0 of philox4x32-10 (Salmon et al. 2011) at counter {low, high, 0, 0}. */
DEVICE unsigned philox(unsigned low, unsigned high, uint64_t key)
{
    unsigned c[4] = { low, high, 0, 0 }, k[2] = { (unsigned)key, (unsigned)(key >> 32) };
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned h0 = __umulhi(0xD2511F53u, c[0]), l0 = 0xD2511F53u * c[0], h1 = __umulhi(0xCD9E8D57u, c[2]), l1 = 0xCD9E8D57u * c[2];
        c[0] = h1 ^ c[1] ^ k[0], c[1] = l1, c[2] = h0 ^ c[3] ^ k[1], c[3] = l0;
        k[0] += 0x9E3779B9u, k[1] += 0xBB67AE85u;
    }
    return c[0];
}

/* least: of the 24 bits of a random number, for the element to be kept. */
KERNEL dropout_kernel(Tensor y, Tensor x, unsigned least, double kept, int each, uint64_t key)
{
    const unsigned c = (unsigned)x.c, area = (unsigned)x.h * (unsigned)x.w;
    FOR_EACH (i, row_count(x) * c) {
        const unsigned row = i / c, j = i - row * c;
        const size_t   place = each ? (size_t)(row / area) * c + j : i;
        const float    from = to_float(row_at<const half>(x, row)[j]);
        const bool     keep = philox((unsigned)place, (unsigned)(place >> 32), key) >> 8 >= least;
        round_to(row_at<half>(y, row)[j], keep ? (float)((double)from / kept) : 0);
    }
}

RUN(dropout)
{
    const Tensor x = op->x[0];
    LAUNCH(dropout_kernel, blocks_for(row_count(x) * (unsigned)x.c), THREADS, 0, stream, op->y[0], x, (unsigned)ceil(op->a.p * 0x1p24), 1 - op->a.p, op->a.each,
           op->a.key);
    return 0;
}
