#include "lora/lora.h"
#include "base/err.h"
#include "base/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- which modules, under which key ---- */

static const char *path_of(const LoraModule *m) { return m->layer->part[m->part].name; }

/* The next of lora's modules, with its key: kohya's name. NULL and err(): no memory. */
static LoraModule *name_module(Lora *lora, const Site *site, int is_unet)
{
    LoraModule *m = &lora->module[lora->modules];
    *m = (LoraModule){ .layer = site->layer, .part = site->part, .is_unet = is_unet };
    m->key = strdup(name("%s%s", is_unet ? "lora_unet_" : "lora_te_", path_of(m)).s);
    if (!m->key) return err("out of memory for the name of %s", path_of(m)), NULL;
    for (char *c = m->key; *c; c++)
        if (*c == '.') *c = '_';
    lora->modules++;
    return m;
}

typedef enum { NOT_CHOSEN, AT_DIM, AT_CONV_DIM } Chosen;

static Chosen unet_choice(const Site *site, const LoraRules *rules)
{
    const char *module = site->layer->part[site->part].name;
    if (strstr(module, ".attentions.")) return AT_DIM;
    if (!rules->conv_dim || !(strstr(module, ".resnets.") || strstr(module, "samplers."))) return NOT_CHOSEN;
    return layer_is_linear(site->layer) ? AT_DIM : AT_CONV_DIM;
}

/* ---- attaching ---- */

static int add_module(Lora *lora, const Site *site, int is_unet, int rank, double alpha, int group)
{
    const Layer *l = site->layer;
    LoraModule  *m = name_module(lora, site, is_unet);
    if (!m) return -1;
    m->adapter = (Adapter){ .rank = rank, .alpha = alpha, .group = group };
    m->adapter.down = params_add(&lora->params, name("%s.lora_down.weight", m->key).s, rank, l->geometry.kernel, l->w.t.c, group);
    m->adapter.up = params_add(&lora->params, name("%s.lora_up.weight", m->key).s, l->part[site->part].o, 1, rank, group);
    return m->adapter.down < 0 || m->adapter.up < 0 ? -1 : 0;
}

static int add_modules(Lora *lora, const Weights *w, int is_unet, const LoraRules *rules, int group)
{
    for (int i = 0; i < w->sites; i++) {
        Chosen c = is_unet ? unet_choice(&w->site[i], rules) : AT_DIM;
        if (c == NOT_CHOSEN) continue;
        int    rank = c == AT_DIM ? rules->dim : rules->conv_dim;
        double alpha = c == AT_DIM ? rules->alpha : rules->conv_alpha;
        if (add_module(lora, &w->site[i], is_unet, rank, alpha, group)) return -1;
    }
    return 0;
}

int lora_attach(Lora *lora, Checkpoint *model, const LoraRules *rules)
{
    size_t sites = (size_t)(model->clip.weights.sites + model->unet.weights.sites);
    *lora = (Lora){ .module = calloc(sites, sizeof *lora->module), .text_group = -1, .unet_group = -1 };
    params_open(&lora->params, model->unet.weights.set);
    if (!lora->module) return err("out of memory for %zu modules", sites);
    int groups = 0;
    if (rules->text) lora->text_group = groups++;
    if (rules->unet) lora->unet_group = groups++;
    if ((rules->text && add_modules(lora, &model->clip.weights, 0, rules, lora->text_group)) ||
        (rules->unet && add_modules(lora, &model->unet.weights, 1, rules, lora->unet_group)) || params_commit(&lora->params)) {
        lora_detach(lora);
        return -1;
    }
    for (int i = 0; i < lora->modules; i++) {
        LoraModule *m = &lora->module[i];
        Adapter    *a = &m->adapter;
        a->a.t = params_weight(&lora->params, a->down), a->b.t = params_weight(&lora->params, a->up);
        a->da = params_grad(&lora->params, a->down), a->db = params_grad(&lora->params, a->up);
        m->layer->part[m->part].adapter = a;
    }
    return 0;
}

void lora_detach(Lora *lora)
{
    for (int i = 0; i < lora->modules; i++) {
        lora->module[i].layer->part[lora->module[i].part].adapter = NULL;
        free(lora->module[i].key);
    }
    free(lora->module);
    params_close(&lora->params);
    *lora = (Lora){ 0 };
}

