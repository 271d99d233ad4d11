#include "train/trainer.h"
#include "base/err.h"
#include "check/shadow.h"
#include "ops/trace.h"
#include "text/caption.h"
#include "train/diagnose.h"
#include "train/lr_schedule.h"
#include "train/noise.h"
#include "train/step_dump.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- opening ---- */

/* Pictures that fit no bucket are problems, and left out. */
static int open_buckets(Trainer *t, Problems *problems)
{
    const TrainConfig *c = t->config;
    int                step = checkpoint_step(&t->pipeline.model), reso = c->bucket_reso_steps;
    t->w = c->resolution[0] ? c->resolution[0] : t->pipeline.model.native_w;
    t->h = c->resolution[1] ? c->resolution[1] : t->pipeline.model.native_h;
    if (reso && reso % step) return err("--bucket_reso_steps %d: expected a multiple of %d, the step of this model", reso, step);
    BucketRules rules = { t->w, t->h, c->enable_bucket, c->bucket_no_upscale, reso ? reso : step, c->min_bucket_reso, c->max_bucket_reso };
    t->fit = calloc((size_t)t->concepts.pictures, sizeof *t->fit);
    t->repeats = calloc((size_t)t->concepts.pictures, sizeof *t->repeats);
    if (!t->fit || !t->repeats) return err("out of memory for %d pictures", t->concepts.pictures);
    if (buckets_open(&t->buckets, &rules)) return -1;
    for (int i = 0; i < t->concepts.pictures;) {
        const Picture *p = &t->concepts.picture[i];
        t->repeats[i] = t->concepts.concept[p->concept].repeats;
        if (buckets_fit(&t->fit[i], &t->buckets, p->path, p->w, p->h) == 0) i++;
        else if (problems_take(problems)) return -1;
        else concepts_drop(&t->concepts, i);
    }
    return t->concepts.pictures ? 0 : err("%s: no picture is left to train on", c->train_data_dir);
}

static int open_plan(Trainer *t)
{
    const TrainConfig *c = t->config;
    int                accumulate = c->gradient_accumulation_steps;
    t->epoch_batches = batches_count(t->fit, t->repeats, t->concepts.pictures, c->train_batch_size);
    if (t->epoch_batches < 0) return -1;
    t->epoch_steps = (t->epoch_batches + accumulate - 1) / accumulate;
    if (c->max_train_epochs > 0 && c->max_train_epochs > INT32_MAX / t->epoch_steps)
        return err("--max_train_epochs %d: more than 2^31 steps", c->max_train_epochs);
    t->steps = c->max_train_epochs > 0 ? c->max_train_epochs * t->epoch_steps : c->max_train_steps;
    t->epochs = (t->steps + t->epoch_steps - 1) / t->epoch_steps;
    t->batches_epoch = -1;
    return 0;
}

LoraRules trainer_lora_rules(const TrainConfig *c)
{
    return (LoraRules){ c->network_dim, c->conv_dim, c->network_alpha, c->conv_alpha, !c->network_train_text_encoder_only, !c->network_train_unet_only };
}

/* Memory that the system can give without swapping; 0 where it does not say. */
static size_t free_memory(void)
{
    char          line[128];
    unsigned long kilobytes = 0;
    FILE         *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lu", &kilobytes) == 1) break;
    if (f) fclose(f);
    return (size_t)kilobytes * 1024;
}

int trainer_plan(Trainer *t, Problems *problems) { return open_buckets(t, problems) || open_plan(t) ? -1 : 0; }

int trainer_measure(Trainer *t, TapeMode mode)
{
    const TrainConfig *c = t->config;
    ModelSource        source = train_config_source(c);
    LoraRules          rules = trainer_lora_rules(c);
    BucketSize         size = t->buckets.size[0];
    int                factor = vae_factor(&t->pipeline.model.vae.config);
    for (int i = 1; i < t->buckets.count; i++)
        if ((int64_t)t->buckets.size[i].w * t->buckets.size[i].h > (int64_t)size.w * size.h) size = t->buckets.size[i];
    t->mode = mode;
    return step_cost(&t->cost, &source, t->pipeline.set, &rules, c->train_batch_size, size.h / factor, size.w / factor,
                     t->pipeline.tokenizer.length, train_config_chunks(c), mode);
}

