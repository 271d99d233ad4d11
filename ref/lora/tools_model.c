#include "base/err.h"
#include "lora/matrix.h"
#include "lora/positional.h"
#include "lora/tools.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The weight of a module in a part of a model; a text encoder's names may lack text_model. */
static const SafetensorsEntry *weight_of(const Safetensors *part, const char *path)
{
    const char             *skip = "text_model.";
    const SafetensorsEntry *e = part ? safetensors_find(part, name("%s.weight", path).s) : NULL;
    if (!e && part && strncmp(path, skip, strlen(skip)) == 0) e = safetensors_find(part, name("%s.weight", path + strlen(skip)).s);
    return e && (e->rank == 2 || e->rank == 4) ? e : NULL;
}

static size_t rows_of(const SafetensorsEntry *e) { return (size_t)e->shape[0]; }
static int    kernel_of(const SafetensorsEntry *e) { return e->rank == 4 ? (int)e->shape[2] : 1; }

/* ---- merging ---- */

/* A part's entries, some of which are changed: those have data of their own. */
typedef struct {
    Safetensors       tensors;
    SafetensorsEntry *entry;
    void            **own;
} Changed;

static int changed_open(Changed *c, const Safetensors *part)
{
    *c = (Changed){ .tensors = *part, .entry = malloc(((size_t)part->count + 1) * sizeof *c->entry), .own = calloc((size_t)part->count + 1, sizeof *c->own) };
    if (!c->entry || !c->own) return err("%s: out of memory for %d tensors", part->path, part->count);
    memcpy(c->entry, part->entry, (size_t)part->count * sizeof *c->entry);
    c->tensors.entry = c->entry;
    return 0;
}

static void changed_close(Changed *c)
{
    for (int i = 0; c->own && i < c->tensors.count; i++) free(c->own[i]);
    free(c->entry);
    free(c->own);
}

/* All that the files add to one weight, in double, rounded once. */
static int merge_weight(Changed *c, const SafetensorsEntry *e, const LoraFile *f, const LoraTerm *term, int terms, int is_unet, const char *path, Type type)
{
    int     index = (int)(e - c->tensors.entry), kk = kernel_of(e) * kernel_of(e), status = 0;
    Type    stored = type == T_COUNT ? e->type : type;
    double *w = malloc(e->count * sizeof *w);
    void   *data = malloc(e->count * type_size(stored));
    if (!w || !data) status = err("%s: %s: out of memory for %zu numbers", c->tensors.path, e->name, e->count);
    if (!status) status = safetensors_read(&c->tensors, e, T_F64, w);
    for (int i = 0; i < terms && !status; i++) {
        const LoraFileModule *m = lora_file_find(&f[i], is_unet, path);
        if (!m) continue;
        if ((size_t)m->o != rows_of(e) || (size_t)m->o * (size_t)m->columns != e->count || (m->kernel && m->kernel != kernel_of(e)))
            status = err("%s: %s: expected to change a weight of %zu x %zu, found %d x %d: this LoRA is for another model", f[i].path, m->key, rows_of(e),
                         e->count / rows_of(e), m->o, m->columns);
        else status = lora_add(w, m, kk, term[i].ratio, f[i].path);
    }
    if (!status) {
        type_convert(stored, data, T_F64, w, e->count);
        c->entry[index].type = stored, c->entry[index].data = c->own[index] = data;
        c->entry[index].bytes = e->count * type_size(stored), c->entry[index].in_memory = 1;
    } else free(data);
    free(w);
    return status;
}

static int merge_files(Changed c[MODEL_PARTS], const LoraFile *f, const LoraTerm *term, int terms, Type type, int unmatched)
{
    for (int i = 0; i < terms; i++)
        for (int k = 0; k < f[i].modules; k++) {
            const LoraFileModule   *m = &f[i].module[k];
            Changed                *part = &c[m->is_unet ? MODEL_UNET : MODEL_TEXT];
            const SafetensorsEntry *e = part->entry ? weight_of(&part->tensors, m->path.s) : NULL;
            if (!e && !unmatched) return err("%s: %s: belongs to no module of this model", f[i].path, m->key);
            if (!e || part->own[e - part->tensors.entry]) continue;
            if (merge_weight(part, e, f, term, terms, m->is_unet, m->path.s, type)) return -1;
        }
    return 0;
}

static int check_words(const LoraFile *f, int unmatched)
{
    if (!f->tokens || unmatched) return 0;
    return err("%s: %s: a model has no place for a learned word; --allow_unmatched leaves it out", f->path, lora_token_name(f->token[0]).s);
}

