#include "lora/tools.h"
#include "base/err.h"
#include "base/text.h"
#include "io/file.h"
#include "lora/matrix.h"
#include "lora/positional.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static Type type_of(const LoraTarget *to) { return to->type == T_COUNT ? T_F32 : to->type; }

static int open_lora(LoraFile *f, const char *path)
{
    if (lora_file_open(f, path)) return -1;
    if (lora_file_check(f, 0) == 0 && lora_place(f, NULL) == 0) return 0;
    lora_file_close(f);
    return -1;
}

/* Metadata of the first file, and what is true of these modules. */
static int describe(LoraOut *out, const LoraTarget *to, const LoraFile *f)
{
    if (to->strip) return 0;
    return lora_out_meta_of(out, f) || (to->layout == LORA_KOHYA && lora_out_network(out)) ? -1 : 0;
}

/* ---- convert ---- */

int lora_convert(const LoraTarget *to, const char *from)
{
    LoraFile f;
    LoraOut  out = { 0 };
    int      keep = to->type == T_COUNT, status = open_lora(&f, from);
    if (status) return -1;
    for (int i = 0; i < f.modules && !status; i++) status = lora_out_copy(&out, &f.module[i], keep, to->type, from);
    if (!status) status = lora_out_tokens(&out, &f, keep, to->type);
    if (!status && !to->strip) status = lora_out_meta_of(&out, &f);
    if (!status && !to->strip && to->layout == LORA_KOHYA && !lora_file_meta(&f, "ss_network_dim")) status = lora_out_network(&out);
    if (!status) status = lora_out_save(&out, to->path, to->layout);
    lora_out_close(&out);
    lora_file_close(&f);
    return status;
}

/* ---- ranks ---- */

static int clip(int index, int n) { return index < n - 1 ? (index > 1 ? index : 1) : (n - 1 > 1 ? n - 1 : 1); }

/* The first place at which the sum of s^power, from the largest, is at least this share of all. */
static int share(const double *s, int n, int power, double target)
{
    double all = 0, sum = 0;
    int    k = 0;
    for (int i = 0; i < n; i++) all += power == 2 ? s[i] * s[i] : s[i];
    while (k < n && (sum += power == 2 ? s[k] * s[k] : s[k]) < target * all) k++;
    return k + 1;
}

int lora_keep(const double *s, int n, int rank, LoraKeep keep, double param)
{
    int k = rank;
    if (keep == KEEP_RATIO)
        for (k = 0; k < n && s[k] > s[0] / param;) k++;
    if (keep == KEEP_CUMULATIVE) k = share(s, n, 1, param);
    if (keep == KEEP_FRO) k = share(s, n, 2, param * param);
    if (keep != KEEP_RANK) k = clip(k, n) + 1;
    if (n == 0 || !(s[0] > 0)) k = 1;
    return k < rank ? (k < n ? k : n) : (rank < n ? rank : n);
}

/* Singular triplets of a module's sum. */
typedef struct {
    double *u, *s, *v;
    int     o, n, count;
} Triplets;

static int triplets_open(Triplets *t, int o, int n, int count)
{
    size_t c = (size_t)count;
    *t = (Triplets){ malloc(c * (size_t)o * sizeof *t->u), malloc(c * sizeof *t->s), malloc(c * (size_t)n * sizeof *t->v), o, n, count };
    return t->u && t->s && t->v ? 0 : err("out of memory for %d singular values of %d x %d", count, o, n);
}

static void triplets_close(Triplets *t)
{
    free(t->u);
    free(t->s);
    free(t->v);
}

/* What a line of a report says: the module, its rank, and the share of its Frobenius norm that is left. total: of all values, of which these are the first. */
static void report_line(FILE *report, const char *key, const Triplets *t, int k, double total)
{
    double kept = 0;
    for (int i = 0; i < k; i++) kept += t->s[i] * t->s[i];
    if (report) fprintf(report, "%-80s rank %4d  norm left %.4f\n", key, k, total > 0 ? sqrt(kept) / total : 1);
}

