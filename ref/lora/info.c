#include "lora/info.h"
#include "base/err.h"
#include "lora/delta.h"
#include "lora/positional.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = { "text encoder", "attention", "feed-forward", "convolution", "other" };
const char *info_kind_name(ModuleKind kind) { return kind_names[kind]; }

static int has(const char *text, const char *word) { return strstr(text, word) != NULL; }

static ModuleKind kind_of(const LoraFileModule *m)
{
    const char *path = m->path.s;
    if (!m->is_unet) return KIND_TEXT;
    if (has(path, "ff.net")) return KIND_FEED_FORWARD;
    if (has(path, "attn") || has(path, "proj_in") || has(path, "proj_out")) return KIND_ATTENTION;
    int conv = has(path, "resnets") || has(path, "samplers") || has(path, "conv") || has(path, ".in.layers") || has(path, ".out.layers");
    return conv ? KIND_CONV : KIND_OTHER;
}

/* ---- numbers ---- */

/* p (r,r) = x x^T, x (r,n) with rows `row` and columns `col` elements apart. */
static void gram(double *p, const double *x, int r, size_t n, size_t row, size_t col)
{
    for (int i = 0; i < r; i++)
        for (int j = i; j < r; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) sum += x[(size_t)i * row + k * col] * x[(size_t)j * row + k * col];
            p[i * r + j] = p[j * r + i] = sum;
        }
}

static void times(double *y, const double *p, const double *x, int r)
{
    for (int i = 0; i < r; i++) {
        y[i] = 0;
        for (int j = 0; j < r; j++) y[i] += p[i * r + j] * x[j];
    }
}

static double dot(const double *x, const double *y, int r)
{
    double sum = 0;
    for (int i = 0; i < r; i++) sum += x[i] * y[i];
    return sum;
}

/* Largest eigenvalue of P Q, both symmetric and positive semidefinite, by power iteration (von Mises 1929). In the product <x,y> = x^T Q y the matrix is
 * symmetric, so the Rayleigh quotient (Qv)^T P (Qv) / v^T Q v grows to it, its error being the square of the vector's. work: 3 r. */
static double largest_eigenvalue(const double *p, const double *q, int r, double *work)
{
    enum { ROUNDS = 1000 };
    double *v = work, *qv = v + r, *next = qv + r, lambda = 0;
    for (int i = 0; i < r; i++) v[i] = 1 + 0.37 * ((i * 7) % 11);           /* no direction that a matrix is likely to miss */
    for (int round = 0; round < ROUNDS; round++) {
        times(qv, q, v, r);
        times(next, p, qv, r);
        double length = dot(v, qv, r), before = lambda, scale = sqrt(dot(next, next, r));
        if (!(length > 0) || !(scale > 0)) return lambda;
        lambda = dot(qv, next, r) / length;
        for (int i = 0; i < r; i++) v[i] = next[i] / scale;
        if (fabs(lambda - before) <= 1e-14 * lambda) break;
    }
    return lambda;
}

static void count_bad(InfoModule *m, const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) m->bad += !isfinite(x[i]);
}

/* Largest singular value of x (rows,columns), by power iteration on x^T x; work: rows + columns. */
static double largest_of(const double *x, int rows, int columns, double *work)
{
    enum { ROUNDS = 300 };
    double *v = work, *u = v + columns, sigma = 0;
    for (int j = 0; j < columns; j++) v[j] = 1 + 0.37 * ((j * 7) % 11);
    for (int round = 0; round < ROUNDS; round++) {
        double length = sqrt(dot(v, v, columns)), before = sigma;
        if (!(length > 0)) return 0;
        for (int j = 0; j < columns; j++) v[j] /= length;
        for (int i = 0; i < rows; i++) u[i] = dot(x + (size_t)i * (size_t)columns, v, columns);
        sigma = sqrt(dot(u, u, rows));
        memset(v, 0, (size_t)columns * sizeof *v);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) v[j] += u[i] * x[(size_t)i * (size_t)columns + (size_t)j];
        if (fabs(sigma - before) <= 1e-14 * sigma) break;
    }
    return sigma;
}