int lora_merge_model(const char *to, ModelLayout layout, Type type, const ModelSource *source, const LoraTerm *term, int terms, int unmatched)
{
    Changed     c[MODEL_PARTS] = { 0 };
    LoraFile   *f = calloc((size_t)terms, sizeof *f);
    ModelFiles *model = f ? model_files_open(source) : NULL;
    int         opened = 0, status = model ? 0 : f ? -1 : err("%s: out of memory", to);
    for (; opened < terms && !status; opened += !status) {
        status = lora_file_open(&f[opened], term[opened].path);
        if (!status && (lora_file_check(&f[opened], unmatched) || check_words(&f[opened], unmatched) || lora_place(&f[opened], NULL)))
            status = -1, lora_file_close(&f[opened]);
    }
    for (int p = 0; p < MODEL_PARTS && !status; p++)
        if (model->part[p]) status = changed_open(&c[p], model->part[p]);
    if (!status) status = merge_files(c, f, term, terms, type, unmatched);
    if (!status) {
        ModelContent content = { .rest = model->rest, .config = &model->config, .tokenizer = model->tokenizer };
        for (int p = 0; p < MODEL_PARTS; p++) content.part[p] = c[p].entry ? &c[p].tensors : NULL;
        status = model_files_write(to, layout, type, &content);
    }
    for (int p = 0; p < MODEL_PARTS; p++) changed_close(&c[p]);
    for (int i = 0; i < opened; i++) lora_file_close(&f[i]);
    free(f);
    model_files_close(model);
    return status;
}

/* ---- extracting ---- */

/* The rank for a weight, 0: it is none of kohya's modules. */
static int rank_of(const SafetensorsEntry *e, const char *path, int is_unet, const LoraRank *rank)
{
    if (!is_unet) return strstr(path, ".layers.") && e->rank == 2 ? rank->rank : 0;
    if (strstr(path, ".attentions.")) return rank->rank;
    if (!rank->conv_rank || !(strstr(path, ".resnets.") || strstr(path, "samplers."))) return 0;
    return kernel_of(e) > 1 ? rank->conv_rank : rank->rank;
}