/* A set's own memory is taken as it is, but for what its driver will want yet; the host's is a guess of the system's, and may be more than there is. */
int trainer_fit(Trainer *t, int loaded)
{
    Set   *set = t->pipeline.set;
    size_t available = set->room ? set->room(set) / 32 * 31 : free_memory() / 10 * 9, wanted = 0;
    for (int mode = t->config->gradient_checkpointing ? TAPE_CHECKPOINT : TAPE_TRAIN; mode <= TAPE_CHECKPOINT; mode++) {
        if (trainer_measure(t, (TapeMode)mode)) return -1;
        wanted = t->cost.trainable + step_arena(&t->cost) + (loaded ? 0 : set->room ? t->cost.blocks : t->cost.weights);
        if (wanted <= available || (!available && !set->room)) return 0;
    }
    if (!set->room) return 0;
    return err("%s: %.0f MB are wanted for %dx%d, %d at once, even with gradient checkpointing, and %.0f MB are free: try a smaller --resolution, "
               "--train_batch_size or --network_dim",
               set->name, (double)wanted / (1 << 20), t->w, t->h, t->config->train_batch_size, (double)available / (1 << 20));
}

static int open_lora(Trainer *t)
{
    const TrainConfig *c = t->config;
    LoraRules          rules = trainer_lora_rules(c);
    if (lora_attach(&t->lora, &t->pipeline.model, &rules)) return -1;
    t->loss_scale = loss_scale_open(t->pipeline.set);
    return c->network_weights ? lora_load(&t->lora, c->network_weights) : lora_init(&t->lora, (uint64_t)c->seed);
}

/* Of one caption, all chunks. */
static size_t caption_ids(const Trainer *t) { return (size_t)(train_config_chunks(t->config) * t->pipeline.tokenizer.length); }

/* Host memory of the largest batch. */
static int open_batch(Trainer *t)
{
    size_t n = (size_t)t->config->train_batch_size, one = 0;
    for (int i = 0; i < t->latents.count; i++) {
        size_t count = (size_t)t->latents.latent[i].w * (size_t)t->latents.latent[i].h * (size_t)t->latents.latent[i].c;
        if (count > one) one = count;
    }
    t->latent = malloc(n * one * sizeof *t->latent);
    t->noise = malloc(n * one * sizeof *t->noise);
    t->x = malloc(n * one * sizeof *t->x);
    t->target = malloc(n * one * sizeof *t->target);
    t->weight = malloc(n * sizeof *t->weight);
    t->loss = malloc(n * sizeof *t->loss);
    t->sines = malloc(n * (size_t)t->pipeline.model.unet.config.channels[0] * sizeof *t->sines);
    t->timestep = malloc(n * sizeof *t->timestep);
    t->ids = malloc(n * caption_ids(t) * sizeof *t->ids);
    if (t->lora.text_group < 0 && (text_states_open(&t->texts, &t->pipeline, train_config_chunks(t->config)) || !(t->text = malloc(n * t->texts.bytes))))
        return err("out of memory for the text states of a batch");
    if (t->latent && t->noise && t->x && t->target && t->weight && t->loss && t->sines && t->timestep && t->ids) return 0;
    return err("out of memory for a batch of %d pictures", t->config->train_batch_size);
}

static int open_latents(Trainer *t)
{
    const TrainConfig *c = t->config;
    char               dir[PATH_SIZE];
    ModelSource        source = train_config_source(c);
    LatentRules        rules = { c->cache_latents_to_disk ? dir : NULL, &source, c->flip_aug, c->alpha_background, c->quiet };
    if (path_join(dir, c->train_data_dir, ".latents")) return -1;
    return latents_open(&t->latents, &t->pipeline, &t->concepts, &t->buckets, t->fit, &rules);
}

/* One allocation for all that follows; a set of the host's has it already. */
static int open_memory(Trainer *t) { return t->pipeline.set->room ? tape_reserve(&t->pipeline.tape, step_arena(&t->cost)) : 0; }

/* The set that computes, and, around it, what looks on. */
static Set *open_set(Trainer *t)
{
    const TrainConfig *c = t->config;
    Set               *set = set_open_on(c->set, c->device), *other = set && c->shadow ? set_open(c->shadow) : NULL;
    if (set && c->shadow) set = t->shadow = other ? shadow_open(set, other) : NULL;
    if (set && c->trace) set = t->trace = trace_open(set);
    return set;
}

int trainer_open(Trainer *t, const TrainConfig *config)
{
    *t = (Trainer){ .config = config };
    if (concepts_open(&t->concepts, config->train_data_dir, config->caption_extension, NULL)) return -1;
    if (!config->quiet) concepts_print(&t->concepts, stderr);
    ModelSource source = train_config_source(config);
    int         opened = pipeline_open_on(&t->pipeline, &source, open_set(t)) == 0;
    if (!opened || trainer_plan(t, NULL) || trainer_fit(t, 1) || open_memory(t) || open_latents(t) || open_lora(t) || open_batch(t))
        return trainer_close(t), -1;
    if (t->shadow) shadow_start(t->shadow);
    return 0;
}

