#include "cli/info_model.h"
#include "base/err.h"
#include "model/checkpoint.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void info_add_text(cJSON *object, const char *key, const char *format, ...)
{
    char    text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cJSON_AddStringToObject(object, key, text);
}

int info_is_model(const Safetensors *file)
{
    static const char prefix[] = "model.diffusion_model.";
    for (int i = 0; i < file->count; i++)
        if (strncmp(file->entry[i].name, prefix, sizeof prefix - 1) == 0) return 1;
    return 0;
}

static int by_slot(const void *key, const void *slot) { return strcmp(key, *(const char *const *)slot); }
static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* How many tensors of the file no slot wants; the first of them. */
static int left_over(const Weights *w, const Safetensors *s, const char **first)
{
    int          count = 0;
    const char **wanted = calloc((size_t)w->slots + 1, sizeof *wanted);
    if (!wanted) return 0;
    for (int i = 0; i < w->slots; i++) wanted[i] = w->slot[i].name;
    qsort(wanted, (size_t)w->slots, sizeof *wanted, by_text);
    for (int i = 0; i < s->count; i++)
        if (!bsearch(s->entry[i].name, wanted, (size_t)w->slots, sizeof *wanted, by_slot) && count++ == 0) *first = s->entry[i].name;
    free(wanted);
    return count;
}

static int missing(const Weights *w, const Safetensors *s, const char **first)
{
    int count = 0;
    for (int i = 0; i < w->slots; i++)
        if (!safetensors_find(s, w->slot[i].name) && count++ == 0) *first = w->slot[i].name;
    return count;
}

static void add_found(cJSON *row, const Weights *w, const Safetensors *s)
{
    char        types[64] = "";
    const char *first = "";
    if (!s) {
        cJSON_AddStringToObject(row, "found", "nothing: this part is to come from elsewhere");
        return;
    }
    int gone = missing(w, s, &first);
    for (int i = 0; i < s->count; i++)
        if (!strstr(types, s->entry[i].dtype) && strlen(types) < 40) strcat(strcat(types, *types ? ", " : ""), s->entry[i].dtype);
    info_add_text(row, "found", "%d of %d tensors, %s", w->slots - gone, w->slots, types);
    if (gone) info_add_text(row, "missing", "%d, as %s", gone, first);
    int extra = left_over(w, s, &first);
    if (extra) info_add_text(row, "left over", "%d, as %s", extra, first);
}

static cJSON *add_part(cJSON *parts, ModelPart part, const Weights *w)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddItemToArray(parts, row);
    cJSON_AddStringToObject(row, "part", model_part_name(part));
    cJSON_AddNumberToObject(row, "parameters", (double)w->count);
    return row;
}

static void print_channels(char out[128], const int *channels, int levels)
{
    for (int i = 0, at = 0; i < levels && at < 100; i++) at += snprintf(out + at, 128 - (size_t)at, "%s%d", i ? ", " : "", channels[i]);
}

static void add_parts(cJSON *o, const Checkpoint *m, const ModelFiles *f)
{
    const ClipConfig *c = &m->clip.config;
    const UnetConfig *u = &m->unet.config;
    const VaeConfig  *v = &m->vae.config;
    char              channels[128] = "";
    cJSON            *parts = cJSON_AddArrayToObject(o, "parts"), *row = add_part(parts, MODEL_TEXT, &m->clip.weights);
    info_add_text(row, "shape", "%d layers of width %d, %d heads, %d words, %d tokens", c->layers, c->width, c->heads, c->vocab, c->length);
    add_found(row, &m->clip.weights, f->part[MODEL_TEXT]);
    print_channels(channels, u->channels, u->levels);
    row = add_part(parts, MODEL_UNET, &m->unet.weights);
    info_add_text(row, "shape", "channels %s, %d blocks a level, text of width %d", channels, u->layers, u->cross);
    add_found(row, &m->unet.weights, f->part[MODEL_UNET]);
    print_channels(channels, v->channels, v->levels);
    row = add_part(parts, MODEL_VAE, &m->vae.weights);
    info_add_text(row, "shape", "channels %s, factor %d, %d latent channels times %g", channels, vae_factor(v), v->latent, v->scaling);
    add_found(row, &m->vae.weights, f->part[MODEL_VAE]);
}

/* The first tensor that is no averaged copy; there is one. */
static const char *first_other(const Safetensors *rest)
{
    int i = 0;
    while (strncmp(rest->entry[i].name, "model_ema.", 10) == 0) i++;
    return rest->entry[i].name;
}

static void add_model(cJSON *o, const Checkpoint *m, const ModelFiles *f, int unsaid)
{
    const char            *named = model_config_name(&f->config);
    const SchedulerConfig *s = &m->scheduler;
    int                    others = f->rest->count - f->ema;
    info_add_text(o, "kind", "Stable Diffusion model, %s", f->layout == MODEL_FOLDER ? "diffusers folder" : "single file");
    if (named) info_add_text(o, "configuration", "%s%s", named, unsaid ? " or sd21" : "");
    info_add_text(o, "native_size", "%dx%d, sides are multiples of %d", m->native_w, m->native_h, checkpoint_step(m));
    info_add_text(o, "prediction", "%s", unsaid ? "epsilon (--v2) or v (--v_parameterization): the file does not say" : s->v_prediction ? "v" : "epsilon");
    info_add_text(o, "noise", "%d timesteps, beta %g to %g, %s", s->timesteps, s->beta_start, s->beta_end, s->scaled_linear ? "scaled linear" : "linear");
    cJSON_AddNumberToObject(o, "parameters", (double)(m->clip.weights.count + m->unet.weights.count + m->vae.weights.count));
    add_parts(o, m, f);
    if (f->ema) info_add_text(o, "averaged copies", "%d tensors (model_ema.), taken with --ema", f->ema);
    if (others) info_add_text(o, "further tensors", "%d, as %s", others, first_other(f->rest));
}

int info_model(cJSON *o, const char *path)
{
    Checkpoint  m;
    ModelSource source = { .path = path };
    ModelFiles *f = model_files_open(&source);
    int         unsaid = !f && strstr(err_text(), "--v2") != NULL;
    Set        *like = set_open("ref"), *set = like ? set_null(like) : NULL;
    if (unsaid) source.v2 = 1, f = model_files_open(&source);
    int status = !f || !set || checkpoint_describe_config(&m, &f->config, set) ? -1 : 0;
    if (!status) {
        add_model(o, &m, f, unsaid);
        checkpoint_close(&m);
    }
    model_files_close(f);
    free(set);
    return status;
}