/* down = v, up = u s, as kohya's tools divide them; s stands apart as `scale`. */
static int add_triplets(LoraOut *out, int is_unet, const char *path, const Triplets *t, int k, double scale, int conv, int kernel, Type type)
{
    LoraFactors f = { k, t->o, t->n, scale, t->v, malloc((size_t)t->o * (size_t)k * sizeof *f.up) };
    if (!f.up) return err("out of memory for a rank of %d", k);
    for (size_t i = 0; i < (size_t)t->o; i++)
        for (size_t j = 0; j < (size_t)k; j++) f.up[i * (size_t)k + j] = t->u[j * (size_t)t->o + i] * t->s[j];
    int status = lora_out_factors(out, is_unet, path, &f, conv, kernel, type);
    free(f.up);
    return status;
}

static int rank_for(const LoraRank *rank, int kernel) { return kernel > 1 && rank->conv_rank ? rank->conv_rank : rank->rank; }

/* ---- resize ---- */

static int resize_module(LoraOut *out, const LoraFileModule *m, const LoraRank *rank, Type type, const char *path, FILE *report)
{
    LoraFactors f;
    Triplets    t = { 0 };
    if (m->kind != LORA_PLAIN || m->magnitude) return err("%s: %s: only LoRA and LoCon can be resized, this is %s", path, m->key, lora_kind_name(m).s);
    if (lora_factors(&f, m, path)) return -1;
    int least = f.o < f.columns ? f.o : f.columns, conv = m->part[LORA_DOWN]->rank == 4;
    int status = triplets_open(&t, f.o, f.columns, f.rank < least ? f.rank : least) || matrix_svd(t.u, t.s, t.v, f.up, f.down, f.o, f.rank, f.columns) ? -1 : 0;
    if (!status) {
        int k = lora_keep(t.s, t.count, rank_for(rank, m->kernel), rank->keep, rank->param);
        status = add_triplets(out, m->is_unet, m->path.s, &t, k, m->scale, conv, m->kernel, type);
        report_line(report, m->key, &t, k, matrix_norm(t.s, 1, t.count));
    }
    triplets_close(&t);
    lora_factors_free(&f);
    return status;
}

/* The text becomes the value of a key. */
static int note(LoraOut *out, const char *key, Text *text)
{
    char *value = text_close(text);
    int   status = value ? lora_out_meta(out, key, value) : err("out of memory for metadata");
    free(value);
    return status;
}

/* The sentence that kohya's tool puts before the training's comment. */
static int comment(LoraOut *out, const LoraFile *f, const LoraRank *rank, int old)
{
    static const char *const words[] = { "", "sv_ratio", "sv_fro", "sv_cumulative" };
    const char              *before = lora_file_meta(f, "ss_training_comment");
    Text                     text;
    if (text_open(&text)) {
        if (rank->keep == KEEP_RANK) fprintf(text.out, "dimension is resized from %d to %d; ", old, rank->rank);
        else fprintf(text.out, "Dynamic resize with %s: %g from %d; ", words[rank->keep], rank->param, old);
        fputs(before ? before : "", text.out);
    }
    return note(out, "ss_training_comment", &text);
}

int lora_resize(const LoraTarget *to, const char *from, const LoraRank *rank, FILE *report)
{
    LoraFile f;
    LoraOut  out = { 0 };
    int      status = open_lora(&f, from), old = 0;
    if (status) return -1;
    for (int i = 0; i < f.modules && !status; i++) {
        status = resize_module(&out, &f.module[i], rank, type_of(to), from, report);
        if (f.module[i].rank > old) old = f.module[i].rank;
    }
    if (!status) status = lora_out_tokens(&out, &f, to->type == T_COUNT, to->type);
    if (!status) status = describe(&out, to, &f);
    if (!status && !to->strip) status = comment(&out, &f, rank, old);
    if (!status && rank->keep != KEEP_RANK && !to->strip)
        status = lora_out_meta(&out, "ss_network_dim", "Dynamic") || lora_out_meta(&out, "ss_network_alpha", "Dynamic") ? -1 : 0;
    if (!status) status = lora_out_save(&out, to->path, to->layout);
    lora_out_close(&out);
    lora_file_close(&f);
    return status;
}

/* ---- join ---- */

enum { MOST = 64 };                                     /* files */

/* The modules of all files that change one weight. */
typedef struct {
    const LoraFileModule *m[MOST];
    double                ratio[MOST];
    const char           *path[MOST];
    int                   count;
} Together;

