/* judge.c - a case run on a set, and what came of it held against the definition. The bounds are derived in docs/numerics.md. */
#include "base/err.h"
#include "check/layout.h"
#include "check/winograd.h"
#include <float.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* One step of `type` at x: the distance of neighbouring numbers there. */
static double step(Type type, double x)
{
    int digits = type == T_F64 ? DBL_MANT_DIG : type == T_F32 ? FLT_MANT_DIG : type == T_F16 ? 11 : 8;
    int least = type == T_F64 ? DBL_MIN_EXP : type == T_F16 ? -13 : FLT_MIN_EXP, exponent;
    frexp(x, &exponent);
    return ldexp(1, (exponent > least ? exponent : least) - digits);
}

/* Bytes that may not change have not. */
static int compare_kept(const Layout *l, const uint8_t *after)
{
    for (size_t b = 0; b < l->size; b++) {
        if (l->kind[b] > INPUT || l->before[b] == after[b]) continue;
        for (int j = 0; j < l->count; j++) {
            const Placed *p = &l->placed[j];
            if (b >= p->begin && b < p->end) return err("wrote to an input or between rows: byte %zu of %s", b - p->begin, p->role);
        }
        return err("wrote outside every tensor: byte %zu of %zu", b, l->size);
    }
    return 0;
}

/* The same call gave the same bits. */
static int compare_again(const Layout *l, const uint8_t *first, const uint8_t *again, int threads)
{
    for (size_t b = 0; b < l->size; b++)
        if (l->kind[b] == RESULT && first[b] != again[b]) return err("other bits when repeated with %d threads: byte %zu", threads, b);
    return 0;
}

/* An exact answer must be met but for the rounding to the output's type; any other may be off by e u and a step of that type. Beyond the type's largest
 * number there is only infinity. */
int check_fits(double got, Num want, Type type, double u, double *bound)
{
    double space;
    *bound = want.e > 0 ? want.e * u + step(type, want.v) : 0;
    if (fabs(got - want.v) <= *bound) return 1;
    type_set(type, &space, 0, want.v);
    if (want.e == 0) return got == type_get(type, &space, 0);
    type_set(type, &space, 0, want.v + copysign(*bound, want.v));
    return isinf(got) && got == type_get(type, &space, 0);
}

double check_roundoff(const Set *set) { return step(set->acc, 1) / 2 + DBL_EPSILON / 2; }

static int compare_want(const Case *c, const Layout *l, const uint8_t *after, const double *transformed)
{
    for (int k = 0; k < OUTPUTS; k++) {
        Tensor y = l->op.y[k];
        if (!y.p) continue;
        CHECK(c->want[k], "%s: the case says nothing of y%d", op_name(l->op.kind), k);
        for (size_t j = 0; j < tensor_count(y); j++) {
            Num    want = c->want[k][j];
            double bound, got = result(l, after, y, j);
            if (isnan(want.v) && want.e == 0) continue; /* num_any */
            CHECK(isfinite(want.v) && isfinite(want.e), "%s: the definition of y%d[%zu] gives %g +- %g u", op_name(l->op.kind), k, j, want.v, want.e);
            if (k == 0 && transformed) want.e += transformed[j];
            if (!check_fits(got, want, y.type, check_roundoff(l->set), &bound)) return err("y%d[%zu] = %.9g, want %.9g +- %.2g", k, j, got, want.v, bound);
        }
    }
    return 0;
}

/* Runs a case with several numbers of threads: canaries, inputs, bits. The first result is in *after, the caller's to free. */
static int run_repeatedly(Layout *l, uint8_t **after)
{
    static const int threads[] = { 1, 2, 5, 1 };
    uint8_t *again = malloc(l->size);
    int      failed = 0;
    *after = malloc(l->size);
    CHECK(*after && again, "no memory for %zu bytes", l->size);
    for (size_t k = 0; !failed && k < sizeof threads / sizeof *threads; k++) {
        omp_set_num_threads(threads[k]);
        failed = layout_run(l, k ? again : *after) || compare_kept(l, k ? again : *after) || (k && compare_again(l, *after, again, threads[k]));
    }
    omp_set_num_threads(omp_get_num_procs());
    free(again);
    return failed ? -1 : 0;
}

int check_repeat(Case *c, Set *set)
{
    Layout   l;
    uint8_t *after;
    lay_out(&l, c, set);
    int failed = run_repeatedly(&l, &after);
    free(after);
    layout_close(&l);
    return failed;
}

