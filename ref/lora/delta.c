#include "lora/delta.h"
#include "base/err.h"
#include "lora/matrix.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The part's numbers, to free; NULL and err(). */
static double *read_part(const LoraFileModule *m, LoraRole role, const char *path)
{
    const SafetensorsEntry *e = m->part[role];
    double                 *x = malloc(e->count * sizeof *x);
    Safetensors             file = { .path = path };
    if (!x) return err("%s: %s: out of memory", path, e->name), NULL;
    if (safetensors_read(&file, e, T_F64, x)) return free(x), NULL;
    return x;
}

/* ---- LoRA ---- */

/* out (p, i, kk) = sum over q of core (p,q,kk) down (q,i) */
static void apply_core(double *out, const double *core, const double *down, int p, int q, int i, int kk)
{
    for (size_t a = 0; a < (size_t)p; a++)
        for (size_t b = 0; b < (size_t)q; b++)
            for (size_t c = 0; c < (size_t)i; c++)
                for (size_t d = 0; d < (size_t)kk; d++)
                    out[(a * (size_t)i + c) * (size_t)kk + d] += core[(a * (size_t)q + b) * (size_t)kk + d] * down[b * (size_t)i + c];
}

int lora_factors(LoraFactors *out, const LoraFileModule *m, const char *path)
{
    const SafetensorsEntry *core = m->part[LORA_MID];
    int                     rank = core ? (int)core->shape[0] : m->rank, kk = m->kernel * m->kernel;
    *out = (LoraFactors){ rank, m->o, m->columns, m->scale, read_part(m, LORA_DOWN, path), read_part(m, LORA_UP, path) };
    int status = out->down && out->up ? 0 : -1;
    if (!status && core) {
        double *mid = read_part(m, LORA_MID, path), *down = calloc((size_t)rank * (size_t)m->columns, sizeof *down);
        if (mid && down) {
            apply_core(down, mid, out->down, rank, m->rank, m->columns / kk, kk);
            free(out->down);
            out->down = down;
        } else status = mid ? err("%s: %s: out of memory", path, m->key) : -1, free(down);
        free(mid);
    }
    if (status) lora_factors_free(out);
    return status;
}

void lora_factors_free(LoraFactors *f)
{
    free(f->down);
    free(f->up);
    *f = (LoraFactors){ 0 };
}

static int plain_delta(double *delta, const LoraFileModule *m, const char *path)
{
    LoraFactors f;
    if (lora_factors(&f, m, path)) return -1;
    matrix_product(delta, f.up, f.down, f.o, f.rank, f.columns, f.scale, 0);
    lora_factors_free(&f);
    return 0;
}

/* ---- factors of LoHa and LoKr ---- */

/* out (o, columns) = a (o,r) b (r, columns); with a core: a (p,o), b (q,i), out[o,i] = sum over p, q of core[p,q] a[p,o] b[q,i]. To free. core: LORA_ROLES
 * where there can be none. */
static double *product_of(const LoraFileModule *m, LoraRole ra, LoraRole rb, LoraRole core, int o, int columns, const char *path)
{
    double *a = read_part(m, ra, path), *b = read_part(m, rb, path), *t = NULL, *turned = NULL, *wide = NULL;
    double *out = calloc((size_t)o * (size_t)columns, sizeof *out);
    int     r = (int)m->part[rb]->shape[0], status = a && b && out ? 0 : -1;
    if (!status && core < LORA_ROLES && m->part[core]) {
        int p = (int)m->part[core]->shape[0], i = (int)m->part[rb]->shape[1], kk = columns / i;
        t = read_part(m, core, path), turned = malloc(m->part[ra]->count * sizeof *turned), wide = calloc((size_t)p * (size_t)columns, sizeof *wide);
        status = t && turned && wide ? 0 : -1;
        if (!status) {
            apply_core(wide, t, b, p, r, i, kk);
            matrix_transpose(turned, a, p, o);
            matrix_product(out, turned, wide, o, p, columns, 1, 0);
        }
    } else if (!status) matrix_product(out, a, b, o, r, columns, 1, 0);
    free(a);
    free(b);
    free(t);
    free(turned);
    free(wide);
    if (status) return free(out), err("%s: %s: out of memory", path, m->key), NULL;
    return out;
}

