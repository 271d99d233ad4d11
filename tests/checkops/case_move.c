/* case_move.c - what copies, spreads and gathers. A result that is a copy is exact: e = 0, equal to the bit. */
#include "check.h"

typedef struct {
    int n, h, w, c;
} Shape;

static Shape draw_shape(Case *c)
{
    c->left /= 64;
    Shape s = { .c = dim(c, 1280) };
    s.w = dim(c, 257), s.h = dim(c, 64), s.n = dim(c, 4);
    return s;
}

void case_sum(Case *c)
{
    Shape k = draw_shape(c);
    int each = below(c, 2), acc = below(c, 2);
    Tensor x = in(c, ACT, k.n, k.h, k.w, k.c);
    c->op = op_sum(out_acc(c, acc, below(c, 2) ? ACT : ACC, each ? k.n : 1, 1, 1, k.c), x, each, acc);
    Sum *s = sums(c, c->op.y[0]);
    for (int n = 0; n < k.n; n++)
        for (int h = 0; h < k.h; h++)
            for (int w = 0; w < k.w; w++)
                for (int j = 0; j < k.c; j++) sum_mul(&s[(each ? n : 0) * k.c + j], at(x, place_of(x, n, h, w, j)), 1);
    want_sums(c, 0, s);
}

void case_up2(Case *c)
{
    Shape k = draw_shape(c);
    Tensor x = in(c, ACT, k.n, k.h, k.w, k.c);
    c->op = op_up2(out(c, ACT, k.n, 2 * k.h, 2 * k.w, k.c), x);
    Num *y = want(c, 0);
    for (int n = 0; n < k.n; n++)
        for (int h = 0; h < 2 * k.h; h++)
            for (int w = 0; w < 2 * k.w; w++)
                for (int j = 0; j < k.c; j++) y[place_of(c->op.y[0], n, h, w, j)] = num(at(x, place_of(x, n, h / 2, w / 2, j)));
}

void case_up2_dx(Case *c)
{
    Shape k = draw_shape(c);
    int acc = below(c, 2);
    Tensor dy = in(c, ACT, k.n, 2 * k.h, 2 * k.w, k.c);
    c->op = op_up2_dx(out_acc(c, acc, ACT, k.n, k.h, k.w, k.c), dy, acc);
    Sum *s = sums(c, c->op.y[0]);
    for (int n = 0; n < k.n; n++)
        for (int h = 0; h < 2 * k.h; h++)
            for (int w = 0; w < 2 * k.w; w++)
                for (int j = 0; j < k.c; j++) sum_mul(&s[place_of(c->op.y[0], n, h / 2, w / 2, j)], at(dy, place_of(dy, n, h, w, j)), 1);
    want_sums(c, 0, s);
}

void case_embed(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 768), t = dim(c, 77), n = dim(c, 4), v = 1 + below(c, 50), e = below(c, 2) ? 1 + below(c, 4) : 0;
    Tensor ids = ids_below(c, n, t, v + e), table = in(c, ACT, v, 1, 1, channels), extra = e ? in(c, ACC, e, 1, 1, channels) : NONE;
    Tensor position = maybe(c, in(c, ACT, 1, 1, t, channels));
    c->op = op_embed(out(c, ACT, n, 1, t, channels), ids, table, extra, position);
    Num *y = want(c, 0);
    for (size_t row = 0; row < tensor_count(ids); row++)
        for (size_t j = 0; j < (size_t)channels; j++) {
            int id = (int)at(ids, row);
            Num a = num(id < v ? values_at(table, id, 0, 0)[j] : values_at(extra, id - v, 0, 0)[j]);
            y[row * (size_t)channels + j] = position.p ? num_add(a, num(at(position, row % (size_t)t * (size_t)channels + j))) : a;
        }
}