int check_case(Case *c, Set *set)
{
    Layout   l;
    uint8_t *after;
    lay_out(&l, c, set);
    int     m = set->transform ? set->transform(set, &l.op) : 0;
    double *transformed = m ? winograd_error(c, m) : NULL;
    int     failed = run_repeatedly(&l, &after) || compare_want(c, &l, after, transformed);
    free(after);
    layout_close(&l);
    return failed ? -1 : 0;
}

/* ---- as good as the reference ---- */

typedef struct {
    double max, rms, largest;
} Errors;

/* What output k of the case is off by on `set`, and its largest value. */
static int errors_on(Case *c, Set *set, Errors errors[OUTPUTS])
{
    Layout l;
    lay_out(&l, c, set);
    uint8_t *after = malloc(l.size);
    CHECK(after, "no memory for %zu bytes", l.size);
    int failed = layout_run(&l, after);
    for (int k = 0; !failed && k < OUTPUTS; k++) {
        Tensor y = l.op.y[k];
        double sum = 0;
        errors[k] = (Errors){ 0 };
        for (size_t j = 0; y.p && j < tensor_count(y); j++) {
            Num want = c->want[k][j];
            if (isnan(want.v)) continue;
            double off = fabs(result(&l, after, y, j) - want.v);
            errors[k].max = fmax(errors[k].max, off), errors[k].largest = fmax(errors[k].largest, fabs(want.v)), sum += off * off;
        }
        if (y.p) errors[k].rms = sqrt(sum / (double)tensor_count(y));
    }
    free(after);
    layout_close(&l);
    return failed;
}

int check_like(Case *c, Set *set, Set *reference)
{
    Errors ours[OUTPUTS], theirs[OUTPUTS];
    if (errors_on(c, set, ours) || errors_on(c, reference, theirs)) return -1;
    for (int k = 0; k < OUTPUTS; k++) {
        if (!c->op.y[k].p || c->op.y[k].type != (Type)ACT) continue;    /* statistics are sums, and the reference's are doubles */
        double floor = 2 * step(set->act, ours[k].largest);
        if (!(ours[k].max <= 2 * theirs[k].max + floor) || !(ours[k].rms <= 2 * theirs[k].rms + floor))
            return err("y%d: off by %.3g at most and %.3g RMS, %s by %.3g and %.3g", k, ours[k].max, ours[k].rms, reference->name, theirs[k].max,
                       theirs[k].rms);
    }
    return 0;
}

/* ---- not finite ---- */

/* A role whose numbers are read: any input that is no id, and what is added to. But a set may work y and lse of a backward attention out again, and a loss
 * whose bend is infinitely wide is 0. */
static Tensor *read_tensor(Case *c)
{
    Tensor *found[OP_TENSORS];
    int     count = 0;
    for (int k = 0; k < OP_TENSORS; k++) {
        Tensor *t = op_tensor(&c->op, k);
        int     added_to = c->op.acc || c->op.kind == OP_SUMSQ || c->op.kind == OP_UPDATE;
        int     saved = c->op.kind == OP_ATTN_DX && (k == OUTPUTS + 4 || k == OUTPUTS + 5), bend = c->op.kind == OP_LOSS && k == OUTPUTS + 3;
        if (t->p && t->type != T_I32 && t->type != (Type)WORK && !saved && !bend && (k >= OUTPUTS || added_to)) found[count++] = t;
    }
    return count ? found[below(c, count)] : NULL;
}

int check_not_finite(Case *c, Set *set)
{
    Tensor *t = read_tensor(c);
    if (!t) return 0;                                   /* fill */
    double *x = (double *)t->p + below(c, (int)tensor_count(*t)), kept = *x;
    Num    *wanted[OUTPUTS];
    Layout  l;
    memcpy(wanted, c->want, sizeof wanted);
    *x = one_of(c, (const double[]){ NAN, INFINITY, -INFINITY }, 3);
    checks[c->op.kind].define(c);
    lay_out(&l, c, set);
    uint8_t *after = hold(c, l.size);
    int      failed = layout_run(&l, after);
    for (int k = 0; !failed && k < OUTPUTS; k++) {
        Tensor y = l.op.y[k];
        for (size_t j = 0; !failed && y.p && j < tensor_count(y); j++) {
            Num want = c->want[k][j];
            int any = isnan(want.v) && want.e == 0;
            if (any || isfinite(want.v) || !isfinite(result(&l, after, y, j))) continue;
            failed = err("%g in an input is lost: y%d[%zu] = %g", *x, k, j, result(&l, after, y, j));
        }
    }
    layout_close(&l);
    memcpy(c->want, wanted, sizeof wanted);
    *x = kept;
    return failed;
}
