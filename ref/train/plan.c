#include "train/plan.h"
#include "base/err.h"
#include "ops/null_count.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double MB = 1 << 20, GB = 1 << 30;

/* ---- pictures, LoRA, steps ---- */

double plan_cut_away(const BucketFit *f, BucketSize size) { return 1 - (double)size.w * size.h / ((double)f->w * f->h); }
int plan_enlarged(const BucketFit *f, const Picture *p) { return f->w > p->w || f->h > p->h; }

/* Bucket b, or all of them where b is -1; nothing for a bucket without pictures. Returns how many samples it has. */
static int print_bucket(FILE *out, const Trainer *t, int b)
{
    int    pictures = 0, samples = 0, larger = 0, batch = t->config->train_batch_size;
    double cut = 0, most = 0;
    char   name[32] = "all";
    for (int i = 0; i < t->concepts.pictures; i++) {
        if (b >= 0 && t->fit[i].bucket != b) continue;
        double share = plan_cut_away(&t->fit[i], t->buckets.size[t->fit[i].bucket]);
        pictures++, samples += t->repeats[i], larger += plan_enlarged(&t->fit[i], &t->concepts.picture[i]);
        cut += share;
        if (share > most) most = share;
    }
    if (b >= 0) snprintf(name, sizeof name, "%dx%d", t->buckets.size[b].w, t->buckets.size[b].h);
    int batches = b < 0 ? t->epoch_batches : (samples + batch - 1) / batch;
    if (pictures)
        fprintf(out, "%-11s  %8d  %8d  %8d  %8.1f%%  %8.1f%%  %8d\n", name, pictures, samples, batches, 100 * cut / pictures, 100 * most, larger);
    return samples;
}

/* A bucket whose samples are no multiple of the batch size ends with a smaller batch: nothing is left out. */
void plan_print_buckets(FILE *out, const Trainer *t)
{
    int used = 0, smaller = 0;
    fprintf(out, "\n%-11s  %8s  %8s  %8s  %9s  %9s  %8s\n", t->config->enable_bucket ? "bucket" : "size", "pictures", "samples", "batches", "cut off",
            "at most", "enlarged");
    for (int b = 0; b < t->buckets.count; b++) {
        int samples = print_bucket(out, t, b);
        used += samples > 0, smaller += samples % t->config->train_batch_size > 0;
    }
    if (used > 1) print_bucket(out, t, -1);
    if (smaller) fprintf(out, "             %d of these end%s an epoch with a batch of fewer pictures\n", smaller, smaller == 1 ? "s" : "");
}

void plan_print_text(FILE *out, const Clip *clip)
{
    int layers = clip->config.layers, skip = 1 + layers - clip->run;
    if (skip > 1) fprintf(out, "             texts are read from layer %d of the text encoder's %d: clip skip %d\n", clip->run, layers, skip);
}

void plan_print_lora(FILE *out, const Trainer *t)
{
    const TrainConfig *c = t->config;
    const Lora        *l = &t->lora;
    size_t             numbers = 0;
    int                convolutions = 0, text = 0, idle = 0;
    for (int i = 0; i < l->params.params; i++) {
        const Param *p = &l->params.param[i];
        numbers += (size_t)p->o * (size_t)p->k * (size_t)p->k * (size_t)p->i;
    }
    for (int i = 0; i < l->modules; i++) {
        convolutions += !layer_is_linear(l->module[i].layer);
        text += !l->module[i].is_unet;
        idle += !l->module[i].is_unet && !clip_runs(&t->pipeline.model.clip, l->module[i].layer);
    }
    fprintf(out, "\nLoRA         %d modules: %d in the UNet, %d in the text encoder\n", l->modules, l->modules - text, text);
    if (idle) fprintf(out, "             %d of these behind the layer that is read: in the file, but nothing learns there\n", idle);
    fprintf(out, "             %d linear, rank %d, alpha %g: what they learn counts %g times\n", l->modules - convolutions, c->network_dim, c->network_alpha,
            c->network_alpha / c->network_dim);
    if (convolutions)
        fprintf(out, "             %d convolutions, rank %d, alpha %g: %g times\n", convolutions, c->conv_dim, c->conv_alpha, c->conv_alpha / c->conv_dim);
    fprintf(out, "             %zu trainable numbers, %.3g MB as %s\n", numbers, (double)(numbers * type_size(c->save_precision)) / 1e6,
            type_name(c->save_precision));
}