int lora_init(Lora *lora, uint64_t seed)
{
    for (int i = 0; i < lora->modules; i++) {
        const Adapter *a = &lora->module[i].adapter;
        size_t         count = tensor_count(a->a.t);
        double        *value = malloc(count * sizeof *value), bound = sqrt((double)a->a.t.n / (double)count);
        Rng            rng = rng_open(seed, RNG_INIT, (uint32_t)i, 0);
        if (!value) return err("%s: out of memory for %zu numbers", lora->module[i].key, count);
        for (size_t k = 0; k < count; k++) value[k] = bound * (2 * rng_uniform(&rng) - 1);
        int status = params_set(&lora->params, a->down, value);
        free(value);
        if (status) return -1;
    }
    return 0;
}

/* ---- files ---- */

/* Every tensor of the file must belong to a module that is known. */
static int check_keys(const Lora *lora, const Safetensors *file, LoraLayout layout)
{
    for (int i = 0; i < file->count; i++) {
        int owner = 0;
        while (owner < lora->modules && !lora_owns(layout, file->entry[i].name, path_of(&lora->module[owner]), lora->module[owner].is_unet)) owner++;
        if (owner == lora->modules)
            return err("%s: %s: belongs to no module of this model in %s's layout", file->path, file->entry[i].name, lora_layout_name(layout));
    }
    return 0;
}

static const double alpha_step = 1.0 / 256;             /* files may hold alpha as bf16, 8 bits: off by at most 1/512 of itself */

static int load_module(Lora *lora, const LoraModule *m, const Safetensors *file, LoraLayout layout)
{
    LoraFileModule f;
    const Adapter *a = &m->adapter;
    int            found = lora_read(&f, file, layout, m->layer, m->part, m->is_unet), status = found > 0 ? 0 : -1;
    if (found == 0) return err("%s: %s: this module is missing", file->path, m->key);
    if (!status && (f.rank != a->rank || !(fabs(f.alpha - a->alpha) <= alpha_step * fabs(a->alpha))))
        status = err("%s: %s: expected rank %d, alpha %g, found rank %d, alpha %g", file->path, m->key, a->rank, a->alpha, f.rank, f.alpha);
    if (!status) status = params_set(&lora->params, a->down, f.down) || params_set(&lora->params, a->up, f.up) ? -1 : 0;
    lora_read_free(&f);
    return status;
}

int lora_load(Lora *lora, const char *path)
{
    LoraLayout   layout;
    Safetensors *file = safetensors_open(path);
    if (!file) return -1;
    int status = lora_layout(&layout, file) || check_keys(lora, file, layout) ? -1 : 0;
    for (int i = 0; i < lora->modules && !status; i++) status = load_module(lora, &lora->module[i], file, layout);
    safetensors_close(file);
    return status;
}

/* ---- saving ---- */

/* One tensor of the block as the file wants it; e->data is the caller's to free. */
static int save_param(SafetensorsEntry *e, const Lora *lora, int index, int conv, Type precision)
{
    const Param *p = &lora->params.param[index];
    size_t       count = (size_t)p->o * (size_t)p->k * (size_t)p->k * (size_t)p->i;
    double      *value = malloc(2 * count * sizeof *value);
    void        *data = malloc(count * type_size(precision));
    *e = (SafetensorsEntry){ .name = p->name, .type = precision, .rank = conv ? 4 : 2, .shape = { p->o, p->i, p->k, p->k }, .data = data };
    int status = value && data ? params_get(&lora->params, index, value) : err("%s: out of memory for %zu numbers", p->name, count);
    if (!status) {
        weights_to_file(value + count, value, p->o, p->i, p->k * p->k);
        type_convert(precision, data, T_F64, value + count, count);
    }
    free(value);
    return status;
}

static int save_module(SafetensorsEntry e[3], Name *alpha_name, const Lora *lora, const LoraModule *m, Type precision)
{
    void *alpha = malloc(type_size(precision));
    *alpha_name = name("%s.alpha", m->key);
    e[2] = (SafetensorsEntry){ .name = alpha_name->s, .type = precision, .rank = 0, .data = alpha };
    if (!alpha) return err("%s: out of memory", m->key);
    type_set(precision, alpha, 0, m->adapter.alpha);
    return save_param(&e[0], lora, m->adapter.down, m->layer->conv, precision) || save_param(&e[1], lora, m->adapter.up, m->layer->conv, precision) ? -1 : 0;
}

/* The hashes that kohya's scripts write: of all tensor data, and, as its readers once had it, of 64 KB from 1 MB on of a file with no metadata but ss_*. */
static int save_hashes(char model[HASH_SIZE], char legacy[HASH_SIZE], const SafetensorsEntry *e, int count, SafetensorsPair *ss, const SafetensorsPair *pair,
                       int pairs)
{
    enum { LEGACY_AT = 0x100000, LEGACY_SIZE = 0x10000, LEGACY_DIGITS = 8 };
    int n = 0;
    for (int i = 0; i < pairs; i++)
        if (strncmp(pair[i].key, "ss_", 3) == 0) ss[n++] = pair[i];
    if (safetensors_hash(model, e, count) || safetensors_hash_range(legacy, e, count, ss, n, LEGACY_AT, LEGACY_SIZE)) return -1;
    legacy[LEGACY_DIGITS] = 0;
    return 0;
}

