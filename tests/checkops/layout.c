/* layout.c - a case as one image of memory on a set, run, and what came of it compared.
 *
 * All tensors of a call lie in one block: between them, between their rows and around their scratch are bytes that nobody may write. So "inputs are
 * untouched, padding is untouched, nothing is written outside" is one comparison of the block before and after. */
#include "base/err.h"
#include "check.h"
#include <float.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 256 << 20, GUARD = 64, CANARY = 0xa5 };   /* 0xa5a5...: a small number in every type, no NaN */

#define ROLE(name, field) { name, offsetof(Op, field) }
const Role roles[ROLES] = {
    ROLE("y0", y[0]), ROLE("y1", y[1]), ROLE("y2", y[2]), ROLE("y3", y[3]),
    ROLE("x0", x[0]), ROLE("x1", x[1]), ROLE("x2", x[2]), ROLE("x3", x[3]), ROLE("x4", x[4]), ROLE("x5", x[5]),
    ROLE("w", w.t), ROLE("bias", bias), ROLE("row", row), ROLE("res", res),
    ROLE("seg0.x", seg[0].x), ROLE("seg1.x", seg[1].x), ROLE("seg2.x", seg[2].x),
    ROLE("seg0.w", seg[0].w.t), ROLE("seg1.w", seg[1].w.t), ROLE("seg2.w", seg[2].w.t),
};
static int is_kernel(OpKind kind, int role) { return role == 10 || role >= 17 || (kind == OP_CONV_DW && role == 0); }

/* The one block of each set: opened once, used by all cases. */
static char *pool_of(Set *set)
{
    static struct { Set *set; char *p; } pools[4];
    int k = 0;
    while (pools[k].set && pools[k].set != set) k++;
    CHECK(k < 3, "more sets than pools");
    if (!pools[k].set) pools[k].set = set, pools[k].p = set->alloc(set, POOL);
    CHECK(pools[k].p, "%s", err_text());
    return pools[k].p;
}

static size_t claim(Layout *l, size_t bytes, size_t align)
{
    size_t begin = (l->size + GUARD + align - 1) / align * align;
    l->size = begin + bytes;
    CHECK(l->size + GUARD <= POOL, "a case of more than %d bytes", POOL);
    return begin;
}

/* Chooses place and strides of a tensor: rows further apart than they are long, images further than rows need, aligned to one element only. The taps of a
 * kernel are contiguous: a view of a weight is a range of its outputs. */
static Placed place(Layout *l, Case *c, int role, Tensor t)
{
    Placed p = { .from = t.p, .role = roles[role].name };
    t.type = t.type == (Type)ACC ? l->set->acc : t.type == T_I32 ? T_I32 : l->set->act;
    if (!is_kernel(l->op.kind, role) && below(c, 3)) t.ld += (size_t)below(c, 9);
    t.img = (size_t)t.h * (size_t)t.w * t.ld;
    if (below(c, 3) == 0) t.img += (size_t)below(c, 50);
    size_t size = type_size(t.type), span = ((size_t)t.n - 1) * t.img + ((size_t)t.h * (size_t)t.w - 1) * t.ld + (size_t)t.c;
    p.begin = claim(l, span * size + size * (size_t)below(c, 16), size), p.end = p.begin + span * size;
    t.p = pool_of(l->set) + p.begin;
    p.t = t;
    return p;
}

static size_t element(Tensor t, size_t j)
{
    size_t c = (size_t)t.c, w = (size_t)t.w, h = (size_t)t.h;
    return j / (c * w * h) * t.img + j / c % (w * h) * t.ld + j % c;
}

static void place_all(Layout *l, Case *c)
{
    for (int k = 0; k < ROLES; k++) {
        Tensor *t = role_tensor(&l->op, k);
        if (!t->p) continue;
        if (t->type == (Type)WORK && l->set->act == l->set->acc) { *t = NONE; continue; }
        int j = 0;                                      /* two roles on the same memory stay so: y may be x, res may be y */
        while (j < l->count && l->placed[j].from != t->p) j++;
        if (j == l->count) l->placed[l->count++] = place(l, c, k, *t);
        *t = l->placed[j].t;
    }
}

static void write_image(Layout *l)
{
    for (int j = 0; j < l->count; j++) {
        Placed *p = &l->placed[j];
        for (size_t e = 0; e < tensor_count(p->t); e++) type_set(p->t.type, l->before + p->begin, element(p->t, e), ((const double *)p->from)[e]);
    }
    for (int k = 0; k < OUTPUTS; k++) {
        Tensor y = l->op.y[k];
        size_t size = y.p ? type_size(y.type) : 0, begin = y.p ? (size_t)((char *)y.p - pool_of(l->set)) : 0;
        for (size_t e = 0; y.p && e < tensor_count(y); e++) memset(l->kind + begin + element(y, e) * size, RESULT, size);
    }
}

static Weight *weight_of(Op *op, int k) { return k < MAX_SEG ? &op->seg[k].w : &op->w; }