/* delta = tuned - org, in double. */
static double *difference(const Safetensors *org, const SafetensorsEntry *a, const Safetensors *tuned, const SafetensorsEntry *b)
{
    if (a->count != b->count) return err("%s: %s: of another shape than in %s", tuned->path, b->name, org->path), NULL;
    double *x = malloc(2 * a->count * sizeof *x);
    if (!x) return err("%s: %s: out of memory for %zu numbers", org->path, a->name, a->count), NULL;
    double *y = x + a->count;
    if (safetensors_read(tuned, b, T_F64, x) || safetensors_read(org, a, T_F64, y)) return free(x), NULL;
    for (size_t i = 0; i < a->count; i++) x[i] -= y[i];
    return x;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Values beyond the quantile of all of them, interpolated as torch does it, are cut to it, and to its negative. */
static int clamp(LoraFactors *f, double quantile)
{
    size_t  a = (size_t)f->rank * (size_t)f->columns, b = (size_t)f->o * (size_t)f->rank, count = a + b;
    double *all = malloc(count * sizeof *all);
    if (!all) return err("out of memory for %zu numbers", count);
    memcpy(all, f->down, a * sizeof *all);
    memcpy(all + a, f->up, b * sizeof *all);
    qsort(all, count, sizeof *all, ascending);
    double place = quantile * (double)(count - 1), part = place - floor(place), high = all[(size_t)place];
    if ((size_t)place + 1 < count) high += part * (all[(size_t)place + 1] - high);
    for (size_t i = 0; i < a; i++) f->down[i] = fmin(fmax(f->down[i], -high), high);
    for (size_t i = 0; i < b; i++) f->up[i] = fmin(fmax(f->up[i], -high), high);
    free(all);
    return 0;
}

/* The first triplets of delta, which is used up, as a module. */
static int extract_module(LoraOut *out, double *delta, const SafetensorsEntry *e, int is_unet, const char *path, int rank, const LoraExtract *how, Type type,
                          FILE *report)
{
    int         o = (int)rows_of(e), n = (int)(e->count / rows_of(e)), least = o < n ? o : n, k = rank < least ? rank : least;
    size_t      uo = (size_t)k * (size_t)o, vn = (size_t)k * (size_t)n;
    double      whole = matrix_norm(delta, o, n), *u = malloc((2 * uo + vn + (size_t)k) * sizeof *u);
    if (!u) return err("%s: out of memory for a rank of %d", path, k);
    double     *up = u + uo, *v = up + uo, *s = v + vn;
    LoraFactors f = { k, o, n, 1, v, up };
    int status = matrix_svd_large(u, s, v, delta, o, n, k, 1);
    if (!status) f.rank = k = lora_keep(s, k, k, how->rank.keep, how->rank.param);
    for (size_t i = 0; i < (size_t)o && !status; i++)
        for (size_t j = 0; j < (size_t)k; j++) up[i * (size_t)k + j] = u[j * (size_t)o + i] * s[j];
    if (!status && how->clamp_quantile < 1) status = clamp(&f, how->clamp_quantile);
    if (!status) status = lora_out_factors(out, is_unet, path, &f, e->rank == 4, kernel_of(e), type);
    if (!status && report) {
        matrix_product(delta, up, v, o, k, n, -1, 0);
        fprintf(report, "%-80s rank %4d  error %.4f\n", lora_key(is_unet, path).s, k, whole > 0 ? matrix_norm(delta, o, n) / whole : 0);
    }
    free(u);
    return status;
}

/* The largest number by which the parts differ in the modules of a LoRA. */
static int largest_difference(double *largest, const Safetensors *org, const Safetensors *tuned, const LoraRank *rank)
{
    *largest = 0;
    for (int i = 0; i < org->count; i++) {
        const SafetensorsEntry *a = &org->entry[i], *b = safetensors_find(tuned, a->name);
        if (a->rank != 2 || !strstr(a->name, ".weight") || !rank_of(a, a->name, 0, rank) || !b) continue;
        double *x = difference(org, a, tuned, b);
        if (!x) return -1;
        for (size_t k = 0; k < a->count; k++) *largest = fabs(x[k]) <= *largest ? *largest : fabs(x[k]);
        free(x);
    }
    return 0;
}

static int extract_part(LoraOut *out, const Safetensors *org, const Safetensors *tuned, int is_unet, const LoraTarget *to, const LoraExtract *how, FILE *report)
{
    for (int i = 0; i < org->count; i++) {
        const SafetensorsEntry *a = &org->entry[i], *b = safetensors_find(tuned, a->name);
        size_t                  length = strlen(a->name), ending = strlen(".weight");
        if ((a->rank != 2 && a->rank != 4) || length <= ending || length > 120 || strcmp(a->name + length - ending, ".weight")) continue;
        Name path = name("%.*s", (int)(length - ending), a->name);
        int  rank = rank_of(a, path.s, is_unet, &how->rank);
        if (!rank) continue;
        if (!is_unet && strncmp(path.s, "text_model.", 11)) path = name("text_model.%s", path.s);
        if (!b) return err("%s: %s: this tensor is missing", tuned->path, a->name);
        double *delta = difference(org, a, tuned, b);
        int     status = delta ? extract_module(out, delta, a, is_unet, path.s, rank, how, to->type == T_COUNT ? T_F32 : to->type, report) : -1;
        free(delta);
        if (status) return -1;
    }
    return 0;
}

static int describe_extract(LoraOut *out, const LoraTarget *to, const ModelFiles *org, const LoraExtract *how)
{
    int  v2 = org->config.clip.width == 1024, v = org->config.scheduler.v_prediction;
    Name args = how->rank.conv_rank ? name("{\"conv_dim\": \"%d\", \"conv_alpha\": \"%d.0\"}", how->rank.conv_rank, how->rank.conv_rank) : name("{}");
    if (to->strip) return 0;
    return lora_out_meta(out, "ss_v2", v2 ? "True" : "False") || lora_out_meta(out, "ss_base_model_version", !v2 ? "sd_v1" : v ? "sd_v2_v" : "sd_v2") ||
                   lora_out_network(out) || lora_out_meta(out, "ss_network_args", args.s)
               ? -1
               : 0;
}

int lora_extract(const LoraTarget *to, const ModelSource *org, const ModelSource *tuned, const LoraExtract *how, FILE *report)
{
    LoraOut     out = { 0 };
    ModelFiles *a = model_files_open(org), *b = a ? model_files_open(tuned) : NULL;
    double      largest = 0;
    int         status = b ? 0 : -1;
    if (!status && (model_files_need(a, MODEL_UNET) || model_files_need(b, MODEL_UNET))) status = -1;
    if (!status && a->part[MODEL_TEXT] && b->part[MODEL_TEXT]) {
        status = largest_difference(&largest, a->part[MODEL_TEXT], b->part[MODEL_TEXT], &how->rank);
        if (!status && largest > how->min_diff) status = extract_part(&out, a->part[MODEL_TEXT], b->part[MODEL_TEXT], 0, to, how, report);
        else if (!status && report) fprintf(report, "the text encoders differ by %.3g at most: the U-Net alone is extracted\n", largest);
    }
    if (!status) status = extract_part(&out, a->part[MODEL_UNET], b->part[MODEL_UNET], 1, to, how, report);
    if (!status) status = describe_extract(&out, to, a, how);
    if (!status) status = lora_out_save(&out, to->path, to->layout);
    lora_out_close(&out);
    model_files_close(a);
    model_files_close(b);
    return status;
}