static void gather(Together *g, const LoraFile *f, const LoraTerm *term, int terms, int is_unet, const char *path)
{
    g->count = 0;
    for (int i = 0; i < terms; i++) {
        const LoraFileModule *m = lora_file_find(&f[i], is_unet, path);
        if (m) g->m[g->count] = m, g->ratio[g->count] = term[i].ratio, g->path[g->count++] = f[i].path;
    }
}

/* All of the factors side by side, the scales and ratios within the up matrices. */
static int concatenate(LoraFactors *all, const Together *g)
{
    LoraFactors f;
    int         o = g->m[0]->o, n = g->m[0]->columns, at = 0;
    *all = (LoraFactors){ .o = o, .columns = n, .scale = 1 };
    for (int i = 0; i < g->count; i++) all->rank += g->m[i]->part[LORA_MID] ? (int)g->m[i]->part[LORA_MID]->shape[0] : g->m[i]->rank;
    all->down = malloc((size_t)all->rank * (size_t)n * sizeof *all->down), all->up = malloc((size_t)o * (size_t)all->rank * sizeof *all->up);
    if (!all->down || !all->up) return err("out of memory for a rank of %d", all->rank);
    for (int i = 0; i < g->count; i++) {
        if (lora_factors(&f, g->m[i], g->path[i])) return -1;
        memcpy(all->down + (size_t)at * (size_t)n, f.down, (size_t)f.rank * (size_t)n * sizeof *f.down);
        for (size_t row = 0; row < (size_t)o; row++)
            for (size_t r = 0; r < (size_t)f.rank; r++)
                all->up[row * (size_t)all->rank + (size_t)at + r] = g->ratio[i] * f.scale * f.up[row * (size_t)f.rank + r];
        at += f.rank;
        lora_factors_free(&f);
    }
    return 0;
}

/* The sum as a whole matrix, and its first triplets: for what is no low rank. */
static int whole_triplets(Triplets *t, double *total, const Together *g, int rank)
{
    int     o = g->m[0]->o, n = g->m[0]->columns, least = o < n ? o : n, status = 0;
    size_t  count = (size_t)o * (size_t)n;
    double *sum = calloc(2 * count, sizeof *sum);
    if (!sum) return err("out of memory for %zu numbers", count);
    double *delta = sum + count;
    for (int i = 0; i < g->count && !status; i++) {
        status = lora_delta(delta, g->m[i], g->path[i]);
        for (size_t k = 0; k < count; k++) sum[k] += g->ratio[i] * delta[k];
    }
    *total = matrix_norm(sum, o, n);
    if (!status) status = triplets_open(t, o, n, rank < least ? rank : least) || matrix_svd_large(t->u, t->s, t->v, sum, o, n, t->count, 1) ? -1 : 0;
    free(sum);
    return status;
}

static int check_together(const Together *g, int with_rank)
{
    for (int i = 0; i < g->count; i++) {
        const LoraFileModule *m = g->m[i];
        if (m->magnitude) return err("%s: %s: DoRA depends on the model's weights: it can be merged into a model only", g->path[i], m->key);
        if (m->kind != LORA_PLAIN && !with_rank)
            return err("%s: %s: %s has no low rank of its own: --new_rank says which to cut it to", g->path[i], m->key, lora_kind_name(m).s);
        if (m->o != g->m[0]->o || m->columns != g->m[0]->columns)
            return err("%s: %s: is for a weight of %d x %d, but of %d x %d in %s", g->path[i], m->key, m->o, m->columns, g->m[0]->o, g->m[0]->columns,
                       g->path[0]);
    }
    return 0;
}

/* How the sum's tensors are shaped: as those of the first plain module, else as the paths of SD's models tell. */
static void shape_of(int *conv, int *kernel, const Together *g)
{
    *conv = 0, *kernel = 1;
    for (int i = 0; i < g->count; i++) {
        const LoraFileModule *m = g->m[i];
        if (m->kind == LORA_PLAIN) *conv |= m->part[LORA_DOWN]->rank == 4;
        if (m->kernel > *kernel) *kernel = m->kernel, *conv = 1;
    }
    const char *path = g->m[0]->path.s, *last = strrchr(path, '.') ? strrchr(path, '.') + 1 : path;
    if (strcmp(last, "conv1") == 0 || strcmp(last, "conv2") == 0 || strcmp(last, "conv") == 0 || strcmp(last, "conv_in") == 0 || strcmp(last, "conv_out") == 0)
        *conv = 1, *kernel = 3;
    if (strcmp(last, "conv_shortcut") == 0) *conv = 1;
}