void plan_print_steps(FILE *out, const Trainer *t)
{
    static const char *const way[] = { [LR_CONSTANT] = "constant", [LR_CONSTANT_WITH_WARMUP] = "constant", [LR_LINEAR] = "linear to 0",
                                       [LR_COSINE] = "cosine to 0", [LR_COSINE_WITH_RESTARTS] = "cosine to 0" };
    const TrainConfig *c = t->config;
    int                warmup = train_config_warmup(c, t->steps);
    fprintf(out, "\nan epoch     %d samples in %d batches of up to %d", concepts_samples(&t->concepts), t->epoch_batches, c->train_batch_size);
    if (c->gradient_accumulation_steps > 1) fprintf(out, ", %d of them a step", c->gradient_accumulation_steps);
    fprintf(out, ": %d steps\n", t->epoch_steps);
    fprintf(out, "the run      %d steps: %.4g epochs\n", t->steps, (double)t->steps / t->epoch_steps);
    fprintf(out, "rate        ");
    if (!c->network_train_text_encoder_only) fprintf(out, " UNet %g", c->unet_lr);
    if (!c->network_train_unet_only) fprintf(out, "%s text encoder %g", c->network_train_text_encoder_only ? "" : ",", c->text_encoder_lr);
    fprintf(out, "; %s", way[c->lr_scheduler]);
    if (c->lr_scheduler_num_cycles > 1) fprintf(out, ", %d times,", c->lr_scheduler_num_cycles);
    if (warmup) fprintf(out, " after %d steps of warm-up", warmup);
    fputc('\n', out);
}

/* ---- memory ---- */

size_t plan_host_memory(const Trainer *t)
{
    enum { PROGRAM = 14 << 20 };                        /* code, BLAS, tokenizer: measured */
    const TrainConfig *c = t->config;
    size_t             factor = (size_t)vae_factor(&t->pipeline.model.vae.config), latents = 0, most = 0, channels = (size_t)t->pipeline.model.unet.config.in;
    for (int i = 0; i < t->concepts.pictures; i++) {
        BucketSize size = t->buckets.size[t->fit[i].bucket];
        size_t     one = (size_t)size.w / factor * ((size_t)size.h / factor) * channels;
        latents += 2 * one * sizeof(float) * (c->flip_aug ? 2 : 1);
        if (one > most) most = one;
    }
    size_t batch = 4 * most * (size_t)c->train_batch_size * sizeof(double), texts = 0;
    if (c->network_train_unet_only) {
        size_t tokens = (size_t)chunk_tokens(t->pipeline.tokenizer.length, train_config_chunks(c));
        size_t one = tokens * (size_t)t->pipeline.model.clip.config.width * type_size(t->pipeline.set->act);
        size_t count = (size_t)t->concepts.pictures + 1;
        if (c->shuffle_caption || c->caption_tag_dropout_rate > 0) count = (size_t)t->steps * (size_t)c->train_batch_size;
        texts = count < TEXT_STATES_MEMORY / one ? count * one : TEXT_STATES_MEMORY;
    }
    return latents + batch + texts + PROGRAM;
}

static void print_bytes(FILE *out, size_t bytes)
{
    if ((double)bytes >= GB) fprintf(out, "%.2f GB", (double)bytes / GB);
    else fprintf(out, "%.1f MB", (double)bytes / MB);
}

static void print_kind(FILE *out, const char *kind, size_t bytes, const char *what)
{
    fprintf(out, "  %-11s%14zu  %9.1f MB  %s\n", kind, bytes, (double)bytes / MB, what);
}

void plan_print_memory(FILE *out, const Trainer *t)
{
    const StepCost *c = &t->cost;
    size_t          bottom = c->activations + c->scratch;
    fprintf(out, "\nmemory       ");
    print_bytes(out, step_memory(c));
    fprintf(out, " of the set's, %s\n", tape_mode_name(t->mode));
    print_kind(out, "weights", c->weights, "text encoder, UNet, autoencoder: frozen");
    print_kind(out, "trainable", c->trainable, "the LoRA, its gradients and moments");
    print_kind(out, "activations", c->activations, "what a step keeps to go back through");
    print_kind(out, "scratch", c->scratch, "of the operation that runs when these are at their most");
    print_kind(out, "gradients", c->gradients, "of activations, on the way back");
    if (c->before > bottom) print_kind(out, "before", c->before - bottom, "more than these, while pictures are encoded");
    print_kind(out, "host", plan_host_memory(t), "beside it: encoded pictures, a batch, texts, the program");
}

