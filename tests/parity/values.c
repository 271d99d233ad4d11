#include "values.h"
#include "base/err.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Tensor host_new(Type type, int n, int h, int w, int c)
{
    Tensor t = tensor_of(NULL, type, n, h, w, c);
    t.p = calloc(tensor_count(t), type_size(type));
    CHECK(t.p, "no memory for (%d,%d,%d,%d)", n, h, w, c);
    return t;
}

double *values_add(Values *v, Name name, int n, int h, int w, int c)
{
    if (v->count == v->room) {
        v->room = v->room ? 2 * v->room : 64;
        v->value = realloc(v->value, (size_t)v->room * sizeof *v->value);
        CHECK(v->value, "no memory for %d values", v->room);
    }
    CHECK(!values_find(v, name.s), "%s is there twice", name.s);
    Tensor t = host_new(T_F64, n, h, w, c);
    v->value[v->count++] = (Value){ name, t };
    return t.p;
}

void values_take(Values *v, Name name, Set *set, Tensor t)
{
    double *x = values_add(v, name, t.n, t.h, t.w, t.c);
    CHECK(!set->download(set, tensor_of(x, T_F64, t.n, t.h, t.w, t.c), t), "%s: %s", name.s, err_text());
}

const Value *values_find(const Values *v, const char *name)
{
    for (int i = 0; i < v->count; i++)
        if (strcmp(v->value[i].name.s, name) == 0) return &v->value[i];
    return NULL;
}

void values_free(Values *v)
{
    for (int i = 0; i < v->count; i++) free(v->value[i].t.p);
    free(v->value);
    *v = (Values){ 0 };
}

/* ---- golden files ---- */

int gold_open(Gold *g, const char *path)
{
    g->file = safetensors_open(path);
    if (!g->file) return -1;
    g->used = calloc((size_t)g->file->count + 1, 1);
    CHECK(g->used, "no memory for %d marks", g->file->count);
    return 0;
}

void gold_close(Gold *g)
{
    safetensors_close(g->file);
    free(g->used);
}

/* (n,c,h,w) of an image, (o,i,k,k) of a convolution: to (n,h,w,c). What has fewer dimensions lies in the contract's order already. */
static Tensor shape_of(const SafetensorsEntry *e, Type type)
{
    int s[4] = { 1, 1, 1, 1 };
    for (int i = 0; i < e->rank; i++) s[i] = (int)e->shape[i];
    switch (e->rank) {
    case 4: return host_new(type, s[0], s[2], s[3], s[1]);
    case 3: return host_new(type, s[0], 1, s[1], s[2]);
    case 2: return host_new(type, s[0], 1, 1, s[1]);
    default: return host_new(type, s[0], 1, 1, 1);
    }
}

Tensor gold_read(Gold *g, Type type, const char *name)
{
    const SafetensorsEntry *e = safetensors_find(g->file, name);
    CHECK(e && e->rank <= 4, "%s: no %s", g->file->path, name);
    g->used[e - g->file->entry] = 1;
    Tensor t = shape_of(e, type);
    CHECK(!safetensors_read(g->file, e, type, t.p), "%s", err_text());
    if (e->rank < 4) return t;
    CHECK(type == T_F64, "%s: pictures are doubles here", name);
    double *file = t.p;
    t.p = host_new(type, t.n, t.h, t.w, t.c).p;
    weights_from_file(t.p, file, t.n, t.c, t.h * t.w);
    free(file);
    return t;
}

/* ---- comparing ---- */

static int same_shape(Tensor a, Tensor b) { return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c; }

static const double *found(Group *g, const Values *got, const char *name, Tensor like)
{
    const Value *v = values_find(got, name);
    g->compared++;
    if (v && same_shape(v->t, like)) return v->t.p;
    g->failed++;
    if (!v) printf("# %s: not computed\n", name);
    else printf("# %s: shape (%d,%d,%d,%d), want (%d,%d,%d,%d)\n", name, v->t.n, v->t.h, v->t.w, v->t.c, like.n, like.h, like.w, like.c);
    return NULL;
}

static double largest(const double *x, size_t count)
{
    double m = 0;
    for (size_t i = 0; i < count; i++) m = fmax(m, fabs(x[i]));
    return m;
}

static void judge(Group *g, const char *name, const char *what, double error, double bound)
{
    if (!(error / bound <= g->worst)) g->worst = error / bound;
    if (error <= bound) return;
    g->failed++;
    printf("# %s: %s %.3g, bound %.3g\n", name, what, error, bound);
}

/* Largest and root-mean-square difference. NaN in either array gives NaN in both, and fails. */
typedef struct {
    double largest, rms;
} Error;

static Error error_of(const double *got, const double *want, size_t count)
{
    Error  e = { 0, 0 };
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs(got[i] - want[i]);
        if (!(d <= e.largest)) e.largest = d;
        squares += d * d;
    }
    e.rms = sqrt(squares / (double)count);
    if (isnan(e.rms)) e.largest = e.rms;
    return e;
}

/* "grad." stands for all names that begin with it, "train.loss" for itself alone. */
static int is_meant(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && (name[length] == 0 || prefix[length - 1] == '.');
}

void compare_gold(Group *g, const Values *got, Gold *gold, const char *prefix, double bound)
{
    for (int i = 0; i < gold->file->count; i++) {
        const char *name = gold->file->entry[i].name;
        if (!is_meant(name, prefix)) continue;
        Tensor        want = gold_read(gold, T_F64, name);
        const double *x = found(g, got, name, want);
        if (x) judge(g, name, "largest error", error_of(x, want.p, tensor_count(want)).largest, bound * largest(want.p, tensor_count(want)));
        free(want.p);
    }
}

void compare_bits(Group *g, const Values *got, const Values *want)
{
    for (int i = 0; i < want->count; i++) {
        const Value  *w = &want->value[i];
        const double *x = found(g, got, w->name.s, w->t);
        size_t        count = tensor_count(w->t);
        if (!x || memcmp(x, w->t.p, count * sizeof *x) == 0) continue;
        g->failed++;
        printf("# %s: bits differ, by at most %.3g of %.3g\n", w->name.s, error_of(x, w->t.p, count).largest, largest(w->t.p, count));
    }
}

void compare_noise(Group *g, const Values *got, const Values *exact, const Values *noisy, int runs, double factor)
{
    for (int i = 0; i < exact->count; i++) {
        const Value  *w = &exact->value[i];
        const double *x = found(g, got, w->name.s, w->t);
        size_t        count = tensor_count(w->t);
        if (!x) continue;
        Error  e = error_of(x, w->t.p, count);
        double floor = 2 * FLT_EPSILON * largest(w->t.p, count), most = 0, squares = 0;
        for (int r = 0; r < runs; r++) {
            CHECK(strcmp(noisy[r].value[i].name.s, w->name.s) == 0, "%s, %s: runs of another order", noisy[r].value[i].name.s, w->name.s);
            Error n = error_of(noisy[r].value[i].t.p, w->t.p, count);
            most = fmax(most, n.largest);
            squares += n.rms * n.rms / runs;
        }
        judge(g, w->name.s, "largest error", e.largest, fmax(factor * most, floor));
        judge(g, w->name.s, "root-mean-square error", e.rms, fmax(factor * sqrt(squares), floor));
    }
}