static int join_module(LoraOut *out, const Together *g, const LoraRank *rank, Type type, FILE *report)
{
    const LoraFileModule *first = g->m[0];
    LoraFactors           all = { 0 };
    Triplets              t = { 0 };
    double                total = 0;
    int                   plain = 1, conv, kernel, status = check_together(g, rank->rank > 0), least = first->o < first->columns ? first->o : first->columns;
    shape_of(&conv, &kernel, g);
    for (int i = 0; i < g->count; i++) plain &= g->m[i]->kind == LORA_PLAIN;
    if (!status && plain) status = concatenate(&all, g);
    if (!status && plain && !rank->rank) {
        status = lora_out_factors(out, first->is_unet, first->path.s, &all, conv, kernel, type);
        lora_factors_free(&all);
        return status;
    }
    int want = rank_for(rank, kernel);
    if (!status && plain) {
        status = triplets_open(&t, all.o, all.columns, all.rank < least ? all.rank : least) ||
                         matrix_svd(t.u, t.s, t.v, all.up, all.down, all.o, all.rank, all.columns)
                     ? -1 : 0;
        if (!status) total = matrix_norm(t.s, 1, t.count);
    } else if (!status) status = whole_triplets(&t, &total, g, want);
    if (!status) {
        int k = lora_keep(t.s, t.count, want, rank->keep, rank->param);
        status = add_triplets(out, first->is_unet, first->path.s, &t, k, 1, conv, kernel, type);
        report_line(report, lora_key(first->is_unet, first->path.s).s, &t, k, total);
    }
    lora_factors_free(&all);
    triplets_close(&t);
    return status;
}

/* What is true of the sum: the first file's base model, and what it was made from. */
static int describe_sum(LoraOut *out, const LoraTarget *to, const LoraFile *f, int terms)
{
    static const char *const of_first[] = { "ss_v2", "ss_base_model_version", "modelspec.architecture", "modelspec.prediction_type" };
    Text                     from;
    if (to->strip) return 0;
    for (size_t i = 0; i < sizeof of_first / sizeof *of_first; i++) {
        const char *value = lora_file_meta(&f[0], of_first[i]);
        if (value && lora_out_meta(out, of_first[i], value)) return -1;
    }
    if (lora_out_network(out)) return -1;
    FILE *print = text_open(&from);
    for (int i = 0; i < terms && print; i++) {
        const char *last = path_name(f[i].path);
        fprintf(print, "%s%.*s", i ? ", " : "", (int)(strlen(last) - strlen(path_extension(last))), last);
    }
    return note(out, "modelspec.merged_from", &from);
}

int lora_join(const LoraTarget *to, const LoraTerm *term, int terms, const LoraRank *rank, FILE *report)
{
    LoraOut   out = { 0 };
    LoraFile *f = calloc((size_t)terms, sizeof *f);
    int       opened = 0, status = f ? 0 : err("%s: out of memory for %d files", to->path, terms);
    if (terms > MOST) status = err("%s: expected at most %d files to join, found %d", to->path, MOST, terms);
    while (opened < terms && !status) {
        status = open_lora(&f[opened], term[opened].path);
        opened += !status;
    }
    for (int i = 0; i < opened && !status; i++)
        for (int k = 0; k < f[i].modules && !status; k++) {
            const LoraFileModule *m = &f[i].module[k];
            Together              g;
            int                   before = 0;
            for (int j = 0; j < i && !before; j++) before = lora_file_find(&f[j], m->is_unet, m->path.s) != NULL;
            if (before) continue;
            gather(&g, f, term, terms, m->is_unet, m->path.s);
            status = join_module(&out, &g, rank, type_of(to), report);
        }
    for (int i = 0; i < opened && !status; i++) status = lora_out_tokens(&out, &f[i], to->type == T_COUNT, to->type);
    if (!status) status = describe_sum(&out, to, f, terms);
    if (!status) status = lora_out_save(&out, to->path, to->layout);
    for (int i = 0; i < opened; i++) lora_file_close(&f[i]);
    free(f);
    lora_out_close(&out);
    return status;
}
