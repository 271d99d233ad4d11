#include "model/model_files.h"
#include "base/err.h"
#include "io/file.h"
#include "io/share.h"
#include "io/tensor_file.h"
#include "model/foreign.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tensors of one part, from however many files, under names of their own. */
typedef struct {
    Safetensors       s;
    SafetensorsEntry *entry;
    int               room;
    char              path[PATH_SIZE];
} Collected;

typedef struct {
    ModelFiles  f;                                      /* first: the caller's pointer is ours */
    Collected   part[MODEL_PARTS], rest;
    TensorFile *file;
    int         files;
    char        path[PATH_SIZE];
} Opened;

const char *model_part_name(ModelPart part)
{
    static const char *const names[MODEL_PARTS] = { "text encoder", "U-Net", "autoencoder" };
    return names[part];
}

/* ---- collecting ---- */

static int collect(Collected *c, const char *text, const SafetensorsEntry *e)
{
    if (c->s.count == c->room) {
        int               room = c->room ? 2 * c->room : 256;
        SafetensorsEntry *more = realloc(c->entry, (size_t)room * sizeof *more);
        if (!more) return err("%s: no memory for the names of its tensors", c->path);
        c->entry = more, c->room = room;
    }
    char *copy = strdup(text);
    if (!copy) return err("%s: no memory for the names of its tensors", c->path);
    c->entry[c->s.count] = *e, c->entry[c->s.count++].name = copy;
    return 0;
}

/* From here on it is to be read as a file. */
static int collected(Collected *c)
{
    c->s.path = c->path, c->s.entry = c->entry;
    const char *twice = safetensors_sort(c->entry, c->s.count);
    return twice ? err("%s: %s: there twice, under two names or in two files", c->path, twice) : 0;
}

static void collected_free(Collected *c)
{
    for (int i = 0; i < c->s.count; i++) free((char *)c->entry[i].name);
    free(c->entry);
    *c = (Collected){ .room = 0 };
}

/* The file stays open as long as the layout. NULL and err(). */
static const Safetensors *add_file(Opened *o, const char *path)
{
    TensorFile *more = realloc(o->file, (size_t)(o->files + 1) * sizeof *more);
    if (!more) return err("%s: no memory", path), NULL;
    o->file = more;
    if (tensor_file_open(&o->file[o->files], path)) return NULL;
    return o->file[o->files++].s;
}

/* ---- single files ---- */

static const char *after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