void case_embed_dw(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 768), t = dim(c, 77), n = dim(c, 4), base = below(c, 20), e = 1 + below(c, 4), acc = below(c, 2);
    Tensor ids = ids_below(c, n, t, base + e + below(c, 3)), dy = in(c, ACT, n, 1, t, channels);
    c->op = op_embed_dw(out_acc(c, acc, ACC, e, 1, 1, channels), dy, ids, base, acc);
    Sum *s = sums(c, c->op.y[0]);
    for (size_t row = 0; row < tensor_count(ids); row++) {
        int j = (int)at(ids, row) - base;
        for (int k = 0; j >= 0 && j < e && k < channels; k++) sum_mul(&s[j * channels + k], at(dy, row * (size_t)channels + (size_t)k), 1);
    }
    want_sums(c, 0, s);
}

void case_copy(Case *c)
{
    Shape k = draw_shape(c);
    int acc = below(c, 2);
    Tensor x = in(c, below(c, 2) ? ACT : ACC, k.n, k.h, k.w, k.c);
    c->op = op_copy(out_acc(c, acc, below(c, 2) ? ACT : ACC, k.n, k.h, k.w, k.c), x, scale_of(c), acc);
    Num *y = want(c, 0), scale = num_rounded(c->op.a.scale);
    for (size_t j = 0; j < tensor_count(x); j++) y[j] = accumulate(c, 0, j, scale.v == 1 ? num(at(x, j)) : num_mul(scale, num(at(x, j))));
}

/* y = f(a, b), b of any shape that broadcasts to y's. */
static void binary(Case *c, Op (*op)(Tensor, Tensor, Tensor), Num (*f)(Num, Num))
{
    Shape k = draw_shape(c);
    int kept = below(c, 3) ? below(c, 16) : 15;
    Tensor a = in(c, ACT, k.n, k.h, k.w, k.c), b = in(c, ACT, kept & 1 ? k.n : 1, kept & 2 ? k.h : 1, kept & 4 ? k.w : 1, kept & 8 ? k.c : 1);
    c->op = op(below(c, 2) ? a : out(c, ACT, k.n, k.h, k.w, k.c), a, b);
    Num *y = want(c, 0);
    for (int n = 0; n < k.n; n++)
        for (int h = 0; h < k.h; h++)
            for (int w = 0; w < k.w; w++)
                for (int j = 0; j < k.c; j++) {
                    size_t p = place_of(a, n, h, w, j);
                    y[p] = f(num(at(a, p)), num(at(b, place_of(b, kept & 1 ? n : 0, kept & 2 ? h : 0, kept & 4 ? w : 0, kept & 8 ? j : 0))));
                }
}
void case_add(Case *c) { binary(c, op_add, num_add); }
void case_mul(Case *c) { binary(c, op_mul, num_mul); }

void case_dropout(Case *c)
{
    Shape k = draw_shape(c);
    int each = below(c, 2);
    double p = one_of(c, (const double[]){ 0, 0.1, 0.5, 0.9 }, 4);
    uint64_t key = (uint64_t)rng_u32(&c->rng) << 32 | rng_u32(&c->rng);
    Tensor x = in(c, ACT, k.n, k.h, k.w, k.c);
    c->op = op_dropout(below(c, 2) ? x : out(c, ACT, k.n, k.h, k.w, k.c), x, p, each, key);
    Num *y = want(c, 0), share = num_sub(num(1), num_rounded(p));
    for (size_t j = 0; j < tensor_count(x); j++) {
        size_t i = each ? j / ((size_t)k.h * (size_t)k.w * (size_t)k.c) * (size_t)k.c + j % (size_t)k.c : j;
        uint32_t word[4], counter[4] = { (uint32_t)i, (uint32_t)((uint64_t)i >> 32), 0, 0 };
        philox4x32(word, counter, (const uint32_t[]){ (uint32_t)key, (uint32_t)(key >> 32) });
        y[j] = (word[0] >> 8) * 0x1p-24 < p ? num(0) : p == 0 ? num(at(x, j)) : num_div(num(at(x, j)), share);
    }
}

void case_fill(Case *c)
{
    Shape k = draw_shape(c);
    c->op = op_fill(out(c, below(c, 2) ? ACT : ACC, k.n, k.h, k.w, k.c), one_of(c, (const double[]){ 0, 1, -2.5, 0.1 }, 4));
    Num *y = want(c, 0);
    for (size_t j = 0; j < tensor_count(c->op.y[0]); j++) y[j] = num(c->op.a.scale);
}
