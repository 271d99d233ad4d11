#include "lora/info.h"
#include "base/err.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const layout_names[] = { "none", "kohya", "diffusers", "PEFT", "cloneofsimo" };
static const char *const kind_names[] = { "text encoder", "attention", "feed-forward", "convolution", "other" };
const char *info_layout_name(InfoLayout layout) { return layout_names[layout]; }
const char *info_kind_name(ModuleKind kind) { return kind_names[kind]; }

/* ---- names ---- */

static const struct {
    InfoLayout  layout;
    const char *down, *up;
} endings[] = {
    { LAYOUT_KOHYA, ".lora_down.weight", ".lora_up.weight" },
    { LAYOUT_PEFT, ".lora_A.weight", ".lora_B.weight" },
    { LAYOUT_DIFFUSERS, ".lora.down.weight", ".lora.up.weight" },
    { LAYOUT_DIFFUSERS, "_lora.down.weight", "_lora.up.weight" },
    { LAYOUT_DIFFUSERS, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight" },
    { LAYOUT_CLONEOFSIMO, ":down", ":up" },
};
enum { ENDINGS = sizeof endings / sizeof *endings };

static int ends_with(const char *text, const char *ending)
{
    size_t a = strlen(text), b = strlen(ending);
    return a > b && strcmp(text + a - b, ending) == 0;
}

static int has(const char *text, const char *word) { return strstr(text, word) != NULL; }

static ModuleKind kind_of(const char *key)
{
    if (strncmp(key, "lora_te", 7) == 0 || has(key, "text_encoder") || has(key, "text_model")) return KIND_TEXT;
    if (has(key, "ff_net") || has(key, "ff.net")) return KIND_FEED_FORWARD;
    if (has(key, "attn") || has(key, "proj_in") || has(key, "proj_out")) return KIND_ATTENTION;
    int conv = has(key, "resnets") || has(key, "samplers") || has(key, "conv") || has(key, "_in_layers") || has(key, "_out_layers") || has(key, "_op");
    return conv ? KIND_CONV : KIND_OTHER;
}

/* The name of a module's tensor: its key, `length` bytes of a name, and an ending. NULL where there is none. */
static const SafetensorsEntry *find(const Safetensors *file, const char *key, size_t length, const char *ending)
{
    char *name = malloc(length + strlen(ending) + 1);
    if (!name) return NULL;
    memcpy(name, key, length);
    strcpy(name + length, ending);
    const SafetensorsEntry *e = safetensors_find(file, name);
    free(name);
    return e;
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

/* Largest eigenvalue of P Q, both symmetric and not negative, by power iteration (von Mises 1929). In the product <x,y> = x^T Q y the matrix is symmetric, so
 * the Rayleigh quotient (Qv)^T P (Qv) / v^T Q v grows to it, its error being the square of the vector's. work: 3 r. */
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

static size_t count_bad(const double *x, size_t n)
{
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) bad += !isfinite(x[i]);
    return bad;
}

/* down (r,i), up (o,r): their numbers in double. */
static int measure(InfoModule *m, const double *down, const double *up)
{
    int     r = m->rank;
    size_t  i = m->down->count / (size_t)r, o = m->up->count / (size_t)r, rr = (size_t)r * (size_t)r, zeros = 0;
    double *p = malloc((2 * rr + 3 * (size_t)r) * sizeof *p), *q = p + rr;
    if (!p) return err("%s: out of memory for a rank of %d", m->key, r);
    while (zeros < m->up->count && up[zeros] == 0) zeros++;
    m->dead = zeros == m->up->count;
    m->bad = count_bad(down, m->down->count) + count_bad(up, m->up->count);
    m->norm = m->largest = NAN;
    if (!m->bad && isfinite(m->scale)) {
        double sum = 0, s = fabs(m->scale);
        gram(p, up, r, o, 1, (size_t)r);
        gram(q, down, r, i, i, 1);
        for (size_t k = 0; k < rr; k++) sum += p[k] * q[k];
        m->norm = s * sqrt(sum > 0 ? sum : 0);
        m->largest = s * sqrt(largest_eigenvalue(p, q, r, q + rr));
    }
    free(p);
    return 0;
}

/* ---- modules ---- */

static int check_shapes(const InfoModule *m, const Safetensors *file)
{
    const SafetensorsEntry *d = m->down, *u = m->up;
    if (d->rank < 2 || u->rank < 2) return err("%s: %s: expected matrices or convolutions", file->path, m->key);
    if (d->shape[0] < 1 || d->shape[0] > 65536 || u->shape[1] != d->shape[0] || u->count != (size_t)u->shape[0] * (size_t)u->shape[1] || !d->count || !u->count)
        return err("%s: %s: down and up do not fit: expected (rank,i) and (o,rank), found (%lld,...) and (%lld,%lld)", file->path, m->key,
                   (long long)d->shape[0], (long long)u->shape[0], (long long)u->shape[1]);
    return 0;
}

static int read_module(InfoModule *m, const Safetensors *file)
{
    double  alpha = m->rank = (int)m->down->shape[0];
    double *down = malloc(m->down->count * sizeof *down), *up = malloc(m->up->count * sizeof *up);
    int     status = down && up ? 0 : err("%s: %s: out of memory", file->path, m->key);
    if (!status && m->alpha && m->alpha->count != 1) status = err("%s: %s: expected one number, found %zu", file->path, m->alpha->name, m->alpha->count);
    if (!status && m->alpha) status = safetensors_read(file, m->alpha, T_F64, &alpha);
    if (!status) status = safetensors_read(file, m->down, T_F64, down) || safetensors_read(file, m->up, T_F64, up) ? -1 : 0;
    m->scale = alpha / m->rank;
    m->params = m->down->count + m->up->count;
    if (!status) status = measure(m, down, up);
    free(down);
    free(up);
    return status;
}

/* Takes the module that entry e is a half of; the down half brings it. 0, or -1 and err(). */
static int take(LoraInfo *info, const Safetensors *file, const SafetensorsEntry *e)
{
    for (int k = 0; k < ENDINGS; k++) {
        int is_down = ends_with(e->name, endings[k].down);
        if (!is_down && !ends_with(e->name, endings[k].up)) continue;
        const char             *other = is_down ? endings[k].up : endings[k].down;
        size_t                  length = strlen(e->name) - strlen(is_down ? endings[k].down : endings[k].up);
        const SafetensorsEntry *mate = find(file, e->name, length, other);
        if (!mate) return err("%s: %s: its other half is missing: %.*s%s", file->path, e->name, (int)length, e->name, other);
        if (!is_down) return 0;
        InfoModule *m = &info->module[info->modules];
        *m = (InfoModule){ .key = strndup(e->name, length), .down = e, .up = mate, .alpha = find(file, e->name, length, ".alpha") };
        if (!m->key) return err("%s: out of memory", file->path);
        m->kind = kind_of(m->key);
        info->modules++;
        info->layout = endings[k].layout;
        return check_shapes(m, file);
    }
    size_t length = strlen(e->name) - (ends_with(e->name, ".alpha") ? strlen(".alpha") : 0);
    if (e->name[length] && find(file, e->name, length, ".lora_down.weight")) return 0;
    if (!info->others++) info->other = e;
    return 0;
}

int lora_info_open(LoraInfo *info, const Safetensors *file)
{
    *info = (LoraInfo){ .module = calloc((size_t)file->count + 1, sizeof *info->module) };
    int status = info->module ? 0 : err("%s: out of memory for %d modules", file->path, file->count);
    for (int i = 0; i < file->count && !status; i++) status = take(info, file, &file->entry[i]);
    for (int i = 0; i < info->modules && !status; i++) status = read_module(&info->module[i], file);
    if (status) lora_info_close(info);
    return status;
}

void lora_info_close(LoraInfo *info)
{
    for (int i = 0; i < info->modules; i++) free(info->module[i].key);
    free(info->module);
    *info = (LoraInfo){ 0 };
}