static int ends(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

/* OpenCLIP's in_proj is q, k and v below one another: rows [k c, (k + 1) c) of (3c,c) or (3c). */
static int split_fused(Collected *c, const Safetensors *file, const SafetensorsEntry *e, int layer, const char *ending)
{
    static const char *const part[] = { "q_proj", "k_proj", "v_proj" };
    if (e->rank < 1 || e->shape[0] % 3 || !e->count) return err("%s: %s: expected q, k and v, a multiple of 3 rows", file->path, e->name);
    for (int k = 0; k < 3; k++) {
        SafetensorsEntry third = *e;
        third.shape[0] /= 3, third.count /= 3, third.bytes /= 3;
        third.data = (const char *)e->data + (size_t)k * third.bytes;
        if (collect(c, name("text_model.encoder.layers.%d.self_attn.%s.%s", layer, part[k], ending).s, &third)) return -1;
    }
    return 0;
}

/* A tensor of a part, its name without prefix: 1 taken, 0 not a tensor of that part, -1 and err(). */
static int take(Collected *c, ModelPart part, const Safetensors *file, const SafetensorsEntry *e, const char *text, const LdmShape *shape)
{
    Name        to;
    const char *ending;
    int         layer;
    if (ends(text, ".position_ids")) return 0;          /* 0, 1, 2, ... in every model, or what a merge made of it */
    if (part == MODEL_TEXT && shape->openclip && ldm_is_fused(text, &layer, &ending)) return split_fused(c, file, e, layer, ending) ? -1 : 1;
    if (!ldm_to_diffusers(&to, part, text, shape)) return 0;
    return collect(c, to.s, e) ? -1 : 1;
}

/* The averaged copy of a tensor of the U-Net: its name in the file has lost all dots. */
static const SafetensorsEntry *averaged(const Safetensors *file, const char *text)
{
    char   to[256] = "model_ema.";
    size_t n = strlen(to);
    for (text = after(text, "model."); *text && n < sizeof to - 1; text++)
        if (*text != '.') to[n++] = *text;
    to[n] = 0;
    return safetensors_find(file, to);
}

static int take_single(Opened *o, const Safetensors *file, const LdmShape *shape, int ema)
{
    for (int i = 0; i < file->count; i++) {
        const SafetensorsEntry *e = &file->entry[i];
        int                     taken = 0;
        for (int p = 0; p < MODEL_PARTS && !taken; p++) {
            const char             *text = after(e->name, ldm_prefix((ModelPart)p, shape));
            const SafetensorsEntry *from = text && ema && p == MODEL_UNET ? averaged(file, e->name) : e;
            if (!from) return err("%s: %s: no averaged copy (model_ema.) of it, as --ema asks for", file->path, e->name);
            if (text) taken = take(&o->part[p], (ModelPart)p, file, from, text, shape);
        }
        if (!taken && collect(&o->rest, e->name, e)) taken = -1;
        if (taken < 0) return -1;
        o->f.ema += after(e->name, "model_ema.") != NULL;
    }
    return 0;
}

/* A file of a part alone: that part of a whole file, or its names bare, the original ones or diffusers'. What is not known is left out. */
static int take_part(Opened *o, ModelPart part, const Safetensors *file)
{
    LdmShape    shape = ldm_shape_of_file(file);
    const char *prefix = ldm_prefix(part, &shape);
    Name        to;
    int         whole = 0;
    for (int i = 0; i < file->count && !whole; i++) whole = after(file->entry[i].name, prefix) != NULL;
    for (int i = 0; i < file->count; i++) {
        const SafetensorsEntry *e = &file->entry[i];
        const char             *text = whole ? after(e->name, prefix) : e->name;
        int                     taken = text ? take(&o->part[part], part, file, e, text, &shape) : 1;
        if (!taken && !whole && !after(text, "loss.") && !ends(text, ".position_ids")) {
            ldm_modern(&to, part, text);
            taken = collect(&o->part[part], to.s, e) ? -1 : 1;
        }
        if (taken < 0) return -1;
    }
    return 0;
}

/* The configuration of a single file: what it says itself, or by the width of its text states and by what the command line adds. */
static int config_of_single(ModelConfig *c, const Safetensors *file, const ModelSource *source)
{
    const char *text[CONFIGS];
    int         said = 0;
    for (int i = 0; i < CONFIGS; i++) said += (text[i] = safetensors_meta(file, config_files[i])) != NULL;
    if (said == CONFIGS) return model_config_parse(c, text, file->path);

    static const char       cross[] = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
    const SafetensorsEntry *e = safetensors_find(file, cross);
    if (!e || e->rank != 2) return err("%s: not a Stable Diffusion model: %s is missing", file->path, cross);
    if (e->shape[1] == 768 && source->v2) return err("%s: --v2: this is Stable Diffusion 1.x, its text states have 768 channels", file->path);
    if (e->shape[1] == 1024 && !source->v2 && !source->v_parameterization)
        return err("%s: a Stable Diffusion 2.x file does not say what it predicts: give --v2 (noise: the base models) or --v_parameterization (the 768 models)",
                   file->path);
    if (e->shape[1] != 768 && e->shape[1] != 1024)
        return err("%s: %s: expected text states of 768 channels (SD 1.x) or 1024 (SD 2.x), found %lld", file->path, cross, (long long)e->shape[1]);
    *c = *model_config_named(e->shape[1] == 768 ? "sd15" : source->v_parameterization ? "sd21" : "sd21-base");
    return 0;
}

static int open_single(Opened *o, const ModelSource *source)
{
    const Safetensors *file = add_file(o, source->path);
    if (!file) return -1;
    const char *foreign = foreign_file(file);
    LdmShape    shape = ldm_shape_of_file(file);
    if (foreign) return foreign_refuse(source->path, foreign);
    for (int p = 0; p < MODEL_PARTS; p++) strcpy(o->part[p].path, o->path);
    strcpy(o->rest.path, o->path);
    o->f.layout = MODEL_FILE;
    return config_of_single(&o->f.config, file, source) || take_single(o, file, &shape, source->ema) ? -1 : 0;
}

/* ---- folders ---- */

/* A file of an index of shards is opened once. */
static int add_shard(void *ctx, const char *key, const char *file)
{
    Names *names = ctx;
    (void)key;
    for (int i = 0; i < names->count; i++)
        if (strcmp(names->name[i], file) == 0) return 0;
    char **more = realloc(names->name, (size_t)(names->count + 1) * sizeof *more);
    if (more) names->name = more;
    if (!more || !(more[names->count] = strdup(file))) return err("%s: no memory", file);
    names->count++;
    return 0;
}

static int take_shards(Opened *o, ModelPart part, const char *folder, const char *index)
{
    char  path[PATH_SIZE];
    Names names = { 0 };
    Json *j = json_open(index);
    int   status = j ? json_each_string(j, "weight_map", add_shard, &names) : -1;
    if (j && json_close(j)) status = -1;
    for (int i = 0; i < names.count && !status; i++) {
        const Safetensors *file = NULL;
        if (strchr(names.name[i], '/')) status = err("%s: weight_map: expected the name of a file beside it, found %.100s", index, names.name[i]);
        else if (path_join(path, folder, names.name[i]) || !(file = add_file(o, path)) || take_part(o, part, file)) status = -1;
    }
    names_free(&names);
    return status;
}

/* The first of the forms in which a part's numbers may be there; none is no failure yet. */
static int take_folder(Opened *o, ModelPart part, const char *folder)
{
    static const char *const stem[MODEL_PARTS] = { "model", "diffusion_pytorch_model", "diffusion_pytorch_model" };
    static const char *const bin[MODEL_PARTS] = { "pytorch_model", "diffusion_pytorch_model", "diffusion_pytorch_model" };
    static const char *const form[] = { "%s.safetensors", "%s.safetensors.index.json", "%s.fp16.safetensors", "%s.safetensors.index.fp16.json",
                                        "%s.bin", "%s.bin.index.json", "%s.fp16.bin", "%s.bin.index.fp16.json" };
    Collected *c = &o->part[part];
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        char file[64];
        snprintf(file, sizeof file, form[i], i < 4 ? stem[part] : bin[part]);
        if (path_join(c->path, folder, file)) return -1;
        if (!is_file(c->path)) continue;
        if (!strcmp(path_extension(file), ".json")) return take_shards(o, part, folder, c->path);
        const Safetensors *s = add_file(o, c->path);
        return s ? take_part(o, part, s) : -1;
    }
    char file[64];
    snprintf(file, sizeof file, form[0], stem[part]);
    return path_join(c->path, folder, file);            /* nothing: model_files_need speaks of this file */
}