void trainer_close(Trainer *t)
{
    if (t->lora.module) lora_detach(&t->lora);
    latents_close(&t->latents);
    text_states_close(&t->texts);
    batches_close(&t->batches);
    buckets_close(&t->buckets);
    concepts_close(&t->concepts);
    pipeline_close(&t->pipeline);
    free(t->fit);
    free(t->repeats);
    free(t->latent);
    free(t->noise);
    free(t->x);
    free(t->target);
    free(t->weight);
    free(t->loss);
    free(t->sines);
    free(t->timestep);
    free(t->ids);
    free(t->text);
    trace_close(t->trace);
    shadow_close(t->shadow);
    *t = (Trainer){ 0 };
}

/* ---- a batch ---- */

static int sample_caption(Trainer *t, const Picture *p, int place, int32_t *ids)
{
    const TrainConfig *c = t->config;
    CaptionRules       rules = { c->shuffle_caption, c->keep_tokens, c->caption_dropout_rate, c->caption_tag_dropout_rate };
    Rng                rng = rng_open((uint64_t)c->seed, RNG_CAPTION, (uint32_t)t->at.epoch, (uint32_t)place);
    char               text[CAPTION_SIZE];
    if (caption_apply(text, sizeof text, p->caption, &rules, &rng) < 0) return -1;
    return tokenizer_pad_chunks(&t->pipeline.tokenizer, text, ids, train_config_chunks(c)) < 0 ? -1 : 0;
}

/* Of the noise offset in the batch that begins at that place of the epoch. Kohya draws one strength a batch. */
static double offset_strength(const Trainer *t, int place)
{
    const TrainConfig *c = t->config;
    Rng                rng = rng_open((uint64_t)c->seed, RNG_STRENGTH, (uint32_t)t->at.epoch, (uint32_t)place);
    return c->noise_offset_random_strength ? c->noise_offset * rng_uniform(&rng) : c->noise_offset;
}

/* Sample j of a batch: what the model sees, what it should say, and what that counts. place: the sample's number in the epoch; offset: offset_strength. */
static int make_sample(Trainer *t, int j, int place, double offset)
{
    const TrainConfig *c = t->config;
    const Schedule    *s = &t->pipeline.schedule;
    int                picture = t->batches.picture[place];
    const Latent      *z = &t->latents.latent[picture];
    size_t             one = (size_t)z->w * (size_t)z->h * (size_t)z->c;
    uint64_t           seed = (uint64_t)c->seed;
    uint32_t           epoch = (uint32_t)t->at.epoch, p = (uint32_t)place;
    Rng latent = rng_open(seed, RNG_LATENT, epoch, p), noise = rng_open(seed, RNG_NOISE, epoch, p), time = rng_open(seed, RNG_TIMESTEP, epoch, p);
    double            *x0 = t->latent + (size_t)j * one, *e = t->noise + (size_t)j * one, *x = t->x + (size_t)j * one, *target = t->target + (size_t)j * one;
    int                step = t->timestep[j] = (int)rng_below(&time, (uint32_t)s->timesteps);
    Rng                flip = rng_open(seed, RNG_FLIP, epoch, p), shift = rng_open(seed, RNG_OFFSET, epoch, p);
    latent_draw(x0, &t->latents, picture, c->flip_aug && rng_uniform(&flip) < 0.5, &latent);
    for (size_t k = 0; k < one; k++) e[k] = rng_normal(&noise);
    if (c->noise_offset > 0) noise_offset(e, x0, z->w * z->h, z->c, offset, c->adaptive_noise_scale, &shift);
    schedule_noised(x, s, step, x0, e, one);
    schedule_target(target, s, step, x0, e, one);
    t->weight[j] = c->min_snr_gamma > 0 ? schedule_min_snr(s, step, c->min_snr_gamma) : 1;
    unet_time(&t->pipeline.model.unet.config, step, t->sines + (size_t)j * (size_t)t->pipeline.model.unet.config.channels[0]);
    return sample_caption(t, &t->concepts.picture[picture], place, t->ids + (size_t)j * caption_ids(t));
}

