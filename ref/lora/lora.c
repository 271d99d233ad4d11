#include "lora/lora.h"
#include "base/err.h"
#include "base/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- which modules, under which key ---- */

static char *key_of(const char *prefix, const char *module)
{
    char *key = malloc(strlen(prefix) + strlen(module) + 1);
    if (!key) return err("out of memory for the name of %s", module), NULL;
    strcpy(key, prefix);
    strcat(key, module);
    for (char *c = key; *c; c++)
        if (*c == '.') *c = '_';
    return key;
}
static const char unet_prefix[] = "lora_unet_", text_prefix[] = "lora_te_";

typedef enum { NOT_CHOSEN, AT_DIM, AT_CONV_DIM } Chosen;

static Chosen unet_choice(const Site *site, const LoraRules *rules)
{
    const char *module = site->layer->part[site->part].name;
    if (strstr(module, ".attentions.")) return AT_DIM;
    if (!rules->conv_dim || !(strstr(module, ".resnets.") || strstr(module, "samplers."))) return NOT_CHOSEN;
    return layer_is_linear(site->layer) ? AT_DIM : AT_CONV_DIM;
}

/* ---- attaching ---- */

static int add_module(Lora *lora, const Site *site, const char *prefix, int rank, double alpha, int group)
{
    Layer      *l = site->layer;
    Part       *part = &l->part[site->part];
    LoraModule *m = &lora->module[lora->modules];
    *m = (LoraModule){ key_of(prefix, part->name), l, site->part, { .rank = rank, .alpha = alpha, .group = group } };
    if (!m->key) return -1;
    lora->modules++;
    m->adapter.down = params_add(&lora->params, name("%s.lora_down.weight", m->key).s, rank, l->geometry.kernel, l->w.t.c, group);
    m->adapter.up = params_add(&lora->params, name("%s.lora_up.weight", m->key).s, part->o, 1, rank, group);
    return m->adapter.down < 0 || m->adapter.up < 0 ? -1 : 0;
}