static const char *const part_folder[MODEL_PARTS] = { "text_encoder", "unet", "vae" };

static int open_folder(Opened *o, const ModelSource *source)
{
    char folder[PATH_SIZE];
    for (int p = 0; p < MODEL_PARTS; p++) {
        int elsewhere = p == MODEL_TEXT ? source->text_encoder != NULL : p == MODEL_VAE && source->vae;
        if (!elsewhere && (path_join(folder, source->path, part_folder[p]) || take_folder(o, (ModelPart)p, folder))) return -1;
    }
    o->f.layout = MODEL_FOLDER;
    return 0;
}

/* ---- parts from elsewhere ---- */

/* Its configuration, where it is a folder; a file is taken to be as the model's own. */
static int config_of_part(ModelConfig *c, ModelPart part, const char *folder)
{
    char  path[PATH_SIZE];
    Json *j = path_join(path, folder, "config.json") ? NULL : json_open(path);
    if (!j) return -1;
    return part == MODEL_TEXT ? clip_config(&c->clip, j) : vae_config(&c->vae, j);
}

/* Is it the folder of the part, or of a model that has one? */
static int folder_of_part(char folder[PATH_SIZE], const char *path, ModelPart part)
{
    if (path_join(folder, path, part_folder[part])) return -1;
    if (!is_dir(folder)) strcpy(folder, path);
    return 0;
}

static int config_elsewhere(ModelConfig *c, ModelPart part, const char *path)
{
    char folder[PATH_SIZE];
    if (!path || !is_dir(path)) return 0;
    return folder_of_part(folder, path, part) || config_of_part(c, part, folder) || model_config_check(c, path) ? -1 : 0;
}

static int open_elsewhere(Opened *o, ModelPart part, const char *path)
{
    char       folder[PATH_SIZE];
    Collected *c = &o->part[part];
    if (!path) return 0;
    collected_free(c);
    if (strlen(path) >= PATH_SIZE) return err("%.100s...: the path is too long", path);
    strcpy(c->path, path);
    if (is_dir(path)) return folder_of_part(folder, path, part) || take_folder(o, part, folder) ? -1 : 0;
    const Safetensors *file = add_file(o, path);
    return file ? take_part(o, part, file) : -1;
}

/* ---- whole ---- */

