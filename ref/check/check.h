/* check.h - one call of one op: drawn at random, defined anew, laid out on a set, run and judged.
 *
 * Each op has three things here, in case_STEM.c and listed in cases.c: `draw` chooses shapes and numbers and writes the Op with the constructors of ops.h;
 * `define` works out what must come of it, in plain loops over Num (num.h), from the Op alone; `fixed` names the dimensions that others fix. In a case
 * tensors are contiguous, p points to doubles whatever the type, and the type is ACT or ACC, those of the set that runs it, or a type itself.
 * layout.c lays the case out on a set, as views between canaries; judge.c runs it and compares. */
#ifndef CHECK_CHECK_H
#define CHECK_CHECK_H
#include "base/rng.h"
#include "check/num.h"
#include "ops/ops.h"

enum { ACT = T_COUNT, ACC, WORK };                      /* Tensor.type in a case. WORK: act, and absent on sets where act == acc */
enum { BUDGET = 1 << 20, OUTPUTS = 4, MAX_HELD = 128, WORTH_THREADS = 1 << 14 };

/* How numbers are drawn. RANDOM: [-1,1). STRUCTURED: all equal, half zero, alternating, powers of 2. HOSTILE: magnitudes over 12 decades, denormals. */
typedef enum { RANDOM, STRUCTURED, HOSTILE } Values;

typedef struct {
    Rng        rng;
    Values     values;
    Set       *set[2];                                  /* inputs are numbers that both sets can hold */
    int        chain;                                   /* Set.chain of the set that is judged by what `define` works out */
    double     left;                                    /* work that dim() may still give out */
    const int *given;                                   /* what dim() and among() return, in order, in place of a draw; NULL: draws */
    int        plain;                                   /* laid out without gaps: for benches */
    Op         op;
    Num       *want[OUTPUTS];                           /* of y[k], element by element; NULL: absent */
    void      *held[MAX_HELD];
    int        holds;
} Case;

/* ---- drawing: one draw a statement, since C does not say in which order the arguments of a call are worked out ---- */

int    below(Case *c, int n);                           /* 0..n-1 */
int    among(Case *c, int low, int high);               /* low..high: a choice that is part of the shape */
int    dim(Case *c, int most);                          /* 1, primes, tiles +-1, real sizes; at most `most` and what the budget leaves */
double one_of(Case *c, const double *from, int n);
double scale_of(Case *c);                               /* 1, or another factor */

/* What `values` says, rounded to what both sets hold; and the same with magnitudes within [2^-range, 2^range], and all positive. */
Tensor in(Case *c, int type, int n, int h, int w, int channels);
Tensor in_range(Case *c, int type, int n, int h, int w, int channels, int range);
Tensor in_positive(Case *c, int type, int n, int h, int w, int channels, int range);
double both_hold(const Case *c, int type, double x);    /* x, rounded to what both sets hold */
Tensor in_values(Case *c, int type, int n, int h, int w, int channels, const Num *values);      /* these, rounded: saved statistics */
Tensor ids_below(Case *c, int n, int t, int count);     /* (n,1,t,1) of T_I32, 0..count-1 */
Tensor out(Case *c, int type, int n, int h, int w, int channels);                               /* NaN: nobody may read it */
Tensor out_acc(Case *c, int acc, int type, int n, int h, int w, int channels);                  /* acc: values to add to */
Weight weight(Case *c, int o, int k, int i);
Tensor in_frozen(Case *c, int n, int h, int w, int channels);           /* of act, f16 or bf16, as frozen weights are */
Weight frozen(Case *c, int o, int k, int i);
static inline Tensor maybe(Case *c, Tensor t) { return below(c, 2) ? t : NONE; }

/* ---- working out ---- */

void  *hold(Case *c, size_t bytes);                     /* zeroed memory that lives as long as the case */
Num   *want(Case *c, int output);                       /* room for what y[output] must be */
Sum   *sums(Case *c, Tensor t);                         /* a sum for every element */
Num    total(const Case *c, Sum s);                     /* sum_num by the kind of data and the set's chain */
void   want_sums(Case *c, int output, const Sum *s);    /* y[output] is s, plus what it held if op.acc */

static inline size_t place_of(Tensor t, int n, int h, int w, int channel)
{
    return (((size_t)n * (size_t)t.h + (size_t)h) * (size_t)t.w + (size_t)w) * (size_t)t.c + (size_t)channel;
}
static inline double at(Tensor t, size_t j) { return ((const double *)t.p)[j]; }
static inline double *values_at(Tensor t, int n, int h, int w) { return (double *)t.p + place_of(t, n, h, w, 0); }

/* What y[output] held is added where op.acc; else s itself. */
static inline Num accumulate(const Case *c, int output, size_t j, Num s) { return c->op.acc ? num_add(num(at(c->op.y[output], j)), s) : s; }

/* ---- the ops ---- */

/* Classes of bounds (docs/numerics.md). A: copies, equal to the bit. B: a sum, or a step or two. C: B by Winograd's transforms, where the set says so. D:
 * several steps, functions among them; these are also held against the reference set of the same types. */
typedef struct {
    char class;
    void (*draw)(Case *), (*define)(Case *);
    const char *fixed;
} Check;
extern const Check checks[OP_COUNT];                    /* cases.c */

#define CASE(stem) void draw_##stem(Case *c), define_##stem(Case *c)
CASE(linear); CASE(linear_dx); CASE(linear_dw);
CASE(conv); CASE(conv_dx); CASE(conv_dw);
CASE(norm); CASE(norm_dx); CASE(norm_dw);
CASE(attn); CASE(attn_dx);
CASE(act); CASE(act_dx); CASE(geglu); CASE(geglu_dx);
CASE(sum); CASE(up2); CASE(up2_dx); CASE(embed); CASE(embed_dw); CASE(copy); CASE(add); CASE(mul); CASE(dropout); CASE(fill);
CASE(loss);
CASE(sumsq); CASE(update);
#undef CASE

/* ---- judging: each 0, or -1 and err(), of a case that is drawn ---- */

int  check_case(Case *c, Set *set);                     /* lays out, runs with 1, 2, 5 threads, compares; want is there */
int  check_repeat(Case *c, Set *set);                   /* the same without the comparison: bits, canaries, inputs */
int  check_like(Case *c, Set *set, Set *reference);     /* class D: activations off by at most twice what `reference` is off by, at most and RMS */
int  check_not_finite(Case *c, Set *set);               /* a NaN or an infinity in an input shows wherever the definition says */
int  check_refusals(Case *c, Set *set, const char *fixed);       /* every spoiled version of the case is refused; see refuse.c */
void case_close(Case *c);

/* May `got` be what the definition says, given units u of rounding, those of a set's arithmetic and of ours? *bound: by how much it may be off. */
int    check_fits(double got, Num want, Type type, double u, double *bound);
double check_roundoff(const Set *set);

/* What linear and conv share: bias, row, res and segments of c->op, drawn (res may be y itself); and their terms of each output. */
void draw_parts(Case *c);
void sum_parts(const Case *c, Sum *s);
#endif
