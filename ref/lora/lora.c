#include "lora/lora.h"
#include "base/err.h"
#include "base/rng.h"
#include "lora/delta.h"
#include "lora/hashes.h"
#include "lora/positional.h"
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
    m->key = strdup(lora_key(is_unet, path_of(m)).s);
    if (!m->key) return err("out of memory for the name of %s", path_of(m)), NULL;
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

static int describe_adapter(Lora *lora, LoraModule *m, int rank, double alpha, int group)
{
    const Layer *l = m->layer;
    m->adapter = (Adapter){ .rank = rank, .alpha = alpha, .group = group };
    m->adapter.down = params_add(&lora->params, name("%s.lora_down.weight", m->key).s, rank, l->geometry.kernel, l->w.t.c, group);
    m->adapter.up = params_add(&lora->params, name("%s.lora_up.weight", m->key).s, l->part[m->part].o, 1, rank, group);
    return m->adapter.down < 0 || m->adapter.up < 0 ? -1 : 0;
}

/* What has been described gets its memory and its place on the model. */
static int commit_adapters(Lora *lora)
{
    if (params_commit(&lora->params)) return -1;
    for (int i = 0; i < lora->modules; i++) {
        LoraModule *m = &lora->module[i];
        Adapter    *a = &m->adapter;
        if (!a->rank) continue;
        a->a.t = params_weight(&lora->params, a->down), a->b.t = params_weight(&lora->params, a->up);
        a->da = params_grad(&lora->params, a->down), a->db = params_grad(&lora->params, a->up);
        m->layer->part[m->part].adapter = a;
    }
    return 0;
}

static int add_module(Lora *lora, const Site *site, int is_unet, int rank, double alpha, int group)
{
    LoraModule *m = name_module(lora, site, is_unet);
    return m ? describe_adapter(lora, m, rank, alpha, group) : -1;
}

/* Sites come in the order of layers, so that those which clip skip leaves out are the last, and a group. */
static int add_text_modules(Lora *lora, const Clip *clip, const LoraRules *rules)
{
    const Weights *w = &clip->weights;
    for (int i = 0; i < w->sites; i++) {
        int group = lora->text_group + !clip_runs(clip, w->site[i].layer);
        if (add_module(lora, &w->site[i], 0, rules->dim, rules->alpha, group)) return -1;
    }
    return 0;
}

