#include "check/shadow.h"
#include "base/err.h"
#include "check/layout.h"
#include "check/winograd.h"
#include "ops/wrap.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, TEXT = 700 };

typedef struct {
    Wrap   wrap;
    Set   *other;
    char  *pool;                                        /* of the other set's memory */
    size_t size, calls;
    int    started;
} Shadow;

/* ---- what both read ---- */

/* The longer of two sets' chains of additions; 0: as long as the sum. */
static int longer_chain(const Set *a, const Set *b)
{
    if (!a->chain || !b->chain) return 0;
    return a->chain > b->chain ? a->chain : b->chain;
}

/* The call as a case has it: its tensors, before it runs, as contiguous doubles. */
static int copy_case(Case *c, const Shadow *s, const Op *op)
{
    Set *set = s->wrap.inner;
    *c = (Case){ .values = STRUCTURED, .chain = longer_chain(set, s->other), .op = *op };
    for (int k = 0; k < OP_TENSORS; k++) {
        Tensor *t = op_tensor(&c->op, k), from = *t;
        if (!from.p) continue;
        *t = tensor_of(hold(c, tensor_count(from) * sizeof(double)), T_F64, from.n, from.h, from.w, from.c);
        if (set->download(set, *t, from)) return -1;
        t->type = from.type;
    }
    if (op->kind == OP_UPDATE && !op->y[3].p) {         /* the definition writes it, though the set has none */
        Tensor w = c->op.y[0];
        c->op.y[3] = tensor_of(hold(c, tensor_count(w) * sizeof(double)), w.type, w.n, w.h, w.w, w.c);
    }
    return 0;
}

static Tensor as_doubles(Tensor t) { return tensor_of(t.p, T_F64, t.n, t.h, t.w, t.c); }

/* ---- the other's run ---- */

/* The type that the other set has for what this one keeps as `type`: act for act, acc for acc; ids and weights that are narrower stay what they are. */
static Type other_type(const Shadow *s, Type type)
{
    return type == s->wrap.inner->acc ? s->other->acc : type == s->wrap.inner->act ? s->other->act : type;
}

static size_t claim(size_t *bytes, size_t more)
{
    size_t at = *bytes;
    *bytes += (more + ALIGN - 1) / ALIGN * ALIGN;
    return at;
}

/* Lays op out from `pool` on, without gaps; returns the bytes that it takes. Of an op without memory, pool NULL, only those. */
static size_t lay_out_other(Shadow *s, Op *mine, const Op *op, char *pool)
{
    Set   *set = s->other;
    size_t bytes = ALIGN;                               /* so that no place is NULL */
    *mine = *op;
    for (int k = 0; k < OP_TENSORS; k++) {
        Tensor *t = op_tensor(mine, k);
        if (!t->p) continue;
        *t = tensor_of(NULL, other_type(s, t->type), t->n, t->h, t->w, t->c);
        t->p = pool + claim(&bytes, tensor_count(*t) * type_size(t->type));
    }
    for (int k = 0; k <= MAX_SEG; k++) {
        Weight *w = k < MAX_SEG ? &mine->seg[k].w : &mine->w;
        size_t  packed = w->t.p ? set->pack(set, w, NULL) : 0;
        w->packed = packed ? pool + claim(&bytes, packed) : NULL;
    }
    size_t need = set->need(set, mine);
    mine->scratch = need ? pool + claim(&bytes, need) : NULL;
    return bytes;
}

static int run_other(Shadow *s, Op *mine, const Case *c, const Op *op)
{
    Set   *set = s->other;
    Op     given = c->op;
    size_t bytes = lay_out_other(s, mine, op, (char *)(uintptr_t)ALIGN);
    if (bytes > s->size) {
        if (s->pool) set->release(set, s->pool, s->size);
        s->size = 2 * bytes;
        if (!(s->pool = set->alloc(set, s->size))) return s->size = 0, -1;
    }
    lay_out_other(s, mine, op, s->pool);
    for (int k = 0; k < OP_TENSORS; k++) {
        const Tensor *t = op_tensor(mine, k);
        if (t->p && set->upload(set, *t, as_doubles(*op_tensor(&given, k)))) return -1;
    }
    for (int k = 0; k <= MAX_SEG; k++) {
        Weight *w = k < MAX_SEG ? &mine->seg[k].w : &mine->w;
        if (w->packed) set->pack(set, w, w->packed);
    }
    return set->run(set, mine);
}

/* ---- comparing ---- */

