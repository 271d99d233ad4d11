#include "train/state.h"
#include "base/err.h"
#include "base/text.h"
#include "io/file.h"
#include "io/hash.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file_name[] = "state.safetensors", format[] = "sdlora-state-1";

/* ---- settings ---- */

enum { SETTINGS = 40 };
typedef struct {
    const char *key[SETTINGS];
    char        value[SETTINGS][HASH_SIZE + 32];
    int         count;
} Settings;

static void put(Settings *s, const char *key, const char *text, ...) __attribute__((format(printf, 3, 4)));
static void put(Settings *s, const char *key, const char *text, ...)
{
    va_list args;
    CHECK(s->count < SETTINGS, "%s is one too many", key);
    s->key[s->count] = key;
    va_start(args, text);
    vsnprintf(s->value[s->count++], sizeof s->value[0], text, args);
    va_end(args);
}

/* What the pictures are: names, captions, sizes, repeats and order, not their pixels. */
static int hash_pictures(char hex[HASH_SIZE], const Trainer *t)
{
    Text  text;
    FILE *out = text_open(&text);
    for (int i = 0; out && i < t->concepts.pictures; i++) {
        const Picture *p = &t->concepts.picture[i];
        fprintf(out, "%s/%s\n%s\n%dx%d %d\n", t->concepts.concept[p->concept].folder, path_name(p->path), p->caption, p->w, p->h, t->repeats[i]);
    }
    if (!text_close(&text)) return err("out of memory for the list of pictures");
    hash_data(hex, text.s, text.length);
    free(text.s);
    return 0;
}

/* Which weights these are: by two tensors of theirs that any other training would have moved. */
static int hash_weights(char hex[HASH_SIZE], Set *set, Tensor a, Tensor b)
{
    size_t  first = tensor_count(a), count = first + tensor_count(b);
    double *value = malloc(count * sizeof *value);
    if (!value) return err("out of memory for the model's hash");
    int status = set->download(set, tensor_of(value, T_F64, a.n, a.h, a.w, a.c), a) ||
                 set->download(set, tensor_of(value + first, T_F64, b.n, b.h, b.w, b.c), b) || set->sync(set) ? -1 : 0;
    if (!status) hash_data(hex, value, count * sizeof *value);
    free(value);
    return status;
}

/* The three nets. Of the autoencoder it is the half that encodes: the other decides no number of a run. */
static int put_model(Settings *s, const Trainer *t)
{
    const Checkpoint *m = &t->pipeline.model;
    Set              *set = t->pipeline.set;
    char              unet[HASH_SIZE], text_encoder[HASH_SIZE], vae[HASH_SIZE];
    if (hash_weights(unet, set, m->unet.conv_in.w.t, m->unet.conv_out.w.t) || hash_weights(text_encoder, set, m->clip.position, m->clip.final.gamma) ||
        hash_weights(vae, set, m->vae.encoder->conv_in.w.t, m->vae.encoder->conv_out.w.t))
        return -1;
    put(s, "model", "%s", unet);
    put(s, "text_encoder", "%s", text_encoder);
    put(s, "vae", "%s %.17g", vae, m->vae.config.scaling);
    return 0;
}