static int add_unet_modules(Lora *lora, const Weights *w, const LoraRules *rules)
{
    for (int i = 0; i < w->sites; i++) {
        Chosen c = unet_choice(&w->site[i], rules);
        if (c == NOT_CHOSEN) continue;
        int    rank = c == AT_DIM ? rules->dim : rules->conv_dim;
        double alpha = c == AT_DIM ? rules->alpha : rules->conv_alpha;
        if (add_module(lora, &w->site[i], 1, rank, alpha, lora->unet_group)) return -1;
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
    if (rules->text) lora->text_group = groups, groups += 1 + (model->clip.run < model->clip.config.layers);
    if (rules->unet) lora->unet_group = groups++;
    if ((rules->text && add_text_modules(lora, &model->clip, rules)) || (rules->unet && add_unet_modules(lora, &model->unet.weights, rules)) ||
        commit_adapters(lora)) {
        lora_detach(lora);
        return -1;
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

static int shape_error(const LoraFile *f, const LoraFileModule *m, const LoraModule *of)
{
    const Layer *l = of->layer;
    int          k = l->geometry.kernel;
    return err("%s: %s: expected to change a weight of %d x %d, found %d x %d: this LoRA is for another model", f->path, m->key, l->part[of->part].o,
               l->w.t.c * k * k, m->o, m->columns);
}

static int fits(const LoraFileModule *m, const LoraModule *of)
{
    int k = of->layer->geometry.kernel;
    return m->o == of->layer->part[of->part].o && m->columns == of->layer->w.t.c * k * k && (m->kernel == 0 || m->kernel == k);
}

/* Opens the file, and sees that each of its modules is one of lora's and changes weights of that shape. */
static int open_file(LoraFile *f, const char *path, const Lora *lora, const Weights *unet, int unmatched)
{
    if (lora_file_open(f, path)) return -1;
    int status = lora_file_check(f, unmatched) || lora_place(f, unet) ? -1 : 0, matched = 0;
    for (int i = 0; i < f->modules && !status; i++) {
        const LoraFileModule *m = &f->module[i];
        int                   k = 0;
        while (k < lora->modules && !(lora->module[k].is_unet == m->is_unet && strcmp(path_of(&lora->module[k]), m->path.s) == 0)) k++;
        if (k == lora->modules && !unmatched)
            status = err("%s: %s: belongs to no module of this model that takes a LoRA here; the file is in the layout of %s", path, m->key,
                         lora_layout_name(f->layout));
        else if (k < lora->modules && !fits(m, &lora->module[k])) status = shape_error(f, m, &lora->module[k]);
        matched += k < lora->modules;
    }
    if (!status && !matched) status = err("%s: none of its %d modules is one of this model's", path, f->modules);
    if (status) lora_file_close(f);
    return status;
}

static const double alpha_step = 1.0 / 256;             /* files may hold alpha as bf16, 8 bits: off by at most 1/512 of itself */

/* A module's numbers from the file, in the contract's order. */
static int read_module(LoraFactors *x, const LoraModule *m, const LoraFile *f)
{
    const Adapter        *a = &m->adapter;
    const LoraFileModule *in = lora_file_find(f, m->is_unet, path_of(m));
    int                   k = m->layer->geometry.kernel;
    if (!in) return err("%s: %s: this module is missing", f->path, m->key);
    if (in->kind != LORA_PLAIN || in->magnitude || in->part[LORA_MID])
        return err("%s: %s: training can go on from a LoRA only, this is %s", f->path, in->key, lora_kind_name(in).s);
    double alpha = in->scale * in->rank;
    if (in->rank != a->rank || !(fabs(alpha - a->alpha) <= alpha_step * fabs(a->alpha)))
        return err("%s: %s: expected rank %d, alpha %g, found rank %d, alpha %g", f->path, m->key, a->rank, a->alpha, in->rank, alpha);
    if (lora_factors(x, in, f->path)) return -1;
    double *down = malloc((size_t)x->rank * (size_t)x->columns * sizeof *down);
    if (!down) return err("%s: %s: out of memory", f->path, m->key);
    weights_from_file(down, x->down, x->rank, x->columns / (k * k), k * k);
    free(x->down);
    x->down = down;
    return 0;
}

int lora_load(Lora *lora, const char *path)
{
    LoraFile     f;
    LoraFactors *x = calloc((size_t)lora->modules, sizeof *x);
    int          n = lora->modules, status = x ? open_file(&f, path, lora, NULL, 0) : err("%s: out of memory for %d modules", path, n);
    if (status) return free(x), -1;
    if (f.tokens) status = err("%s: %s: training can go on from a LoRA only, this is a learned word", path, lora_token_name(f.token[0]).s);
    for (int i = 0; i < n && !status; i++) status = read_module(&x[i], &lora->module[i], &f);
    for (int i = 0; i < n && !status; i++) {
        const Adapter *a = &lora->module[i].adapter;
        status = params_set(&lora->params, a->down, x[i].down) || params_set(&lora->params, a->up, x[i].up) ? -1 : 0;
    }
    for (int i = 0; i < n; i++) lora_factors_free(&x[i]);
    free(x);
    lora_file_close(&f);
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
    if (!e || !alpha) status = err("%s: out of memory for %d modules", path, n);
    for (int i = 0; i < n && !status; i++) status = save_module(&e[3 * i], &alpha[i], lora, &lora->module[i], precision);
    if (!status) status = lora_write(path, e, 3 * n, pair, pairs);
    for (int i = 0; e && i < 3 * n; i++) free((void *)e[i].data);
    free(e);
    free(alpha);
    return status;
}

/* ---- files on a model that is not trained ---- */

enum { WORTH = 4 };                                     /* beside a weight: at most a quarter of its own work. Memory is in the large ones */

typedef struct {
    const LoraTerm *term;
    LoraFile       *file;
    int             terms;
} Files;

static const LoraFileModule *find(const Files *files, int i, const LoraModule *m) { return lora_file_find(&files->file[i], m->is_unet, path_of(m)); }

static int rank_of(const LoraFileModule *in) { return in->part[LORA_MID] ? (int)in->part[LORA_MID]->shape[0] : in->rank; }

/* The rank of what the files together would put beside the module's weight; 0: they do not know it; -1: they change the weight itself. */
static int rank_beside(const LoraModule *m, const Files *files)
{
    size_t o = (size_t)m->layer->part[m->part].o, columns = tensor_count(m->layer->w.t) / (size_t)m->layer->w.t.n;
    int    rank = 0;
    for (int i = 0; i < files->terms; i++) {
        const LoraFileModule *in = find(files, i, m);
        if (in && (in->kind != LORA_PLAIN || in->magnitude)) return -1;
        if (in) rank += rank_of(in);
    }
    return WORTH * (size_t)rank * (o + columns) <= o * columns ? rank : -1;
}

/* Sets the ranks of the modules that go beside their weights: with a weight all of its parts, or none, for it is widened as a whole. */
static void choose(Lora *lora, const Files *files)
{
    Type act = lora->params.set->act;
    for (int i = 0, end; i < lora->modules; i = end) {
        const Layer *l = lora->module[i].layer;
        int          merge = l->w.t.type == act;
        for (end = i; end < lora->modules && lora->module[end].layer == l; end++) {
            lora->module[end].adapter.rank = rank_beside(&lora->module[end], files);
            merge |= lora->module[end].adapter.rank < 0;
        }
        for (int k = i; merge && k < end; k++) lora->module[k].adapter.rank = 0;
    }
}

/* The files' A one below the other; their B side by side, with weight and scale. */
static int fill_adapter(Lora *lora, const LoraModule *m, const Files *files)
{
    Tensor  a = m->adapter.a.t, b = m->adapter.b.t;
    size_t  rank = (size_t)a.n, columns = tensor_count(a) / rank, at = 0;
    double *down = malloc((tensor_count(a) + tensor_count(b)) * sizeof *down);
    if (!down) return err("%s: out of memory for rank %zu", m->key, rank);
    double *up = down + tensor_count(a);
    int     status = 0;
    for (int i = 0; i < files->terms && !status; i++) {
        const LoraFileModule *in = find(files, i, m);
        LoraFactors           x;
        if (!in) continue;
        if (lora_factors(&x, in, files->term[i].path)) {
            status = -1;
            break;
        }
        double scale = files->term[i].ratio * x.scale;
        weights_from_file(down + at * columns, x.down, x.rank, a.c, a.h * a.w);
        for (size_t k = 0; k < (size_t)x.o * (size_t)x.rank; k++) up[k / (size_t)x.rank * rank + at + k % (size_t)x.rank] = scale * x.up[k];
        at += (size_t)x.rank;
        lora_factors_free(&x);
    }
    if (!status) status = params_set(&lora->params, m->adapter.down, down) || params_set(&lora->params, m->adapter.up, up) ? -1 : 0;
    free(down);
    return status;
}

/* A part's weight, in the file's order and double, with all that the files add to it; rounded once. */
static int merge_module(const LoraModule *m, const Files *files, Checkpoint *model)
{
    Weights *half = m->is_unet ? &model->unet.weights : &model->clip.weights;
    Set     *set = half->set;
    if (weights_widen(half, m->layer)) return -1;
    Tensor  w = part_weight(m->layer, m->part);
    size_t  count = tensor_count(w);
    double *value = malloc(2 * count * sizeof *value);
    if (!value) return err("%s: out of memory for %zu numbers", m->key, count);
    double *file = value + count;
    Tensor  host = tensor_of(value, T_F64, w.n, w.h, w.w, w.c);
    int     status = set->download(set, host, w);
    weights_to_file(file, value, w.n, w.c, w.h * w.w);
    for (int i = 0; i < files->terms && !status; i++) {
        const LoraFileModule *in = find(files, i, m);
        if (in) status = lora_add(file, in, w.h * w.w, files->term[i].ratio, files->term[i].path);
    }
    weights_from_file(value, file, w.n, w.c, w.h * w.w);
    if (!status) status = set->upload(set, w, host);
    free(value);
    return status;
}

/* Every module that a file could name. */
static int all_modules(Lora *lora, const Checkpoint *model)
{
    const Weights *half[2] = { &model->clip.weights, &model->unet.weights };
    *lora = (Lora){ .module = calloc((size_t)(half[0]->sites + half[1]->sites), sizeof *lora->module), .text_group = -1, .unet_group = -1 };
    params_open(&lora->params, half[1]->set);
    if (!lora->module) return err("out of memory for the names of the modules");
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < half[h]->sites; i++)
            if (name_module(lora, &half[h]->site[i], h) == NULL) return -1;
    return 0;
}

/* The opened files on the model, beside its weights where they may be. */
static int put_files(Lora *lora, Checkpoint *model, const Files *files, int beside)
{
    if (beside) choose(lora, files);
    for (int i = 0; i < lora->modules; i++)
        if (lora->module[i].adapter.rank && describe_adapter(lora, &lora->module[i], lora->module[i].adapter.rank, lora->module[i].adapter.rank, 0)) return -1;
    if (lora->params.count && commit_adapters(lora)) return -1;
    for (int i = 0; i < lora->modules; i++) {
        const LoraModule *m = &lora->module[i];
        int               named = 0;
        for (int k = 0; k < files->terms && !named; k++) named = find(files, k, m) != NULL;
        if (m->adapter.rank ? fill_adapter(lora, m, files) : named && merge_module(m, files, model)) return -1;
    }
    return weights_pack(&model->clip.weights) || weights_pack(&model->unet.weights) ? -1 : 0;
}

static int put(Lora *lora, Checkpoint *model, const LoraTerm *term, int terms, int unmatched, int beside)
{
    Files files = { term, calloc((size_t)terms, sizeof *files.file), 0 };
    int   status = all_modules(lora, model);
    if (!files.file) status = err("out of memory for %d LoRA files", terms);
    while (files.terms < terms && !status) {
        status = open_file(&files.file[files.terms], term[files.terms].path, lora, &model->unet.weights, unmatched);
        files.terms += !status;
    }
    if (!status) status = put_files(lora, model, &files, beside);
    while (files.terms > 0) lora_file_close(&files.file[--files.terms]);
    free(files.file);
    if (status) lora_detach(lora);
    return status;
}

int lora_put(Lora *lora, Checkpoint *model, const LoraTerm *term, int terms, int unmatched) { return put(lora, model, term, terms, unmatched, 1); }

int lora_merge(Checkpoint *model, const char *path, double weight, int unmatched)
{
    Lora all;
    if (put(&all, model, &(LoraTerm){ path, weight }, 1, unmatched, 0)) return -1;
    lora_detach(&all);
    return 0;
}
