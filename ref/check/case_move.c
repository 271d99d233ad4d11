/* case_move.c - what copies, spreads and gathers. A result that is a copy is exact: e = 0, equal to the bit. */
#include "check/check.h"

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

void draw_sum(Case *c)
{
    Shape k = draw_shape(c);
    int each = below(c, 2), acc = below(c, 2);
    Tensor x = in(c, ACT, k.n, k.h, k.w, k.c);
    c->op = op_sum(out_acc(c, acc, below(c, 2) ? ACT : ACC, each ? k.n : 1, 1, 1, k.c), x, each, acc);
}

void define_sum(Case *c)
{
    Tensor x = c->op.x[0];
    Sum   *s = sums(c, c->op.y[0]);
    size_t each = c->op.a.each ? (size_t)x.h * (size_t)x.w * (size_t)x.c : tensor_count(x);        /* elements of a result's image */
    for (size_t j = 0; j < tensor_count(x); j++) sum_mul(&s[j / each * (size_t)x.c + j % (size_t)x.c], at(x, j), 1);
    want_sums(c, 0, s);
}

void draw_up2(Case *c)
{
    Shape k = draw_shape(c);
    Tensor x = in(c, ACT, k.n, k.h, k.w, k.c);
    c->op = op_up2(out(c, ACT, k.n, 2 * k.h, 2 * k.w, k.c), x);
}

/* The place in the small tensor that belongs to element j of the large one. */
static size_t small_place(Tensor small, Tensor large, size_t j)
{
    size_t channels = (size_t)large.c, w = j / channels % (size_t)large.w, line = j / channels / (size_t)large.w;          /* lines: h, n */
    return (line / 2 * (size_t)small.w + w / 2) * channels + j % channels;
}

void define_up2(Case *c)
{
    Tensor y = c->op.y[0], x = c->op.x[0];
    Num   *copy = want(c, 0);
    for (size_t j = 0; j < tensor_count(y); j++) copy[j] = num(at(x, small_place(x, y, j)));
}

void draw_up2_dx(Case *c)
{
    Shape k = draw_shape(c);
    int acc = below(c, 2);
    Tensor dy = in(c, ACT, k.n, 2 * k.h, 2 * k.w, k.c);
    c->op = op_up2_dx(out_acc(c, acc, ACT, k.n, k.h, k.w, k.c), dy, acc);
}

void define_up2_dx(Case *c)
{
    Tensor dx = c->op.y[0], dy = c->op.x[0];
    Sum   *s = sums(c, dx);
    for (size_t j = 0; j < tensor_count(dy); j++) sum_mul(&s[small_place(dx, dy, j)], at(dy, j), 1);
    want_sums(c, 0, s);
}

void draw_embed(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 768), t = dim(c, 77), n = dim(c, 4), v = 1 + below(c, 50), e = below(c, 2) ? 1 + below(c, 4) : 0;
    Tensor ids = ids_below(c, n, t, v + e), table = in_frozen(c, v, 1, 1, channels), extra = e ? in(c, ACC, e, 1, 1, channels) : NONE;
    Tensor position = maybe(c, in_frozen(c, 1, 1, t, channels));
    c->op = op_embed(out(c, ACT, n, 1, t, channels), ids, table, extra, position);
}

void define_embed(Case *c)
{
    Tensor ids = c->op.x[0], table = c->op.x[1], extra = c->op.x[2], position = c->op.x[3];
    size_t channels = (size_t)table.c;
    Num   *y = want(c, 0);
    for (size_t row = 0; row < tensor_count(ids); row++)
        for (size_t j = 0; j < channels; j++) {
            int id = (int)at(ids, row);
            Num a = num(id < table.n ? values_at(table, id, 0, 0)[j] : values_at(extra, id - table.n, 0, 0)[j]);
            y[row * channels + j] = position.p ? num_add(a, num(at(position, row % (size_t)ids.w * channels + j))) : a;
        }
}

void draw_embed_dw(Case *c)
{
    c->left /= 64;
    int channels = dim(c, 768), t = dim(c, 77), n = dim(c, 4), base = below(c, 20), e = 1 + below(c, 4), acc = below(c, 2);
    Tensor ids = ids_below(c, n, t, base + e + below(c, 3)), dy = in(c, ACT, n, 1, t, channels);
    c->op = op_embed_dw(out_acc(c, acc, ACC, e, 1, 1, channels), dy, ids, base, acc);
}

void define_embed_dw(Case *c)
{
    Tensor dextra = c->op.y[0], dy = c->op.x[0], ids = c->op.x[1];
    Sum   *s = sums(c, dextra);
    for (size_t row = 0; row < tensor_count(ids); row++) {
        int j = (int)at(ids, row) - c->op.a.base;
        for (int k = 0; j >= 0 && j < dextra.n && k < dy.c; k++) sum_mul(&s[j * dy.c + k], at(dy, row * (size_t)dy.c + (size_t)k), 1);
    }
    want_sums(c, 0, s);
}