/* ---- sdlora plan ---- */

/* "8GB", "8", "8192MB"; 0: it is none of these. */
static double bytes_of(const char *text)
{
    char  *end;
    double x = isdigit((unsigned char)*text) ? strtod(text, &end) : 0;
    if (!(x > 0 && x < 1e6)) return 0;
    while (*end == ' ') end++;
    return !*end || !strcmp(end, "GB") ? x * GB : !strcmp(end, "MB") ? x * MB : 0;
}

int plan_config_check(PlanConfig *config)
{
    if (!config->train.pretrained_model_name_or_path) return err("--model: a folder, or sd15, sd20-base, sd20, sd21-base or sd21, was expected");
    if (!bytes_of(config->vram)) return err("--vram: a card's memory was expected, 8GB or 8192MB, not \"%s\"", config->vram);
    return train_config_check(&config->train);
}

/* A model without its numbers; a built-in one has no tokenizer, and its text encoder tells how many tokens there are. */
static int describe_model(Trainer *t, Set **null)
{
    Pipeline   *p = &t->pipeline;
    ModelSource source = train_config_source(t->config);
    const Set  *like = set_describe(t->config->set);
    if (!like || !(*null = set_null(like))) return -1;
    p->set = *null;
    if (checkpoint_describe_source(&p->model, &source, *null)) {
        bool there = is_dir(source.path) || is_file(source.path) || model_config_named(source.path);
        return there ? -1 : err("%s; --model sd15 needs no files", err_text());
    }
    if (*p->model.tokenizer) return pipeline_open_tokenizer(p);
    p->tokenizer.length = p->model.clip.config.length;
    return 0;
}

static int find_pictures(Trainer *t, const PlanConfig *config)
{
    const TrainConfig *c = &config->train;
    const Checkpoint  *m = &t->pipeline.model;
    int                w = c->resolution[0] ? c->resolution[0] : m->native_w, h = c->resolution[1] ? c->resolution[1] : m->native_h;
    if (config->images || !c->train_data_dir) return concepts_count(&t->concepts, config->images ? config->images : "1x1", w, h);
    return concepts_open(&t->concepts, c->train_data_dir, c->caption_extension, NULL) ? err("%s; --images 96x10,259x10 needs none", err_text()) : 0;
}

/* Those of --images. */
static void print_counts(FILE *out, const Trainer *t)
{
    const Concepts *c = &t->concepts;
    fprintf(out, "pictures     %d of %dx%d:", c->pictures, t->w, t->h);
    for (int i = 0; i < c->concepts; i++) fprintf(out, "%s %d shown %d times", i ? "," : "", c->concept[i].count, c->concept[i].repeats);
    fprintf(out, ": %d samples an epoch\n", concepts_samples(c));
}

/* Matrices, kernels and tables are kept in the type of their file where that is narrower; biases and norms are not. */
static void print_frozen(FILE *out, const Checkpoint *m, Type act)
{
    const Weights *part[] = { &m->clip.weights, &m->unet.weights, &m->vae.weights };
    size_t         count[T_COUNT] = { 0 };
    const char    *word = "frozen weights ";
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < part[k]->slots; i++)
            if (part[k]->slot[i].of) count[part[k]->slot[i].dst.type] += tensor_count(part[k]->slot[i].dst);
    for (int type = 0; type < T_COUNT; type++)
        if (count[type]) fprintf(out, "%s%s%s", word, type_name((Type)type), (Type)type == act ? "" : " as they are stored"), word = " and ";
}

static void print_model(FILE *out, const Trainer *t)
{
    const Checkpoint *m = &t->pipeline.model;
    const Set        *set = t->pipeline.set;
    size_t            text = m->clip.weights.count, unet = m->unet.weights.count, vae = m->vae.weights.count;
    fprintf(out, "model        %s, made for %dx%d; sides are multiples of %d\n", t->config->pretrained_model_name_or_path, m->native_w, m->native_h,
            checkpoint_step(m));
    plan_print_text(out, &m->clip);
    fprintf(out, "             %zu numbers: text encoder %zu, UNet %zu, autoencoder %zu\n", text + unet + vae, text, unet, vae);
    fprintf(out, "set          %s: activations %s, ", set->name, type_name(set->act));
    print_frozen(out, m, set->act);
    fprintf(out, ", parameters %s\n", type_name(set->acc));
}