static int add_modules(Lora *lora, const Weights *w, const char *prefix, int is_unet, const LoraRules *rules, int group)
{
    for (int i = 0; i < w->sites; i++) {
        Chosen c = is_unet ? unet_choice(&w->site[i], rules) : AT_DIM;
        if (c == NOT_CHOSEN) continue;
        if (add_module(lora, &w->site[i], prefix, c == AT_DIM ? rules->dim : rules->conv_dim, c == AT_DIM ? rules->alpha : rules->conv_alpha, group)) return -1;
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
    if ((rules->text && add_modules(lora, &model->clip.weights, text_prefix, 0, rules, lora->text_group)) ||
        (rules->unet && add_modules(lora, &model->unet.weights, unet_prefix, 1, rules, lora->unet_group)) || params_commit(&lora->params)) {
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

/* A module of a file, in the contract's order: down (r,k,k,i), up (o,r). */
typedef struct {
    int     rank;
    double  alpha;
    double *down, *up;
} FileModule;

static void file_module_free(FileModule *m)
{
    free(m->down);
    free(m->up);
}

/* Is e of shape (a, b, k, k), where trailing ones may be left out? */
static int has_shape(const SafetensorsEntry *e, int64_t a, int64_t b, int64_t k)
{
    if (e->rank == 2) return k == 1 && e->shape[0] == a && e->shape[1] == b;
    return e->rank == 4 && e->shape[0] == a && e->shape[1] == b && e->shape[2] == k && e->shape[3] == k;
}

static int read_alpha(FileModule *m, const Safetensors *file, const char *key)
{
    const SafetensorsEntry *e = safetensors_find(file, name("%s.alpha", key).s);
    m->alpha = m->rank;                                 /* absent: the scale is 1 */
    if (!e) return 0;
    if (e->count != 1) return err("%s: %s: expected one number, found %zu", file->path, e->name, e->count);
    if (safetensors_read(file, e, T_F64, &m->alpha)) return -1;
    if (!isfinite(m->alpha)) return err("%s: %s: expected a finite number, found %g", file->path, e->name, m->alpha);
    return 0;
}

static int read_module(FileModule *m, const Safetensors *file, const char *key, const Layer *l, int part)
{
    int                     k = l->geometry.kernel, i = l->w.t.c, o = l->part[part].o;
    const SafetensorsEntry *down = safetensors_find(file, name("%s.lora_down.weight", key).s), *up = safetensors_find(file, name("%s.lora_up.weight", key).s);
    *m = (FileModule){ 0 };
    if (!down || !up) return err("%s: %s.%s: this tensor is missing", file->path, key, down ? "lora_up.weight" : "lora_down.weight");
    m->rank = down->rank ? (int)down->shape[0] : 0;
    if (m->rank < 1 || !has_shape(down, m->rank, i, k))
        return err("%s: %s: expected shape (rank,%d%s), found another: this LoRA is for another model", file->path, down->name, i, k > 1 ? ",3,3" : "");
    if (!has_shape(up, o, m->rank, 1))
        return err("%s: %s: expected shape (%d,%d), found another: this LoRA is for another model", file->path, up->name, o, m->rank);
    if (read_alpha(m, file, key)) return -1;
    double *raw = malloc(down->count * sizeof *raw);
    m->down = malloc(down->count * sizeof *m->down);
    m->up = malloc(up->count * sizeof *m->up);
    int status = raw && m->down && m->up ? 0 : err("%s: %s: out of memory", file->path, key);
    if (!status) status = safetensors_read(file, down, T_F64, raw) || safetensors_read(file, up, T_F64, m->up) ? -1 : 0;
    if (!status) weights_from_file(m->down, raw, m->rank, i, k * k);
    free(raw);
    return status;
}

static const LoraModule *find_module(const Lora *lora, const char *key, size_t length)
{
    for (int i = 0; i < lora->modules; i++)
        if (strlen(lora->module[i].key) == length && strncmp(lora->module[i].key, key, length) == 0) return &lora->module[i];
    return NULL;
}

/* Every tensor of the file must belong to a module that is known: key, dot, one of three endings. */
static int check_keys(const Lora *lora, const Safetensors *file)
{
    for (int i = 0; i < file->count; i++) {
        const char *text = file->entry[i].name, *dot = strchr(text, '.');
        int         known = dot && (strcmp(dot, ".alpha") == 0 || strcmp(dot, ".lora_down.weight") == 0 || strcmp(dot, ".lora_up.weight") == 0);
        if (!known) return err("%s: %s: expected kohya's names, KEY.lora_down.weight, KEY.lora_up.weight, KEY.alpha", file->path, text);
        if (!find_module(lora, text, (size_t)(dot - text))) return err("%s: %s: the model has no such module", file->path, text);
    }
    if (file->count == 0) return err("%s: expected a LoRA, found no tensor", file->path);
    return 0;
}

static const double alpha_step = 1.0 / 256;            /* files may hold alpha as bf16, 8 bits: off by at most 1/512 of itself */

static int load_module(Lora *lora, const LoraModule *m, const Safetensors *file)
{
    FileModule     f;
    const Adapter *a = &m->adapter;
    int            status = read_module(&f, file, m->key, m->layer, m->part);
    if (!status && (f.rank != a->rank || !(fabs(f.alpha - a->alpha) <= alpha_step * fabs(a->alpha))))
        status = err("%s: %s: expected rank %d, alpha %g, found rank %d, alpha %g", file->path, m->key, a->rank, a->alpha, f.rank, f.alpha);
    if (!status) status = params_set(&lora->params, a->down, f.down) || params_set(&lora->params, a->up, f.up) ? -1 : 0;
    file_module_free(&f);
    return status;
}

int lora_load(Lora *lora, const char *path)
{
    Safetensors *file = safetensors_open(path);
    if (!file) return -1;
    int status = check_keys(lora, file);
    for (int i = 0; i < lora->modules && !status; i++) status = load_module(lora, &lora->module[i], file);
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

int lora_save(const Lora *lora, const char *path, Type precision, const SafetensorsPair *pair, int pairs)
{
    int               n = lora->modules, status = 0;
    SafetensorsEntry *e = calloc((size_t)n, 3 * sizeof *e);
    Name             *alpha = calloc((size_t)n, sizeof *alpha);
    SafetensorsPair  *all = calloc((size_t)pairs + 1, sizeof *all);
    char              hash[HASH_SIZE];
    if (!e || !alpha || !all) status = err("%s: out of memory for %d modules", path, n);
    for (int i = 0; i < n && !status; i++) status = save_module(&e[3 * i], &alpha[i], lora, &lora->module[i], precision);
    if (!status) status = safetensors_hash(hash, e, 3 * n);
    if (!status) {
        for (int i = 0; i < pairs; i++) all[i] = pair[i];
        all[pairs] = (SafetensorsPair){ "sshs_model_hash", hash };
        status = safetensors_write(path, e, 3 * n, all, pairs + 1);
    }
    for (int i = 0; e && i < 3 * n; i++) free((void *)e[i].data);
    free(e);
    free(alpha);
    free(all);
    return status;
}

/* ---- merging ---- */

/* W (o,k,k,i) += s B (o,r) A (r,k,k,i), in double. */
static int merge_module(const LoraModule *m, const FileModule *f, double weight, Set *set)
{
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
        for (int i = 0; i < half[h]->sites; i++) {
            const Site *s = &half[h]->site[i];
            LoraModule *m = &lora->module[lora->modules];
            *m = (LoraModule){ .key = key_of(h ? unet_prefix : text_prefix, s->layer->part[s->part].name), .layer = s->layer, .part = s->part };
            if (!m->key) return -1;
            lora->modules++;
        }
    return 0;
}

static int merge_file(const Lora *all, const Safetensors *file, double weight, Set *set, int apply)
{
    for (int i = 0; i < all->modules; i++) {
        const LoraModule *m = &all->module[i];
        FileModule        f;
        if (!safetensors_find(file, name("%s.lora_down.weight", m->key).s) && !safetensors_find(file, name("%s.lora_up.weight", m->key).s)) continue;
        int status = read_module(&f, file, m->key, m->layer, m->part);
        if (!status && apply) status = merge_module(m, &f, weight, set);
        file_module_free(&f);
        if (status) return -1;
    }
    return 0;
}

int lora_merge(Checkpoint *model, const char *path, double weight)
{
    Lora         all;
    Set         *set = model->unet.weights.set;
    Safetensors *file = safetensors_open(path);
    if (!file) return -1;
    int status = all_modules(&all, model);
    if (!status) status = check_keys(&all, file) || merge_file(&all, file, weight, set, 0) || merge_file(&all, file, weight, set, 1) ? -1 : 0;
    for (int i = 0; i < all.modules; i++) free(all.module[i].key);
    free(all.module);
    safetensors_close(file);
    if (!status) status = weights_pack(&model->clip.weights) || weights_pack(&model->unet.weights) ? -1 : 0;
    return status;
}
