/* num.h - a number, and how far an honest computation of it may be off: running error analysis (Higham 2002, section 3.3).
 *
 * v is the value, computed in double; e bounds the error of the same steps done in another arithmetic, in units of its unit roundoff u, whatever u is up to
 * that of f32. Every step adds its own rounding, u |v|, to what its operands bring along. e = 0: the number is exact, so a result must equal it.
 *
 * A sum of k rounded terms is off by about sqrt k u sum|terms| when roundings are as good as independent (Higham & Mary 2019), at worst by k u sum|terms|,
 * in any order, or by L u sum|terms| where no number is rounded more than L times on its way: L, the longest chain, is what a set states (ops.h). Random data
 * get (8 + sqrt k); other data, where terms and so roundings repeat, (8 + L); 8 is for a fixed number of roundings besides. */
#ifndef CHECK_NUM_H
#define CHECK_NUM_H
#include <math.h>
#include <stddef.h>

typedef struct {
    double v, e;
} Num;

#define NUM_U    0x1p-24                                /* where e u is so large that second order counts, it is taken at f32's u, the largest */
#define NUM_TINY 0x1p-102                               /* what an underflow may cost: f32's smallest normal number, in units of u */

static inline Num num(double v) { return (Num){ v, 0 }; }                 /* an input: exact */
static inline Num num_rounded(double v) { return (Num){ v, fabs(v) }; }   /* a number that an implementation may round first: an attribute, a constant */
static inline Num num_any(void) { return (Num){ NAN, 0 }; }               /* the contract leaves this value open */

static inline Num num_neg(Num a) { return (Num){ -a.v, a.e }; }
static inline Num num_add(Num a, Num b) { return (Num){ a.v + b.v, a.e + b.e + fabs(a.v + b.v) }; }
static inline Num num_sub(Num a, Num b) { return num_add(a, num_neg(b)); }
static inline Num num_mul(Num a, Num b) { return (Num){ a.v * b.v, fabs(a.v) * b.e + fabs(b.v) * a.e + NUM_U * a.e * b.e + fabs(a.v * b.v) + NUM_TINY }; }

/* f monotone, to 2 ulp (4 u): what the error of its argument does is read off at the ends of the interval. */
static inline Num num_fun(double (*f)(double), Num a)
{
    double v = f(a.v), up = fabs(f(a.v + a.e * NUM_U) - v), down = fabs(f(a.v - a.e * NUM_U) - v);
    return (Num){ v, (a.e > 0 ? fmax(up, down) / NUM_U : 0) + 4 * fabs(v) + NUM_TINY };
}
static inline double num_reciprocal(double x) { return 1 / x; }
static inline double num_root(double x) { return sqrt(fmax(x, 0)); }
static inline Num num_div(Num a, Num b) { return num_mul(a, num_fun(num_reciprocal, b)); }
static inline Num num_sqrt(Num a) { return num_fun(num_root, a); }
static inline Num num_exp(Num a) { return num_fun(exp, a); }

/* 1 / a of an a > 0 that nobody works out as less than `least`, though its error may reach further down. */
static inline Num num_inverse(Num a, double least)
{
    double v = 1 / a.v, up = 1 / fmax(a.v - a.e * NUM_U, least) - v, down = v - 1 / (a.v + a.e * NUM_U);
    return (Num){ v, (a.e > 0 ? fmax(up, down) / NUM_U : 0) + 4 * fabs(v) + NUM_TINY };
}

/* 1 / (1 + e^-x), by the exponential q that does not overflow: q good to 4 u, 1 + q to 3 u, the division to 5 u. Between 0 and 1, whatever x is off by. */
static inline double num_logistic_of(double x) { return x > 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static inline Num num_logistic(Num x)
{
    Num s = num_fun(num_logistic_of, x);
    return (Num){ s.v, s.e + (x.v > 0 ? 4 : 8) * s.v };  /* num_fun has 4 of these; for x > 0 the numerator is exact */
}

/* ---- sums ----
 * Added up in blocks, so that the double's own errors stay far below those that are allowed. */

enum { SUM_BLOCK = 256 };
typedef struct {
    double v, part, m, e;                               /* the value is v + part; sum of magnitudes, errors that the terms bring along */
    size_t k;
} Sum;

static inline void sum_term(Sum *s, double v)
{
    s->part += v, s->m += fabs(v);
    if (++s->k % SUM_BLOCK == 0) s->v += s->part, s->part = 0;
}
static inline void sum_add(Sum *s, Num a) { sum_term(s, a.v), s->e += a.e; }
static inline void sum_mul(Sum *s, double a, double b) { sum_term(s, a * b); }
static inline void sum_dot(Sum *s, const double *a, const double *b, int k, double scale)
{
    enum { LANES = 8, PIECE = LANES * SUM_BLOCK };      /* partial sums side by side become vector code */
    for (int from = 0; from < k; from += PIECE) {
        double v[LANES] = { 0 }, m[LANES] = { 0 };
        int    j = from, end = k - from < PIECE ? k : from + PIECE;
        for (; j + LANES <= end; j += LANES)
            for (int l = 0; l < LANES; l++) v[l] += a[j + l] * b[j + l], m[l] += fabs(a[j + l] * b[j + l]);
        for (; j < end; j++) v[0] += a[j] * b[j], m[0] += fabs(a[j] * b[j]);
        for (int l = 0; l < LANES; l++) s->v += scale * v[l], s->m += fabs(scale) * m[l];
    }
    s->k += (size_t)k;
}

/* Of random data roundings are as good as independent; of others they add up along the longest chain of additions, 0: as long as the sum. */
static inline Num sum_num(Sum s, int random, int chain)
{
    double k = (double)s.k, longest = chain > 0 && chain < k ? chain + ceil(k / chain) : k;
    return (Num){ s.v + s.part, s.e + (8 + (random ? sqrt(k) : longest)) * (s.m + NUM_TINY) };
}
#endif