/* The tokenizer's folder: as told; of the model, or beside a single file; the one installed with the program. "": none. */
static int find_tokenizer(char tokenizer[PATH_SIZE], const ModelSource *source)
{
    char        folder[PATH_SIZE], vocab[PATH_SIZE];
    const char *place[] = { "tokenizer", "" };
    snprintf(tokenizer, PATH_SIZE, "%s", source->tokenizer ? source->tokenizer : "");
    if (source->tokenizer) return 0;
    snprintf(folder, sizeof folder, "%s", source->path);
    if (!is_dir(source->path)) folder[path_name(source->path) - source->path] = 0;
    for (int i = 0; i < 2; i++) {
        char inner[PATH_SIZE];
        if (path_join(inner, folder, place[i]) || path_join(vocab, inner, "vocab.json")) return -1;
        if (!is_file(vocab)) continue;
        for (size_t n = strlen(inner); n > 1 && inner[n - 1] == '/'; n--) inner[n - 1] = 0;
        strcpy(tokenizer, *inner ? inner : ".");
        return 0;
    }
    if (share_find(tokenizer, "tokenizer/vocab.json")) tokenizer[strlen(tokenizer) - strlen("/vocab.json")] = 0;
    else *tokenizer = 0;
    return 0;
}

static int is_inside(const char *path, const char *folder)
{
    const char *rest = after(path, folder);
    return rest && (!*rest || *rest == '/' || rest[-1] == '/');
}

/* A folder's own tokenizer knows what fills a prompt up; another one may be of the other version. */
static void find_pad(ModelConfig *c, const char *tokenizer, const ModelSource *source)
{
    const char *named = model_config_name(c);
    if (is_dir(source->path) && named && !is_inside(tokenizer, source->path)) c->pad = model_config_named(named)->pad;
}

static int find_source(const ModelSource *source)
{
    if (strlen(source->path) >= PATH_SIZE) return err("%.100s...: the path is too long", source->path);
    if (!is_dir(source->path) && !is_file(source->path))
        return err("%s: no such model, neither a folder nor a file (nothing is downloaded: a hub's name is not enough)", source->path);
    return 0;
}

static int finish_config(ModelConfig *c, const ModelSource *source)
{
    if (source->v_parameterization) c->scheduler.v_prediction = 1;
    return config_elsewhere(c, MODEL_TEXT, source->text_encoder) || config_elsewhere(c, MODEL_VAE, source->vae) ? -1 : 0;
}

ModelFiles *model_files_open(const ModelSource *source)
{
    if (find_source(source)) return NULL;
    Opened *o = calloc(1, sizeof *o);
    if (!o) return err("%s: no memory", source->path), NULL;
    strcpy(o->path, source->path);
    o->f.path = o->path;
    int status = is_dir(source->path) ? model_config_read(&o->f.config, source->path) || open_folder(o, source) : open_single(o, source);
    if (!status)
        status = find_tokenizer(o->f.tokenizer, source) || open_elsewhere(o, MODEL_TEXT, source->text_encoder) ||
                 open_elsewhere(o, MODEL_VAE, source->vae) || finish_config(&o->f.config, source);
    if (!status) find_pad(&o->f.config, o->f.tokenizer, source);
    for (int p = 0; p < MODEL_PARTS && !status; p++) {
        status = collected(&o->part[p]);
        if (o->part[p].s.count) o->f.part[p] = &o->part[p].s;
    }
    if (!status) status = collected(&o->rest);
    if (status) return model_files_close(&o->f), NULL;
    o->f.rest = &o->rest.s;
    return &o->f;
}

void model_files_close(ModelFiles *f)
{
    Opened *o = (Opened *)f;
    if (!o) return;
    for (int p = 0; p < MODEL_PARTS; p++) collected_free(&o->part[p]);
    collected_free(&o->rest);
    for (int i = 0; i < o->files; i++) tensor_file_close(&o->file[i]);
    free(o->file);
    free(o);
}

int model_files_need(const ModelFiles *f, ModelPart part)
{
    static const char *const how[MODEL_PARTS] = { "give --text_encoder", "a model has one", "give --vae" };
    const Opened            *o = (const Opened *)f;
    if (f->part[part]) return 0;
    if (f->layout == MODEL_FILE) return err("%s: there is no %s in it: %s", o->part[part].path, model_part_name(part), how[part]);
    return err("%s: the numbers of the %s are missing: expected this file, its .fp16. form, .bin, or an index of shards", o->part[part].path,
               model_part_name(part));
}
