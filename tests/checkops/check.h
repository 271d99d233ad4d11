/* check.h - one call of one op, drawn at random, and what must come of it.
 *
 * A case is drawn by a function per op (case_STEM.c): it draws shapes, writes the Op with the constructors of ops.h and works out `want` from the op's
 * definition, in plain loops over Num. In a case tensors are contiguous, p points to doubles whatever the type, and the type is ACT or ACC, those of the set
 * that runs it. check.c lays the case out on a set, as views between canaries, runs it and judges the result. */
#ifndef CHECK_H
#define CHECK_H
#include "base/rng.h"
#include "num.h"
#include "ops/ops.h"

enum { ACT = T_COUNT, ACC, WORK };                      /* Tensor.type in a case. WORK: act, and absent on sets where act == acc */
enum { BUDGET = 1 << 20, OUTPUTS = 4, MAX_HELD = 128 };

/* How numbers are drawn. RANDOM: [-1,1). STRUCTURED: all equal, half zero, alternating, powers of 2. HOSTILE: magnitudes over 12 decades. */
typedef enum { RANDOM, STRUCTURED, HOSTILE } Values;

typedef struct {
    Rng    rng;
    Values values;
    Set   *set[2];                                      /* inputs are numbers that both sets can hold */
    double left;                                        /* work that dim() may still give out */
    Op     op;
    Num   *want[OUTPUTS];                               /* of y[k], element by element; NULL: absent */
    void  *held[MAX_HELD];
    int    holds;
} Case;

/* ---- drawing ---- */

int    below(Case *c, int n);                           /* 0..n-1 */
int    dim(Case *c, int most);                          /* 1, primes, tiles +-1, real sizes; at most `most` and what the budget leaves */
double one_of(Case *c, const double *from, int n);
double scale_of(Case *c);                               /* 1, or another factor */

/* What `values` says, rounded to what both sets hold; and the same with magnitudes within [2^-range, 2^range], and all positive. */
Tensor in(Case *c, int type, int n, int h, int w, int channels);
Tensor in_range(Case *c, int type, int n, int h, int w, int channels, int range);
Tensor in_positive(Case *c, int type, int n, int h, int w, int channels, int range);
Tensor in_values(Case *c, int type, int n, int h, int w, int channels, const Num *values);      /* these, rounded: saved statistics */
Tensor ids_below(Case *c, int n, int t, int count);     /* (n,1,t,1) of T_I32, 0..count-1 */
Tensor out(Case *c, int type, int n, int h, int w, int channels);                               /* NaN: nobody may read it */
Tensor out_acc(Case *c, int acc, int type, int n, int h, int w, int channels);                  /* acc: values to add to */
Weight weight(Case *c, int o, int k, int i);
static inline Tensor maybe(Case *c, Tensor t) { return below(c, 2) ? t : NONE; }

/* ---- working out ---- */

void  *hold(Case *c, size_t bytes);                     /* zeroed memory that lives as long as the case */
Num   *want(Case *c, int output);                       /* room for what y[output] must be */
Sum   *sums(Case *c, Tensor t);                         /* a sum for every element */
Num    total(const Case *c, Sum s);                     /* sum_num by the kind of data */
void   want_sums(Case *c, int output, const Sum *s);    /* y[output] is s, plus what it held if op.acc */

static inline size_t place_of(Tensor t, int n, int h, int w, int channel)
{
    return (((size_t)n * (size_t)t.h + (size_t)h) * (size_t)t.w + (size_t)w) * (size_t)t.c + (size_t)channel;
}
static inline double at(Tensor t, size_t j) { return ((const double *)t.p)[j]; }
static inline double *values_at(Tensor t, int n, int h, int w) { return (double *)t.p + place_of(t, n, h, w, 0); }

/* What y[output] held is added where op.acc; else s itself. */
static inline Num accumulate(const Case *c, int output, size_t j, Num s) { return c->op.acc ? num_add(num(at(c->op.y[output], j)), s) : s; }

/* ---- judging ---- */

int  check_case(Case *c, Set *set);                     /* 0, or -1 and err(): lays out, runs with 1, 2, 5 threads, compares */
int  check_nan(Case *c, Set *set);                      /* 0, or -1 and err(): a NaN in x[0] shows in an output */
int  check_refusals(Case *c, Set *set, const char *fixed);       /* 0, or -1 and err(): every spoiled version of the case is refused; see refuse.c */
void case_close(Case *c);

/* Layout of a case on a set. */
typedef struct {
    const void *from;                                   /* p in the case */
    const char *role;
    Tensor      t;                                      /* on the set */
    size_t      begin, end;                             /* bytes of the image */
} Placed;
typedef struct {
    Set     *set;
    Op       op;
    uint8_t *before, *kind;                             /* the image, and what each byte is: KEEP, RESULT, FREE */
    size_t   size;
    Placed   placed[32];
    int      count;
} Layout;
enum { KEEP, RESULT, FREE };

void lay_out(Layout *l, Case *c, Set *set);
int  layout_run(Layout *l, uint8_t *after);             /* 0, or -1 and err() */
void layout_close(Layout *l);

typedef struct {
    const char *name;
    size_t      at;                                     /* of the Tensor in Op */
} Role;
enum { ROLES = 20 };
extern const Role roles[ROLES];                         /* y0..y3 first */
static inline Tensor *role_tensor(Op *op, int role) { return (Tensor *)((char *)op + roles[role].at); }

/* What linear and conv share: bias, row, res and segments of c->op, drawn (res may be y itself); and their terms of each output. */
void draw_parts(Case *c);
void sum_parts(const Case *c, Sum *s);

void case_linear(Case *c), case_linear_dx(Case *c), case_linear_dw(Case *c);
void case_conv(Case *c), case_conv_dx(Case *c), case_conv_dw(Case *c);
void case_norm(Case *c), case_norm_dx(Case *c), case_norm_dw(Case *c);
void case_attn(Case *c), case_attn_dx(Case *c);
void case_act(Case *c), case_act_dx(Case *c), case_geglu(Case *c), case_geglu_dx(Case *c);
void case_sum(Case *c), case_up2(Case *c), case_up2_dx(Case *c), case_embed(Case *c), case_embed_dw(Case *c);
void case_copy(Case *c), case_add(Case *c), case_mul(Case *c), case_dropout(Case *c), case_fill(Case *c);
void case_loss(Case *c), case_sumsq(Case *c), case_update(Case *c);
#endif