/* What decides a run's numbers. Not among them: when to save, where to, and how many steps, so that a run can be made longer. */
static int settings(Settings *s, const Trainer *t)
{
    const TrainConfig *c = t->config;
    char               pictures[HASH_SIZE];
    if (hash_pictures(pictures, t)) return -1;
    s->count = 0;
    put(s, "set", "%s", t->pipeline.set->name);
    if (put_model(s, t)) return -1;
    put(s, "clip_skip", "%d", c->clip_skip > 1 ? c->clip_skip : 1);
    put(s, "pictures", "%s", pictures);
    put(s, "resolution", "%d,%d", t->w, t->h);
    const BucketRules *rules = &t->buckets.rules;
    put(s, "buckets", "%d,%d,%d,%d,%d", rules->many, rules->no_upscale, rules->step, rules->min, rules->max);
    put(s, "network_dim", "%d", c->network_dim);
    put(s, "network_alpha", "%.17g", c->network_alpha);
    put(s, "conv_dim", "%d", c->conv_dim);
    put(s, "conv_alpha", "%.17g", c->conv_dim ? c->conv_alpha : 0);
    put(s, "modules", "%d", t->lora.modules);
    put(s, "numbers", "%zu", t->lora.params.count);
    put(s, "train_batch_size", "%d", c->train_batch_size);
    put(s, "gradient_accumulation_steps", "%d", c->gradient_accumulation_steps);
    put(s, "unet_lr", "%.17g", c->unet_lr);
    put(s, "text_encoder_lr", "%.17g", c->text_encoder_lr);
    put(s, "lr_scheduler", "%d", (int)c->lr_scheduler);
    if (c->lr_scheduler == LR_COSINE_WITH_RESTARTS) put(s, "lr_scheduler_num_cycles", "%d", c->lr_scheduler_num_cycles);
    put(s, "lr_warmup_steps", "%.17g", c->lr_warmup_steps);
    put(s, "adam", "%.17g,%.17g,%.17g,%.17g", c->adam_beta1, c->adam_beta2, c->adam_epsilon, c->weight_decay);
    put(s, "max_grad_norm", "%.17g", c->max_grad_norm);
    put(s, "min_snr_gamma", "%.17g", c->min_snr_gamma);
    put(s, "noise_offset", "%.17g,%d,%.17g", c->noise_offset, c->noise_offset_random_strength, c->adaptive_noise_scale);
    put(s, "prediction", "%s", t->pipeline.schedule.prediction == PREDICT_V ? "v" : "epsilon");
    put(s, "flip_aug", "%d", c->flip_aug);
    put(s, "shuffle_caption", "%d", c->shuffle_caption);
    put(s, "max_token_length", "%d", c->max_token_length);
    put(s, "keep_tokens", "%d", c->keep_tokens);
    put(s, "caption_dropout_rate", "%.17g", c->caption_dropout_rate);
    put(s, "caption_tag_dropout_rate", "%.17g", c->caption_tag_dropout_rate);
    put(s, "seed", "%lld", (long long)c->seed);
    return 0;
}

/* ---- saving ---- */

enum { BLOCKS = 3 };
static const char *const block_name[BLOCKS] = { "w", "m", "v" };
static Tensor            block(const Params *p, int i) { return i == 0 ? p->w : i == 1 ? p->m : p->v; }

static int download_blocks(SafetensorsEntry e[BLOCKS], const Params *p)
{
    for (int i = 0; i < BLOCKS; i++) {
        Tensor b = block(p, i);
        void  *data = malloc(p->count * type_size(b.type));
        e[i] = (SafetensorsEntry){ .name = block_name[i], .type = b.type, .rank = 1, .shape = { (int64_t)p->count }, .data = data };
        if (!data) return err("out of memory for the state");
        b.p = data;
        if (p->set->download(p->set, b, block(p, i))) return -1;
    }
    return p->set->sync(p->set);
}

int state_save(const Trainer *t, const char *dir)
{
    SafetensorsEntry e[BLOCKS] = { 0 };
    SafetensorsPair  pair[SETTINGS + 5];
    Settings         s;
    char             path[PATH_SIZE], step[16], epoch[16], batch[16], scale[64];
    snprintf(step, sizeof step, "%d", t->at.step);
    snprintf(epoch, sizeof epoch, "%d", t->at.epoch);
    snprintf(batch, sizeof batch, "%d", t->at.batch);
    snprintf(scale, sizeof scale, "%.17g,%d,%d,%d", t->loss_scale.scale, t->loss_scale.good, t->loss_scale.bad, t->loss_scale.skipped);
    int n = 0, status = settings(&s, t) || path_join(path, dir, file_name) || dir_make(dir) || download_blocks(e, &t->lora.params) ? -1 : 0;
    pair[n++] = (SafetensorsPair){ "format", format };
    pair[n++] = (SafetensorsPair){ "step", step };
    pair[n++] = (SafetensorsPair){ "epoch", epoch };
    pair[n++] = (SafetensorsPair){ "batch", batch };
    pair[n++] = (SafetensorsPair){ "loss_scale", scale };
    for (int i = 0; !status && i < s.count; i++) pair[n++] = (SafetensorsPair){ s.key[i], s.value[i] };
    if (!status) status = safetensors_write(path, e, BLOCKS, pair, n);
    for (int i = 0; i < BLOCKS; i++) free((void *)e[i].data);
    return status;
}