int lora_save(const Lora *lora, const char *path, Type precision, const SafetensorsPair *pair, int pairs)
{
    int               n = lora->modules, status = 0;
    SafetensorsEntry *e = calloc((size_t)n, 3 * sizeof *e);
    Name             *alpha = calloc((size_t)n, sizeof *alpha);
    SafetensorsPair  *all = calloc((size_t)pairs + 2, sizeof *all);
    char              model[HASH_SIZE], legacy[HASH_SIZE];
    if (!e || !alpha || !all) status = err("%s: out of memory for %d modules", path, n);
    for (int i = 0; i < n && !status; i++) status = save_module(&e[3 * i], &alpha[i], lora, &lora->module[i], precision);
    if (!status) status = save_hashes(model, legacy, e, 3 * n, all, pair, pairs);
    if (!status) {
        for (int i = 0; i < pairs; i++) all[i] = pair[i];
        all[pairs] = (SafetensorsPair){ "sshs_model_hash", model };
        all[pairs + 1] = (SafetensorsPair){ "sshs_legacy_hash", legacy };
        status = safetensors_write(path, e, 3 * n, all, pairs + 2);
    }
    for (int i = 0; e && i < 3 * n; i++) free((void *)e[i].data);
    free(e);
    free(alpha);
    free(all);
    return status;
}

/* ---- merging ---- */

/* W (o,k,k,i) += s B (o,r) A (r,k,k,i), in double. */
static int merge_module(const LoraModule *m, const LoraFileModule *f, double weight, Checkpoint *model)
{
    Weights *half = m->is_unet ? &model->unet.weights : &model->clip.weights;
    Set     *set = half->set;
    if (weights_widen(half, m->layer)) return -1;
    Tensor  w = part_weight(m->layer, m->part);
    size_t  count = tensor_count(w), row = count / (size_t)w.n;
    double *value = malloc(count * sizeof *value), scale = weight * f->alpha / f->rank;
    if (!value) return err("%s: out of memory for %zu numbers", m->key, count);
    Tensor host = tensor_of(value, T_F64, w.n, w.h, w.w, w.c);
    int    status = set->download(set, host, w);
    for (size_t o = 0; o < (size_t)w.n; o++)
        for (size_t r = 0; r < (size_t)f->rank; r++) {
            double b = scale * f->up[o * (size_t)f->rank + r];
            for (size_t k = 0; k < row; k++) value[o * row + k] += b * f->down[r * row + k];
        }
    if (!status) status = set->upload(set, w, host);
    free(value);
    return status;
}

/* Every module that a file could name, without memory for adapters. */
static int all_modules(Lora *lora, const Checkpoint *model)
{
    const Weights *half[2] = { &model->clip.weights, &model->unet.weights };
    *lora = (Lora){ .module = calloc((size_t)(half[0]->sites + half[1]->sites), sizeof *lora->module) };
    if (!lora->module) return err("out of memory for the names of the modules");
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < half[h]->sites; i++)
            if (name_module(lora, &half[h]->site[i], h) == NULL) return -1;
    return 0;
}

static int merge_file(const Lora *all, const Safetensors *file, LoraLayout layout, double weight, Checkpoint *model, int apply)
{
    for (int i = 0; i < all->modules; i++) {
        const LoraModule *m = &all->module[i];
        LoraFileModule    f;
        int               found = lora_read(&f, file, layout, m->layer, m->part, m->is_unet), status = found < 0 ? -1 : 0;
        if (found > 0 && apply) status = merge_module(m, &f, weight, model);
        lora_read_free(&f);
        if (status) return -1;
    }
    return 0;
}

int lora_merge(Checkpoint *model, const char *path, double weight)
{
    Lora         all;
    LoraLayout   layout;
    Safetensors *file = safetensors_open(path);
    if (!file) return -1;
    int status = all_modules(&all, model);
    if (!status) status = lora_layout(&layout, file) || check_keys(&all, file, layout) ? -1 : 0;
    for (int apply = 0; apply < 2 && !status; apply++) status = merge_file(&all, file, layout, weight, model, apply);
    for (int i = 0; i < all.modules; i++) free(all.module[i].key);
    free(all.module);
    safetensors_close(file);
    if (!status) status = weights_pack(&model->clip.weights) || weights_pack(&model->unet.weights) ? -1 : 0;
    return status;
}