/* ---- modules ---- */

static int measure_plain(InfoModule *m, const char *path)
{
    LoraFactors f;
    if (lora_factors(&f, m->file, path)) return -1;
    int     r = f.rank;
    size_t  rr = (size_t)r * (size_t)r, up = (size_t)f.o * (size_t)r, zeros = 0;
    double *p = malloc((2 * rr + 3 * (size_t)r) * sizeof *p), sum = 0, s = fabs(f.scale);
    if (!p) return lora_factors_free(&f), err("%s: %s: out of memory for a rank of %d", path, m->file->key, r);
    double *q = p + rr;
    while (zeros < up && f.up[zeros] == 0) zeros++;
    m->dead = zeros == up;
    count_bad(m, f.down, (size_t)r * (size_t)f.columns);
    count_bad(m, f.up, up);
    gram(p, f.up, r, (size_t)f.o, 1, (size_t)r);
    gram(q, f.down, r, (size_t)f.columns, (size_t)f.columns, 1);
    for (size_t k = 0; k < rr; k++) sum += p[k] * q[k];
    m->norm = s * sqrt(sum > 0 ? sum : 0);
    if (!m->bad) m->largest = s * sqrt(largest_eigenvalue(p, q, r, q + rr));
    free(p);
    lora_factors_free(&f);
    return 0;
}

static int measure_whole(InfoModule *m, const char *path)
{
    int     o = m->file->o, columns = m->file->columns;
    size_t  count = (size_t)o * (size_t)columns;
    double *delta = malloc((count + (size_t)o + (size_t)columns) * sizeof *delta);
    int     status = delta ? lora_delta(delta, m->file, path) : err("%s: %s: out of memory for %zu numbers", path, m->file->key, count);
    if (!status) {
        double squares = 0;
        count_bad(m, delta, count);
        for (size_t i = 0; i < count; i++) squares += delta[i] * delta[i];
        m->norm = sqrt(squares), m->dead = squares == 0;
        if (!m->bad) m->largest = largest_of(delta, o, columns, delta + count);
    }
    free(delta);
    return status;
}

static int measure(InfoModule *m, const char *path)
{
    for (int r = 0; r < LORA_ROLES; r++)
        if (r != LORA_ALPHA && m->file->part[r]) m->params += m->file->part[r]->count;
    m->kind = kind_of(m->file);
    int status = m->file->kind == LORA_PLAIN ? measure_plain(m, path) : measure_whole(m, path);
    if (m->bad || !isfinite(m->norm)) m->norm = m->largest = NAN;
    return status;
}

static int measure_all(LoraInfo *info)
{
    LoraFile *f = &info->file;
    info->module = calloc((size_t)f->modules + 1, sizeof *info->module);
    int status = info->module ? lora_place(f, NULL) : err("%s: out of memory for %d modules", f->path, f->modules);
    if (info->module && status && f->layout == LORA_CLONEOFSIMO) status = 0;           /* of another model: its modules are numbers then */
    for (int i = 0; i < f->modules && !status; i++) {
        info->module[i].file = &f->module[i];
        status = measure(&info->module[i], f->path);
    }
    if (status) lora_info_close(info);
    return status;
}

int lora_info_open(LoraInfo *info, const Safetensors *file)
{
    *info = (LoraInfo){ 0 };
    return lora_file_of(&info->file, file) ? -1 : measure_all(info);
}

int lora_info_path(LoraInfo *info, const char *path)
{
    *info = (LoraInfo){ 0 };
    return lora_file_open(&info->file, path) ? -1 : measure_all(info);
}

void lora_info_close(LoraInfo *info)
{
    free(info->module);
    lora_file_close(&info->file);
    *info = (LoraInfo){ 0 };
}
