#include "model/checkpoint.h"
#include "io/file.h"
#include <stdio.h>

int checkpoint_describe_config(Checkpoint *m, const ModelConfig *c, Set *set)
{
    *m = (Checkpoint){ .scheduler = c->scheduler, .native_w = c->native_w, .native_h = c->native_h, .pad = c->pad };
    if (!clip_open(&m->clip, &c->clip, set) && !unet_open(&m->unet, &c->unet, set) && !vae_open(&m->vae, &c->vae, set)) return 0;
    checkpoint_close(m);
    return -1;
}

/* The numbers of the parts; or, of those that are there, the types. */
static int load_parts(Checkpoint *m, const ModelFiles *f, int with_numbers)
{
    Weights *weights[MODEL_PARTS] = { &m->clip.weights, &m->unet.weights, &m->vae.weights };
    for (int p = 0; p < MODEL_PARTS; p++) {
        if (with_numbers && (model_files_need(f, (ModelPart)p) || weights_load(weights[p], f->part[p]))) return -1;
        if (!with_numbers && f->part[p]) weights_types(weights[p], f->part[p]);
    }
    return 0;
}

static int open_source(Checkpoint *m, const ModelSource *source, Set *set, int with_numbers)
{
    ModelFiles *f = model_files_open(source);
    if (!f) return -1;
    int status = checkpoint_describe_config(m, &f->config, set);
    if (!status) {
        snprintf(m->tokenizer, sizeof m->tokenizer, "%s", f->tokenizer);
        if ((status = clip_skip(&m->clip, source->clip_skip) || load_parts(m, f, with_numbers) ? -1 : 0)) checkpoint_close(m);
    }
    model_files_close(f);
    return status;
}

/* A built-in model is one that people have in f16. */
static int describe_named(Checkpoint *m, const ModelConfig *c, int skip, Set *set)
{
    if (checkpoint_describe_config(m, c, set)) return -1;
    if (clip_skip(&m->clip, skip)) return checkpoint_close(m), -1;
    weights_assume(&m->clip.weights, T_F16), weights_assume(&m->unet.weights, T_F16), weights_assume(&m->vae.weights, T_F16);
    return 0;
}

int checkpoint_open_source(Checkpoint *m, const ModelSource *source, Set *set) { return open_source(m, source, set, 1); }

int checkpoint_describe_source(Checkpoint *m, const ModelSource *source, Set *set)
{
    const ModelConfig *named = is_dir(source->path) || is_file(source->path) ? NULL : model_config_named(source->path);
    return named ? describe_named(m, named, source->clip_skip, set) : open_source(m, source, set, 0);
}

int checkpoint_open(Checkpoint *m, const char *path, Set *set) { return checkpoint_open_source(m, &(ModelSource){ .path = path }, set); }
int checkpoint_describe(Checkpoint *m, const char *path, Set *set) { return checkpoint_describe_source(m, &(ModelSource){ .path = path }, set); }

void checkpoint_close(Checkpoint *m)
{
    clip_close(&m->clip);
    unet_close(&m->unet);
    vae_close(&m->vae);
}

int checkpoint_step(const Checkpoint *m) { return vae_factor(&m->vae.config) * unet_step(&m->unet.config); }
