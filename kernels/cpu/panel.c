#include "panel.h"
#include "vec.h"

int NAME(next_block)(Block *b)
{
    const Term *t = b->term;
    int         taps = t->down.count * t->across.count, parts = (t->x.c + b->most - 1) / b->most, each = (t->x.c + parts - 1) / parts;
    b->k0 += b->k;
    if (b->k0 == t->x.c) b->k0 = 0, b->tap += b->spans;
    b->k = smaller(each, t->x.c - b->k0);
    b->spans = parts > 1 ? 1 : smaller(smaller(b->most / each, SPANS), taps - b->tap);
    return b->tap < taps;
}

static size_t weights_of_tap(const Term *t, int tap)
{
    int u = t->down.w_first + tap / t->across.count * t->down.w_next, v = t->across.w_first + tap % t->across.count * t->across.w_next;
    return ((size_t)u * (size_t)t->w.w + (size_t)v) * t->w.ld;
}

/* n floats of w from element i on. */
INLINE V load_as(Type type, const void *w, size_t i, int n)
{
    uint16_t        part[W] = { 0 };
    const uint16_t *half = (const uint16_t *)w + i;
    if (type == T_F32) return take((const float *)w + i, n);
    if (n < W) half = memcpy(part, half, (size_t)n * sizeof *half);
    return type == T_F16 ? load_f16(half) : load_bf16(half);
}

/* to (k, W) = w (k, n columns); the columns behind n are 0. */
INLINE void panel_rows(float *to, Type type, const Term *t, size_t at, int k, int n)
{
    for (int l = 0; l < k; l++, at += t->w.img) store(to + (size_t)l * NR, load_as(type, t->w.p, at, n) * t->scale);
}

/* The same of w (n rows, k), W by W at a time. */
INLINE void panel_columns(float *to, Type type, const Term *t, size_t at, int k, int n)
{
    for (int l = 0; l < k; l += W) {
        V   r[W];
        int wide = smaller(W, k - l);
        if (wide == W)
            UNROLL for (int j = 0; j < W; j++) r[j] = j < n ? load_as(type, t->w.p, at + (size_t)j * t->w.img + (size_t)l, W) : (V){ 0 };
        else
            UNROLL for (int j = 0; j < W; j++) r[j] = j < n ? load_as(type, t->w.p, at + (size_t)j * t->w.img + (size_t)l, wide) : (V){ 0 };
        transpose(r);
        UNROLL for (int j = 0; j < W; j++)
            if (j < wide) store(to + (size_t)(l + j) * NR, r[j] * t->scale);
    }
}

INLINE void make_panel_as(float *to, Type type, const Block *b, int c, int count)
{
    const Term *t = b->term;
    for (int s = 0; s < b->spans; s++)
        for (int v = 0; v < NV && v * W < count; v++) {
            size_t at = weights_of_tap(t, b->tap + s), k0 = (size_t)b->k0, c0 = (size_t)(c + v * W);
            float *part = to + (size_t)s * (size_t)b->k * NR + (size_t)(v * W);
            if (t->transposed) panel_columns(part, type, t, at + c0 * t->w.img + k0, b->k, smaller(W, count - v * W));
            else panel_rows(part, type, t, at + k0 * t->w.img + c0, b->k, smaller(W, count - v * W));
        }
}

void NAME(make_panel)(float *to, const Block *b, int c, int count)
{
    switch (b->term->w.type) {
    case T_F16: make_panel_as(to, T_F16, b, c, count); break;
    case T_BF16: make_panel_as(to, T_BF16, b, c, count); break;
    default: make_panel_as(to, T_F32, b, c, count);
    }
}