void lay_out(Layout *l, Case *c, Set *set)
{
    *l = (Layout){ .set = set, .op = c->op };
    place_all(l, c);
    size_t packed[MAX_SEG + 1] = { 0 }, pack_bytes[MAX_SEG + 1] = { 0 };
    for (int k = 0; k <= MAX_SEG; k++) {
        Weight *w = weight_of(&l->op, k);
        if (w->t.p && (pack_bytes[k] = set->pack(set, w, NULL))) packed[k] = claim(l, pack_bytes[k], 64), w->packed = pool_of(set) + packed[k];
    }
    size_t need = set->need(set, &l->op), scratch = claim(l, need, 64);
    if (need) l->op.scratch = pool_of(set) + scratch;
    l->size += GUARD;

    l->before = malloc(l->size), l->kind = calloc(l->size, 1);
    CHECK(l->before && l->kind, "no memory for %zu bytes", l->size);
    memset(l->before, CANARY, l->size);
    write_image(l);
    memset(l->before + scratch, 0xff, need);            /* NaN */
    memset(l->kind + scratch, FREE, need);
    for (int k = 0; k <= MAX_SEG; k++) memset(l->kind + packed[k], FREE, pack_bytes[k]);
}

void layout_close(Layout *l) { free(l->before), free(l->kind); }

static Tensor bytes_at(void *p, size_t size) { return tensor_of(p, T_U8, 1, 1, 1, (int)size); }

int layout_run(Layout *l, uint8_t *after)
{
    Set *set = l->set;
    char *pool = pool_of(set);
    if (set->upload(set, bytes_at(pool, l->size), bytes_at(l->before, l->size))) return -1;
    for (int k = 0; k <= MAX_SEG; k++) {
        Weight *w = weight_of(&l->op, k);
        if (w->packed) set->pack(set, w, w->packed);
    }
    if (set->run(set, &l->op) || set->sync(set)) return -1;
    return set->download(set, bytes_at(after, l->size), bytes_at(pool, l->size));
}

/* ---- comparing ---- */

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
        if (l->kind[b] != KEEP || l->before[b] == after[b]) continue;
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

/* The result is what the definition says. An exact answer must be met but for the rounding to the output's type; any other may be off by e units of the
 * set's arithmetic and of ours (double), and a step of that type. */
static int compare_want(const Case *c, const Layout *l, const uint8_t *after)
{
    double u = step(l->set->acc, 1) / 2 + DBL_EPSILON / 2;
    for (int k = 0; k < OUTPUTS; k++) {
        Tensor y = l->op.y[k];
        if (!y.p) continue;
        CHECK(c->want[k], "%s: the case says nothing of y%d", op_name(l->op.kind), k);
        const uint8_t *p = after + ((char *)y.p - pool_of(l->set));
        for (size_t j = 0; j < tensor_count(y); j++) {
            Num want = c->want[k][j];
            double got = type_get(y.type, p, element(y, j)), bound = 0, space;
            if (isnan(want.v) && want.e == 0) continue; /* num_any */
            CHECK(isfinite(want.v) && isfinite(want.e), "%s: the definition of y%d[%zu] gives %g +- %g u", op_name(l->op.kind), k, j, want.v, want.e);
            if (want.e > 0) bound = want.e * u + step(y.type, want.v);
            else type_set(y.type, &space, 0, want.v), want.v = type_get(y.type, &space, 0);
            if (!(fabs(got - want.v) <= bound)) return err("y%d[%zu] = %.9g, want %.9g +- %.2g", k, j, got, want.v, bound);
        }
    }
    return 0;
}

/* A NaN gets through every op that computes with it, so that the gradient norm sees it and the update is skipped. */
int check_nan(Case *c, Set *set)
{
    switch (c->op.kind) {
    case OP_FILL: case OP_EMBED: case OP_EMBED_DW: case OP_DROPOUT: return 0;       /* what they leave out may be the NaN */
    case OP_SUMSQ: return 0;                            /* its cases have NaNs of their own */
    case OP_UPDATE: if (at(c->op.x[1], CTL_BAD)) return 0;
    default: break;
    }
    double *x = c->op.x[0].p, kept = *x;
    *x = NAN;
    Layout l;
    lay_out(&l, c, set);
    *x = kept;
    uint8_t *after = hold(c, l.size);
    int failed = layout_run(&l, after), seen = 0;
    for (int k = 0; !failed && k < OUTPUTS; k++) {
        Tensor y = l.op.y[k];
        for (size_t j = 0; y.p && j < tensor_count(y); j++) seen |= isnan(type_get(y.type, after + ((char *)y.p - pool_of(set)), element(y, j)));
    }
    layout_close(&l);
    return failed ? -1 : seen ? 0 : err("a NaN in x0 is lost");
}

int check_case(Case *c, Set *set)
{
    static const int threads[] = { 1, 2, 5, 1 };
    Layout l;
    lay_out(&l, c, set);
    uint8_t *first = malloc(l.size), *again = malloc(l.size);
    CHECK(first && again, "no memory for %zu bytes", l.size);
    int failed = 0;
    for (size_t k = 0; !failed && k < sizeof threads / sizeof *threads; k++) {
        omp_set_num_threads(threads[k]);
        failed = layout_run(&l, k ? again : first) || compare_kept(&l, k ? again : first) || (k && compare_again(&l, first, again, threads[k]));
    }
    if (!failed) failed = compare_want(c, &l, first);
    free(first), free(again);
    layout_close(&l);
    return failed ? -1 : 0;
}
