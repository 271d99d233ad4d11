/* draw.c - the random part of a case: shapes and numbers. */
#include "base/err.h"
#include "check/check.h"
#include <stdlib.h>

void *hold(Case *c, size_t bytes)
{
    CHECK(c->holds < MAX_HELD, "%s: a case holds more than %d arrays", op_name(c->op.kind), MAX_HELD);
    void *p = calloc(bytes ? bytes : 1, 1);
    CHECK(p, "no memory for %zu bytes", bytes);
    return c->held[c->holds++] = p;
}

void case_close(Case *c)
{
    while (c->holds) free(c->held[--c->holds]);
}

int among(Case *c, int low, int high) { return c->given ? *c->given++ : low + below(c, high - low + 1); }

int below(Case *c, int n) { return (int)rng_below(&c->rng, (uint32_t)n); }

int dim(Case *c, int most)
{
    if (c->given) return *c->given++;
    static const int sizes[] = { 1,  1,  2,  3,  4,  5,  7,   8,   11,  13,  15,  16,  17,  20,  24,  31,  32,  33,  40,  47, 61,
                                 63, 64, 65, 77, 96, 127, 128, 129, 160, 251, 255, 256, 257, 320, 384, 509, 512, 513, 768, 1280,
                                 2560, 4097, 5120 };
    int n = 0;
    while (n < (int)(sizeof sizes / sizeof *sizes) && sizes[n] <= most && sizes[n] <= c->left) n++;
    int size = sizes[below(c, n > 0 ? n : 1)], other = sizes[below(c, n > 0 ? n : 1)];
    if (c->left > BUDGET && other > size) size = other; /* a large case is to be large */
    c->left /= size;
    return size;
}

double one_of(Case *c, const double *from, int n) { return from[below(c, n)]; }
double scale_of(Case *c) { return one_of(c, (const double[]){ 1, 1, 0.5, -1.75, 0.1 }, 5); }

/* ---- numbers ---- */

static Type type_on(const Set *set, int type) { return type == ACT || type == WORK ? set->act : type == ACC ? set->acc : (Type)type; }

double both_hold(const Case *c, int type, double x)
{
    double space;
    for (int k = 0; k < 2; k++) type_set(type_on(c->set[k], type), &space, 0, x), x = type_get(type_on(c->set[k], type), &space, 0);
    return x;
}

static double random_value(Case *c) { return 2 * rng_uniform(&c->rng) - 1; }

static double structured_value(Case *c, int structure, size_t j, size_t count, double constant)
{
    switch (structure) {
    case 0: return constant;
    case 1: return j < count / 2 ? 0 : random_value(c);
    case 2: return j % 2 ? constant : -constant;
    default: break;
    }
    int exponent = below(c, 5) - 2;
    return ldexp(below(c, 2) ? 1 : -1, exponent);
}

/* Magnitudes from 2^-most to 2^most; where that is wide, now and then a number that is not normal in float. */
static double hostile_value(Case *c, int most)
{
    int tiny = most >= 20 && below(c, 16) == 0, exponent = tiny ? -127 - below(c, 20) : below(c, 2 * most + 1) - most;
    return ldexp(random_value(c), exponent);
}

static Tensor empty(Case *c, int type, int n, int h, int w, int channels)
{
    Tensor t = tensor_of(NULL, (Type)type, n, h, w, channels);
    t.p = hold(c, tensor_count(t) * sizeof(double));
    return t;
}

Tensor in_range(Case *c, int type, int n, int h, int w, int channels, int range)
{
    Tensor t = empty(c, type, n, h, w, channels);
    int exponent = below(c, 3) - 2;
    double *p = t.p, constant = ldexp(1 + rng_uniform(&c->rng), exponent);
    size_t count = tensor_count(t);
    int structure = below(c, 4), narrow = type == T_F16 || c->set[0]->act == T_F16 || c->set[1]->act == T_F16, most = narrow && range > 4 ? 4 : range;
    for (size_t j = 0; j < count; j++) {
        double x = c->values == RANDOM ? random_value(c) : c->values == STRUCTURED ? structured_value(c, structure, j, count, constant)
                 : hostile_value(c, most);
        p[j] = both_hold(c, type, x);
    }
    return t;
}

Tensor in(Case *c, int type, int n, int h, int w, int channels) { return in_range(c, type, n, h, w, channels, 20); }

Tensor in_positive(Case *c, int type, int n, int h, int w, int channels, int range)
{
    Tensor t = in_range(c, type, n, h, w, channels, range);
    for (size_t j = 0; j < tensor_count(t); j++) ((double *)t.p)[j] = at(t, j) ? fabs(at(t, j)) : 1;
    return t;
}

Tensor in_values(Case *c, int type, int n, int h, int w, int channels, const Num *values)
{
    Tensor t = empty(c, type, n, h, w, channels);
    for (size_t j = 0; j < tensor_count(t); j++) ((double *)t.p)[j] = both_hold(c, type, values[j].v);
    return t;
}

Tensor ids_below(Case *c, int n, int t, int count)
{
    Tensor ids = empty(c, T_I32, n, 1, t, 1);
    for (size_t j = 0; j < tensor_count(ids); j++) ((double *)ids.p)[j] = below(c, count);
    return ids;
}

Tensor out(Case *c, int type, int n, int h, int w, int channels)
{
    Tensor t = empty(c, type, n, h, w, channels);
    for (size_t j = 0; j < tensor_count(t); j++) ((double *)t.p)[j] = NAN;
    return t;
}

Tensor out_acc(Case *c, int acc, int type, int n, int h, int w, int channels)
{
    return acc ? in(c, type, n, h, w, channels) : out(c, type, n, h, w, channels);
}

/* act, or a narrower type, where both sets take a frozen weight of it. */
static int frozen_type(Case *c)
{
    Type type = below(c, 2) ? T_F16 : T_BF16;
    int  taken = op_weight_type(c->set[0], type) == type && op_weight_type(c->set[1], type) == type;
    return below(c, 3) == 0 && taken ? (int)type : ACT;
}
Tensor in_frozen(Case *c, int n, int h, int w, int channels) { return in(c, frozen_type(c), n, h, w, channels); }
Weight frozen(Case *c, int o, int k, int i) { return (Weight){ .t = in_frozen(c, o, k, k, i) }; }
Weight weight(Case *c, int o, int k, int i) { return (Weight){ .t = in(c, ACT, o, k, k, i) }; }

/* ---- results ---- */

Num *want(Case *c, int output) { return c->want[output] = hold(c, tensor_count(c->op.y[output]) * sizeof(Num)); }
Sum *sums(Case *c, Tensor t) { return hold(c, tensor_count(t) * sizeof(Sum)); }
Num  total(const Case *c, Sum s) { return sum_num(s, c->values == RANDOM, c->chain); }

void want_sums(Case *c, int output, const Sum *s)
{
    Tensor y = c->op.y[output];
    Num *w = want(c, output);
    for (size_t j = 0; j < tensor_count(y); j++) {
        Sum sum = s[j];
        if (c->op.acc) sum_mul(&sum, at(y, j), 1);
        w[j] = total(c, sum);
    }
}