static void print_flops(FILE *out, double flops)
{
    static const struct { double unit; const char *name; } units[] = { { 1e12, "TFLOP" }, { 1e9, "GFLOP" }, { 1e6, "MFLOP" } };
    int k = 0;
    while (k < 2 && flops < units[k].unit) k++;
    fprintf(out, "%.3g %s", flops / units[k].unit, units[k].name);
}

/* A step of k batches. */
static void print_work(FILE *out, const Trainer *t)
{
    const StepCost *c = &t->cost;
    double          k = t->config->gradient_accumulation_steps, step = k * (c->forward + c->backward) + c->update;
    fprintf(out, "\nwork         ");
    print_flops(out, c->forward), fprintf(out, " forward, "), print_flops(out, c->backward);
    fprintf(out, " back, %s; a step ", t->mode == TAPE_TRAIN ? "nothing run again" : "what is run again included");
    print_flops(out, step), fputc('\n', out);
}

static void print_time(FILE *out, const Trainer *t, double rate)
{
    double seconds = t->steps / rate, hours = floor(seconds / 3600);
    fprintf(out, "time         at %g steps/s %.0f h %02.0f min: %.0f s\n", rate, hours, floor((seconds - 3600 * hours) / 60), seconds);
}

/* A sixteenth of a card is its driver's. */
static void print_fit(FILE *out, size_t bytes, const char *vram)
{
    double room = bytes_of(vram) * 15 / 16, left = room - (double)bytes;
    fprintf(out, "fits         %s%s: %s, ", vram, isdigit((unsigned char)vram[strlen(vram) - 1]) ? "GB" : "", left >= 0 ? "yes" : "no");
    print_bytes(out, (size_t)fabs(left));
    fprintf(out, left >= 0 ? " of %.2f GB are left" : " more than %.2f GB", room / GB);
    fprintf(out, "; a sixteenth of the card is the driver's\n");
}

/* The step again under the other modes, for comparison. */
static int print_other_modes(FILE *out, const Trainer *t)
{
    for (int mode = TAPE_TRAIN; mode <= TAPE_CHECKPOINT; mode++) {
        Trainer other = *t;
        if (mode == (int)t->mode) continue;
        if (trainer_measure(&other, (TapeMode)mode)) return -1;
        fprintf(out, "             ");
        print_bytes(out, step_memory(&other.cost));
        fprintf(out, " %s; a step ", tape_mode_name(other.mode));
        print_flops(out, t->config->gradient_accumulation_steps * (other.cost.forward + other.cost.backward) + other.cost.update);
        fputc('\n', out);
    }
    return 0;
}

static int print_all(FILE *out, Trainer *t, const PlanConfig *config)
{
    const TrainConfig *c = &config->train;
    int                known = config->images || c->train_data_dir;
    print_model(out, t);
    if (known) {
        fputc('\n', out);
        if (config->images) print_counts(out, t);
        else concepts_print(&t->concepts, out);
        plan_print_buckets(out, t);
    }
    plan_print_lora(out, t);
    if (known) plan_print_steps(out, t);
    plan_print_memory(out, t);
    print_fit(out, step_memory(&t->cost), config->vram);
    print_work(out, t);
    if (print_other_modes(out, t)) return -1;
    if (known && config->rate > 0) print_time(out, t, config->rate);
    return 0;
}

int plan_run(const PlanConfig *config, FILE *out)
{
    const TrainConfig *c = &config->train;
    LoraRules          rules = trainer_lora_rules(c);
    Trainer            t = { .config = c };
    Set               *null = NULL;
    int status = describe_model(&t, &null) || find_pictures(&t, config) || trainer_plan(&t, NULL) ||
                         trainer_measure(&t, c->gradient_checkpointing ? TAPE_CHECKPOINT : TAPE_TRAIN) || lora_attach(&t.lora, &t.pipeline.model, &rules) ||
                         print_all(out, &t, config)
                     ? -1
                     : 0;
    trainer_close(&t);
    free(null);
    return status;
}