static int loha_delta(double *delta, const LoraFileModule *m, const char *path)
{
    double *w1 = product_of(m, LORA_HADA_W1A, LORA_HADA_W1B, LORA_HADA_T1, m->o, m->columns, path);
    double *w2 = w1 ? product_of(m, LORA_HADA_W2A, LORA_HADA_W2B, LORA_HADA_T2, m->o, m->columns, path) : NULL;
    size_t  count = (size_t)m->o * (size_t)m->columns;
    for (size_t i = 0; w2 && i < count; i++) delta[i] = m->scale * w1[i] * w2[i];
    int status = w2 ? 0 : -1;
    free(w1);
    free(w2);
    return status;
}

/* One of LoKr's two matrices, (rows, columns). */
static double *lokr_matrix(const LoraFileModule *m, LoraRole whole, LoraRole core, int *rows, int *columns, const char *path)
{
    const SafetensorsEntry *e = m->part[whole], *a = m->part[whole + 1], *b = m->part[whole + 2], *t = core < LORA_ROLES ? m->part[core] : NULL;
    *rows = (int)(e ? e->shape[0] : t ? a->shape[1] : a->shape[0]);
    if (e) *columns = (int)(e->count / (size_t)e->shape[0]);
    else *columns = (int)(b->shape[1] * (t ? t->shape[2] * t->shape[3] : 1));
    return e ? read_part(m, whole, path) : product_of(m, whole + 1, whole + 2, core, *rows, *columns, path);
}

/* delta[a c', b d'] = w1[a,b] w2[c',d'], d' over channels and the kernel. */
static int lokr_delta(double *delta, const LoraFileModule *m, const char *path)
{
    int     a, b, c, d;
    double *w1 = lokr_matrix(m, LORA_LOKR_W1, LORA_ROLES, &a, &b, path), *w2 = w1 ? lokr_matrix(m, LORA_LOKR_W2, LORA_LOKR_T2, &c, &d, path) : NULL;
    int     status = w2 ? 0 : -1;
    for (size_t i = 0; !status && i < (size_t)a * (size_t)c; i++)
        for (size_t j = 0; j < (size_t)b * (size_t)d; j++)
            delta[i * (size_t)b * (size_t)d + j] = m->scale * w1[i / (size_t)c * (size_t)b + j / (size_t)d] * w2[i % (size_t)c * (size_t)d + j % (size_t)d];
    free(w1);
    free(w2);
    return status;
}

int lora_delta(double *delta, const LoraFileModule *m, const char *path)
{
    memset(delta, 0, (size_t)m->o * (size_t)m->columns * sizeof *delta);
    return m->kind == LORA_PLAIN ? plain_delta(delta, m, path) : m->kind == LORA_LOHA ? loha_delta(delta, m, path) : lokr_delta(delta, m, path);
}

/* ---- DoRA ---- */

/* w += weight (m (w + delta) / |w + delta| - w): a line is an output's row, or an input's column with its kernel. A line of length 0 stays one. */
static void add_decomposed(double *w, const double *delta, const double *magnitude, const LoraFileModule *m, int kk, double weight)
{
    int    out = m->magnitude == MAGNITUDE_OUT, inputs = m->columns / kk, lines = out ? m->o : inputs;
    size_t columns = (size_t)m->columns;
    for (size_t line = 0; line < (size_t)lines; line++) {
        double squares = 0;
        for (int pass = 0; pass < 2; pass++) {
            double ratio = squares > 0 ? magnitude[line] / sqrt(squares) : 0;
            size_t n = out ? columns : (size_t)m->o * (size_t)kk;
            for (size_t i = 0; i < n; i++) {
                size_t at = out ? line * columns + i : i / (size_t)kk * columns + line * (size_t)kk + i % (size_t)kk;
                double sum = w[at] + delta[at];
                if (!pass) squares += sum * sum;
                else w[at] += weight * (ratio * sum - w[at]);
            }
        }
    }
}

int lora_add(double *w, const LoraFileModule *m, int kk, double weight, const char *path)
{
    size_t  count = (size_t)m->o * (size_t)m->columns;
    double *delta = malloc(count * sizeof *delta), *magnitude = m->magnitude ? read_part(m, LORA_MAGNITUDE, path) : NULL;
    int     status = !delta ? err("%s: %s: out of memory for %zu numbers", path, m->key, count) : m->magnitude && !magnitude ? -1 : lora_delta(delta, m, path);
    if (!status && magnitude) add_decomposed(w, delta, magnitude, m, kk, weight);
    else if (!status)
        for (size_t i = 0; i < count; i++) w[i] += weight * delta[i];
    free(delta);
    free(magnitude);
    return status;
}