static int refuse(const Shadow *s, const Op *op, int k, size_t j, double got, double other, Num want, double bound)
{
    char   text[TEXT] = "";
    Op     copy = *op;
    Tensor y = op->y[k];
    size_t c = (size_t)y.c, w = (size_t)y.w, h = (size_t)y.h;
    for (int i = 0, used = 0; i < OP_TENSORS && used < TEXT - 80; i++) {
        Tensor *t = op_tensor(&copy, i);
        if (t->p) used += snprintf(text + used, TEXT - (size_t)used, ", %s %s (%d,%d,%d,%d)", role_names[i], type_name(t->type), t->n, t->h, t->w, t->c);
    }
    return err("call %zu, %s of %s%s%s%s%s: %s at (%zu,%zu,%zu,%zu): %s %.9g, %s %.9g, by definition %.9g +- %.2g%s", s->calls, op_name(op->kind),
               op->place.part ? op->place.part : "the run", op->place.module ? ", " : "", op->place.module ? op->place.module : "",
               op->place.detail ? ", " : "", op->place.detail ? op->place.detail : "", role_names[k], j / (c * w * h), j / (c * w) % h, j / c % w, j % c,
               s->wrap.inner->name, got, s->other->name, other, want.v, bound, text);
}

/* What the transforms of a convolution by Winograd add to the bound on this set; NULL: nothing. */
static double *transformed(Case *c, const Set *set, const Op *op)
{
    int m = set->transform ? set->transform(set, op) : 0;
    return m ? winograd_error(c, m) : NULL;
}

static int compare_output(Shadow *s, Case *c, const Op *op, const Op *mine, int k)
{
    Set    *set = s->wrap.inner, *other = s->other;
    Tensor  y = op->y[k];
    size_t  count = tensor_count(y);
    double *got = hold(c, count * sizeof *got), *theirs = hold(c, count * sizeof *theirs), bound = 0;
    double *more = k == 0 ? transformed(c, set, op) : NULL, *more_theirs = k == 0 ? transformed(c, other, mine) : NULL;
    if (set->download(set, tensor_of(got, T_F64, y.n, y.h, y.w, y.c), y) || other->download(other, tensor_of(theirs, T_F64, y.n, y.h, y.w, y.c), mine->y[k]))
        return -1;
    for (size_t j = 0; j < count; j++) {
        Num want = c->want[k][j], mine_want = want, their_want = want;
        if (!isfinite(want.v) || !isfinite(want.e)) continue;           /* left open, or it follows from an input that is not finite */
        if (more) mine_want.e += more[j];
        if (more_theirs) their_want.e += more_theirs[j];
        if (check_fits(got[j], mine_want, y.type, check_roundoff(set), &bound) &&
            check_fits(theirs[j], their_want, mine->y[k].type, check_roundoff(other), &(double){ 0 }))
            continue;
        return refuse(s, op, k, j, got[j], theirs[j], want, bound);
    }
    return 0;
}

static int run(Set *set, const Op *op)
{
    Shadow *s = (Shadow *)set;
    Set    *inner = s->wrap.inner;
    Case    c;
    Op      mine;
    if (!s->started) return inner->run(inner, op);
    s->calls++;
    if (op_check(inner, op)) return -1;
    int status = copy_case(&c, s, op);
    if (status || inner->run(inner, op) || inner->sync(inner) || run_other(s, &mine, &c, op) || s->other->sync(s->other)) status = -1;
    if (!status) checks[op->kind].define(&c);
    for (int k = 0; k < OUTPUTS && !status; k++)
        if (op->y[k].p) status = compare_output(s, &c, op, &mine, k);
    case_close(&c);
    return status;
}

Set *shadow_open(Set *set, Set *other)
{
    int told = set->act != set->acc || other->act == other->acc;        /* is it clear which type of `other` stands for which? */
    if (!told || type_size(other->act) < type_size(set->act) || type_size(other->acc) < type_size(set->acc)) {
        err("shadow %s: keeps %s and %s, which cannot hold the %s and %s of set %s: give them the other way round", other->name, type_name(other->act),
            type_name(other->acc), type_name(set->act), type_name(set->acc), set->name);
        return NULL;
    }
    Shadow *s = calloc(1, sizeof *s);
    if (!s) return err("out of memory for a shadow"), NULL;
    wrap_open(&s->wrap, set);
    s->other = other, s->wrap.set.run = run;
    return &s->wrap.set;
}

void   shadow_start(Set *shadow) { ((Shadow *)shadow)->started = 1; }
size_t shadow_calls(const Set *shadow) { return ((const Shadow *)shadow)->calls; }

void shadow_close(Set *shadow)
{
    Shadow *s = (Shadow *)shadow;
    if (!s) return;
    if (s->pool) s->other->release(s->other, s->pool, s->size);
    free(s);
}