void state_remove(const char *dir)
{
    char path[PATH_SIZE];
    if (path_join(path, dir, file_name) == 0 && unlink(path) == 0) rmdir(dir);
}

/* ---- resuming ---- */

/* Does another set go on from here? If it counts in the same type. */
static int set_fits(const Trainer *t, const Safetensors *file)
{
    const SafetensorsEntry *e = safetensors_find(file, block_name[0]);
    return e && e->type == t->lora.params.w.type;
}

static int check_settings(const Trainer *t, const Safetensors *file)
{
    Settings    s;
    const char *found = safetensors_meta(file, "format");
    if (!found || strcmp(found, format)) return err("%s: expected a training state of this program (%s), found %s", file->path, format, found ? found : "none");
    if (settings(&s, t)) return -1;
    for (int i = 0; i < s.count; i++) {
        found = safetensors_meta(file, s.key[i]);
        if (i == 0 && found && strcmp(found, s.value[i]) && set_fits(t, file)) {
            fprintf(stderr, "state        %s was made by set %s; %s goes on, close to it but not to the same bits\n", file->path, found, s.value[i]);
            continue;
        }
        if (!found || strcmp(found, s.value[i]))
            return err("%s: %s: this is the state of another run: expected %s, found %s", file->path, s.key[i], s.value[i], found ? found : "none");
    }
    return 0;
}

static int read_number(int *out, const Safetensors *file, const char *key, int most)
{
    const char *text = safetensors_meta(file, key);
    char       *end = NULL;
    long        value = text ? strtol(text, &end, 10) : -1;
    if (!text || *end || value < 0 || value > most) return err("%s: %s: expected a number from 0 to %d, found %s", file->path, key, most, text ? text : "none");
    *out = (int)value;
    return 0;
}

/* scale, good, bad, skipped of LossScale */
static int read_loss_scale(LossScale *s, const Safetensors *file)
{
    const char *text = safetensors_meta(file, "loss_scale");
    LossScale   found = *s;
    int         end = 0;
    if (text) sscanf(text, "%lf,%d,%d,%d%n", &found.scale, &found.good, &found.bad, &found.skipped, &end);
    if (!end || text[end] || !(found.scale > 0 && found.scale <= s->most) || found.good < 0 || found.bad < 0 || found.skipped < 0)
        return err("%s: loss_scale: expected a scale of at most %d and three counts, found %s", file->path, s->most, text ? text : "none");
    return *s = found, 0;
}

static int upload_block(const Params *p, const Safetensors *file, int i)
{
    const SafetensorsEntry *e = safetensors_find(file, block_name[i]);
    Tensor                  host = block(p, i);
    if (!e || e->count != p->count || e->type != host.type)
        return err("%s: %s: expected %zu numbers of type %s", file->path, block_name[i], p->count, type_name(host.type));
    if (!(host.p = malloc(e->bytes))) return err("out of memory for the state");
    int status = safetensors_read(file, e, host.type, host.p) || p->set->upload(p->set, block(p, i), host) ? -1 : 0;
    if (!status && i == 0 && p->work.p != p->w.p) status = p->set->upload(p->set, p->work, host);
    free(host.p);
    return status;
}

int state_load(Trainer *t, const char *path)
{
    char inner[PATH_SIZE];
    if (is_dir(path)) {
        if (path_join(inner, path, file_name)) return -1;
        path = inner;
    }
    Safetensors *file = safetensors_open(path);
    if (!file) return -1;
    TrainPosition at;
    LossScale     scale = t->loss_scale;
    int           status = check_settings(t, file) || read_number(&at.step, file, "step", INT32_MAX) || read_number(&at.epoch, file, "epoch", INT32_MAX) ||
                 read_number(&at.batch, file, "batch", t->epoch_batches - 1) || read_loss_scale(&scale, file)
                     ? -1
                     : 0;
    for (int i = 0; i < BLOCKS && !status; i++) status = upload_block(&t->lora.params, file, i);
    if (!status) t->at = at, t->loss_scale = scale;
    safetensors_close(file);
    return status;
}