/* Forward and back over batch b, whose loss counts `share` of the step's. report->loss += share * the batch's mean. */
static int run_batch(Trainer *t, const Batch *b, double share, TrainReport *report)
{
    const Latent *z = &t->latents.latent[t->batches.picture[b->first]];
    double        offset = offset_strength(t, b->first);
    for (int j = 0; j < b->n; j++)
        if (make_sample(t, j, b->first + j, offset)) return -1;
    for (int j = 0; t->text && j < b->n; j++)
        if (text_states_get((char *)t->text + (size_t)j * t->texts.bytes, &t->texts, t->ids + (size_t)j * caption_ids(t))) return -1;
    StepBatch batch = { b->n, z->h, z->w, z->c, t->pipeline.tokenizer.length, train_config_chunks(t->config), t->ids, t->text, t->x, t->target, t->sines,
                        t->weight };
    if (t->dump) step_dump_batch(t, b, &batch);
    int status = step_pass(&t->pipeline.tape, &t->pipeline.model, &t->lora, &batch, t->mode, share / b->n, t->loss);
    t->pipeline.tape.tap = NULL;
    if (status) return -1;
    dump_host(t->dump, tensor_of(t->loss, T_F64, b->n, 1, 1, 1), 1, "train.loss_each");
    for (int j = 0; j < b->n; j++) {
        if (!isfinite(t->loss[j]))
            return err("step %d: the loss of %s is %g, and %s is not finite; the weights are those of step %d", t->at.step + 1,
                       t->concepts.picture[t->batches.picture[b->first + j]].path, t->loss[j],
                       diagnose_forward(&t->pipeline.tape, &t->pipeline.model, &t->lora, &batch).s, t->at.step);
        int band = BANDS * t->timestep[j] / t->pipeline.schedule.timesteps;
        report->loss += t->loss[j] * share / b->n;
        report->band_loss[band] += t->loss[j], report->band_samples[band]++;
    }
    return 0;
}

/* ---- a step ---- */

static int open_epoch(Trainer *t)
{
    if (t->batches_epoch == t->at.epoch) return 0;
    batches_close(&t->batches);
    t->batches_epoch = -1;
    if (batches_open(&t->batches, t->fit, t->repeats, t->concepts.pictures, t->config->train_batch_size, (uint64_t)t->config->seed, (uint32_t)t->at.epoch))
        return -1;
    t->batches_epoch = t->at.epoch;
    return 0;
}

static int update(Trainer *t, TrainReport *report)
{
    const TrainConfig *c = t->config;
    Params            *params = &t->lora.params;
    int                warmup = train_config_warmup(c, t->steps);
    double             factor = lr_factor(c->lr_scheduler, t->at.step, warmup, t->steps, c->lr_scheduler_num_cycles), sumsq, bad;
    ParamUpdate        u = { .beta1 = c->adam_beta1, .beta2 = c->adam_beta2, .eps = c->adam_epsilon, .decay = c->weight_decay, .clip = c->max_grad_norm,
                             .step = t->at.step + 1 - t->loss_scale.skipped, .kind = UPDATE_ADAMW };
    if (t->lora.text_group >= 0) u.lr[t->lora.text_group] = report->lr_text = factor * c->text_encoder_lr;
    if (t->lora.unet_group >= 0) u.lr[t->lora.unet_group] = report->lr_unet = factor * c->unet_lr;
    if (params_update(params, &u) || params_control(params, CTL_SUMSQ, &sumsq) || params_control(params, CTL_BAD, &bad) || params->set->sync(params->set))
        return -1;
    report->norm = bad != 0 ? NAN : sqrt(sumsq) / params->scale;
    if (loss_scale_step(&t->loss_scale, bad != 0) == 0) return 0;
    return err("step %d: the gradient of %s is not finite; the weights are those of step %d", t->at.step + 1, diagnose_gradient(&t->lora).s,
               t->at.step + 1 - t->loss_scale.bad);
}

int trainer_step(Trainer *t, TrainReport *report)
{
    *report = (TrainReport){ .loss = 0 };
    t->lora.params.scale = t->loss_scale.scale;
    if (open_epoch(t) || params_clear(&t->lora.params)) return -1;
    int accumulate = t->config->gradient_accumulation_steps, left = t->epoch_batches - t->at.batch, count = left < accumulate ? left : accumulate;
    for (int k = 0; k < count; k++) {                   /* a short group at an epoch's end is still divided by the full number, as in kohya */
        if (accumulate > 1) dump_prefix(t->dump, "batch.%d.", k);
        if (run_batch(t, &t->batches.batch[t->at.batch + k], 1.0 / accumulate, report)) return -1;
    }
    report->loss *= (double)accumulate / count;
    if (update(t, report)) return -1;
    t->at.step++;
    t->at.batch += count;
    if (t->at.batch == t->epoch_batches) t->at.batch = 0, t->at.epoch++;
    return 0;
}