void draw_copy(Case *c)
{
    Shape k = draw_shape(c);
    int acc = below(c, 2);
    Tensor x = in(c, below(c, 2) ? ACT : ACC, k.n, k.h, k.w, k.c);
    double scale = scale_of(c);
    c->op = op_copy(out_acc(c, acc, below(c, 2) ? ACT : ACC, k.n, k.h, k.w, k.c), x, scale, acc);
}

void define_copy(Case *c)
{
    Tensor x = c->op.x[0];
    Num   *y = want(c, 0), scale = num_rounded(c->op.a.scale);
    for (size_t j = 0; j < tensor_count(x); j++) y[j] = accumulate(c, 0, j, scale.v == 1 ? num(at(x, j)) : num_mul(scale, num(at(x, j))));
}

/* y = f(a, b), b of any shape that broadcasts to y's. */
static void draw_binary(Case *c, Op (*op)(Tensor, Tensor, Tensor))
{
    Shape k = draw_shape(c);
    int all = 15, kept = below(c, 3) ? below(c, 16) : below(c, 2) ? all : all & ~(1 << below(c, 4));        /* one dimension alone: the others look alike */
    Tensor a = in(c, ACT, k.n, k.h, k.w, k.c), b = in(c, ACT, kept & 1 ? k.n : 1, kept & 2 ? k.h : 1, kept & 4 ? k.w : 1, kept & 8 ? k.c : 1);
    c->op = op(below(c, 2) ? a : out(c, ACT, k.n, k.h, k.w, k.c), a, b);
}
static void define_binary(Case *c, Num (*f)(Num, Num))
{
    Tensor a = c->op.x[0], b = c->op.x[1];
    Num   *y = want(c, 0);
    for (int n = 0; n < a.n; n++)
        for (int h = 0; h < a.h; h++)
            for (int w = 0; w < a.w; w++)
                for (int j = 0; j < a.c; j++) {
                    size_t p = place_of(a, n, h, w, j), other = place_of(b, b.n > 1 ? n : 0, b.h > 1 ? h : 0, b.w > 1 ? w : 0, b.c > 1 ? j : 0);
                    y[p] = f(num(at(a, p)), num(at(b, other)));
                }
}
void draw_add(Case *c) { draw_binary(c, op_add); }
void draw_mul(Case *c) { draw_binary(c, op_mul); }
void define_add(Case *c) { define_binary(c, num_add); }
void define_mul(Case *c) { define_binary(c, num_mul); }

void draw_dropout(Case *c)
{
    Shape k = draw_shape(c);
    int each = below(c, 2);
    double p = one_of(c, (const double[]){ 0, 0.1, 0.5, 0.9 }, 4);
    uint64_t high = rng_u32(&c->rng), key = high << 32 | rng_u32(&c->rng);
    Tensor x = in(c, ACT, k.n, k.h, k.w, k.c);
    c->op = op_dropout(below(c, 2) ? x : out(c, ACT, k.n, k.h, k.w, k.c), x, p, each, key);
}

void define_dropout(Case *c)
{
    Tensor   x = c->op.x[0];
    double   p = c->op.a.p;
    uint64_t key = c->op.a.key;
    Num     *y = want(c, 0), share = num_sub(num(1), num_rounded(p));
    for (size_t j = 0; j < tensor_count(x); j++) {
        size_t i = c->op.a.each ? j / ((size_t)x.h * (size_t)x.w * (size_t)x.c) * (size_t)x.c + j % (size_t)x.c : j;
        uint32_t word[4], counter[4] = { (uint32_t)i, (uint32_t)((uint64_t)i >> 32), 0, 0 };
        philox4x32(word, counter, (const uint32_t[]){ (uint32_t)key, (uint32_t)(key >> 32) });
        y[j] = (word[0] >> 8) * 0x1p-24 < p ? num(0) : p == 0 ? num(at(x, j)) : num_div(num(at(x, j)), share);
    }
}

void draw_fill(Case *c)
{
    Shape k = draw_shape(c);
    double value = one_of(c, (const double[]){ 0, 1, -2.5, 0.1 }, 4);
    c->op = op_fill(out(c, below(c, 2) ? ACT : ACC, k.n, k.h, k.w, k.c), value);
}

void define_fill(Case *c)
{
    Num *y = want(c, 0);
    for (size_t j = 0; j < tensor_count(c->op.y[0]); j++) y[j] = num(c->op.a.scale);
}
