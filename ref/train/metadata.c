#include "train/metadata.h"
#include "base/err.h"
#include "base/text.h"
#include "base/version.h"
#include "io/file.h"
#include "train/tags.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ---- Python's spelling ---- */

/* Digits d.ddd of %.*e, the fewest that read back; then Python's rule: an exponent below -4 or from 16 on, else a point within or behind the digits. */
void python_float(char text[32], double x)
{
    char digits[32];
    int  places = 0;
    if (!isfinite(x)) {
        strcpy(text, isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
        return;
    }
    do snprintf(digits, sizeof digits, "%.*e", places, x);
    while (strtod(digits, NULL) != x && places++ < 17);
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) strcpy(text, digits);
    else snprintf(text, 32, "%.*f", places > exponent ? places - exponent : 1, x);
}

static const char *python_bool(int x) { return x ? "True" : "False"; }

/* ---- the list ---- */

static int put_text(Metadata *m, const char *key, const char *value)
{
    int i = 0;
    while (i < m->pairs && strcmp(m->pair[i].key, key)) i++;
    if (i == m->room) {
        int              room = m->room ? 2 * m->room : 96;
        SafetensorsPair *more = realloc(m->pair, (size_t)room * sizeof *more);
        if (!more) return err("out of memory for %d metadata", room);
        m->pair = more, m->room = room;
    }
    char *name = i == m->pairs ? strdup(key) : (char *)m->pair[i].key, *text = strdup(value);
    if (!name || !text) return i == m->pairs ? free(name) : (void)0, free(text), err("out of memory for the metadata");
    if (i == m->pairs) m->pairs++;
    else free((void *)m->pair[i].value);
    m->pair[i] = (SafetensorsPair){ name, text };
    return 0;
}

/* Appends a value, or puts it in place of the key's last. */
static void put(Metadata *m, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void put(Metadata *m, const char *key, const char *format, ...)
{
    va_list args;
    if (m->failed) return;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args) + 1;
    va_end(args);
    char *text = malloc((size_t)size);
    va_start(args, format);
    if (text) vsnprintf(text, (size_t)size, format, args);
    va_end(args);
    m->failed = text ? put_text(m, key, text) : err("out of memory for the metadata");
    free(text);
}

static void put_given(Metadata *m, const char *key, const char *text)
{
    if (text) put(m, key, "%s", text);
}

static void put_real(Metadata *m, const char *key, double x)
{
    char text[32];
    python_float(text, x);
    put(m, key, "%s", text);
}

/* Of an argument that kohya's scripts give by default as a whole number, and otherwise read as a float. */
static void put_real_or(Metadata *m, const char *key, double x, int otherwise)
{
    if (x == otherwise) put(m, key, "%d", otherwise);
    else put_real(m, key, x);
}

/* Of an argument that is off by default. */
static void put_real_or_none(Metadata *m, const char *key, double x)
{
    if (x != 0) put_real(m, key, x);
    else put(m, key, "None");
}

static void put_written(Metadata *m, const char *key, const Trainer *t, int (*write)(FILE *, const Trainer *))
{
    Text text;
    if (m->failed) return;
    FILE *out = text_open(&text);
    int   status = out ? write(out, t) : 0;
    if (!text_close(&text) || status) m->failed = err("out of memory for %s", key);
    else put(m, key, "%s", text.s);
    free(text.s);
}

/* ---- time ---- */

/* Seconds since 1970; *fixed: they are SOURCE_DATE_EPOCH's. */
static double now(int *fixed)
{
    struct timespec t;
    const char     *source = getenv("SOURCE_DATE_EPOCH");
    *fixed = source && *source && !source[strspn(source, "0123456789")] && strlen(source) < 12;
    if (*fixed) return (double)atoll(source);
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-6 * (double)(t.tv_nsec / 1000);
}

/* ---- groups of keys ---- */

static void put_session(Metadata *m, const Trainer *t)
{
    int      fixed;
    uint32_t session = (uint32_t)t->config->seed;
    double   started = now(&fixed);
    if (!fixed && getrandom(&session, sizeof session, 0) != sizeof session) m->failed = err("the system gives no random numbers");
    put(m, "ss_session_id", "%u", session);
    put_real(m, "ss_training_started_at", started);
    put(m, "ss_output_name", "%s", t->config->output_name);
    put(m, "ss_training_comment", "%s", t->config->training_comment ? t->config->training_comment : "None");
    put(m, "ss_seed", "%lld", (long long)t->config->seed);
}

static void put_model(Metadata *m, const Trainer *t)
{
    enum { OLD_AT = 0x100000, OLD_SIZE = 0x10000, OLD_DIGITS = 8 };         /* the web UI's first hash of a model */
    const char *path = t->config->pretrained_model_name_or_path;
    int         skip = t->config->clip_skip;
    size_t      end = strlen(path), start;
    char        hash[HASH_SIZE];
    while (end > 1 && path[end - 1] == '/') end--;
    for (start = end; start > 0 && path[start - 1] != '/';) start--;
    put(m, "ss_sd_model_name", "%.*s", (int)(end - start), path + start);
    if (skip) put(m, "ss_clip_skip", "%d", skip);
    else put(m, "ss_clip_skip", "None");
    if (m->failed || !is_file(path)) return;            /* of a folder there is no hash */
    if (hash_file_range(hash, path, OLD_AT, OLD_SIZE)) m->failed = -1;
    else put(m, "ss_sd_model_hash", "%.*s", OLD_DIGITS, hash);
    if (m->failed || hash_file(hash, path)) m->failed = -1;
    else put(m, "ss_new_sd_model_hash", "%s", hash);
}

/* Stable Diffusion 2.x is told by OpenCLIP's activation. */
static int is_v2(const Trainer *t) { return t->pipeline.model.clip.config.act == ACT_GELU; }
static int is_v(const Trainer *t) { return t->pipeline.schedule.prediction == PREDICT_V; }

/* All that is left of ss_* with --no_metadata. */
static void put_network(Metadata *m, const Trainer *t)
{
    const TrainConfig *c = t->config;
    put(m, "ss_v2", is_v2(t) ? "True" : "False");
    put(m, "ss_base_model_version", !is_v2(t) ? "sd_v1" : is_v(t) ? "sd_v2_v" : "sd_v2");
    put(m, "ss_network_module", "networks.lora");
    put(m, "ss_network_dim", "%d", c->network_dim);
    put_real_or(m, "ss_network_alpha", c->network_alpha, 1);
    if (c->conv_dim) put(m, "ss_network_args", "{\"conv_dim\": \"%d\", \"conv_alpha\": \"%.10g\"}", c->conv_dim, c->conv_alpha);
}

/* The class and those of its arguments that are not torch's defaults. */
static void put_optimizer(Metadata *m, const TrainConfig *c)
{
    char arguments[160] = "", decay[32], beta1[32], beta2[32], eps[32];
    int  n = 0;
    python_float(decay, c->weight_decay), python_float(eps, c->adam_epsilon);
    python_float(beta1, c->adam_beta1), python_float(beta2, c->adam_beta2);
    if (c->weight_decay != 0.01) n += snprintf(arguments + n, sizeof arguments - (size_t)n, ",weight_decay=%s", decay);
    if (c->adam_beta1 != 0.9 || c->adam_beta2 != 0.999) n += snprintf(arguments + n, sizeof arguments - (size_t)n, ",betas=(%s, %s)", beta1, beta2);
    if (c->adam_epsilon != 1e-8) n += snprintf(arguments + n, sizeof arguments - (size_t)n, ",eps=%s", eps);
    put(m, "ss_optimizer", n ? "torch.optim.adamw.AdamW(%s)" : "torch.optim.adamw.AdamW%s", arguments + (n > 0));
    put_real(m, "ss_max_grad_norm", c->max_grad_norm);
}

static void put_plan(Metadata *m, const Trainer *t)
{
    static const char *const schedulers[] = { [LR_CONSTANT] = "constant", [LR_CONSTANT_WITH_WARMUP] = "constant_with_warmup", [LR_LINEAR] = "linear",
                                              [LR_COSINE] = "cosine", [LR_COSINE_WITH_RESTARTS] = "cosine_with_restarts" };
    const TrainConfig *c = t->config;
    put_real(m, "ss_learning_rate", c->learning_rate);
    put_real(m, "ss_unet_lr", c->unet_lr);
    put_real(m, "ss_text_encoder_lr", c->text_encoder_lr);
    put(m, "ss_lr_scheduler", "%s", schedulers[c->lr_scheduler]);
    if (c->lr_warmup_steps > 0 && c->lr_warmup_steps < 1) put_real(m, "ss_lr_warmup_steps", c->lr_warmup_steps);
    else put(m, "ss_lr_warmup_steps", "%.0f", c->lr_warmup_steps);
    put(m, "ss_max_train_steps", "%d", t->steps);
    put(m, "ss_num_epochs", "%d", t->epochs);
    put(m, "ss_num_batches_per_epoch", "%d", t->epoch_batches);
    put(m, "ss_gradient_accumulation_steps", "%d", c->gradient_accumulation_steps);
    put(m, "ss_gradient_checkpointing", "%s", python_bool(c->gradient_checkpointing));
    put_real_or_none(m, "ss_min_snr_gamma", c->min_snr_gamma);
    put_real_or_none(m, "ss_noise_offset", c->noise_offset);
    put(m, "ss_noise_offset_random_strength", "%s", python_bool(c->noise_offset_random_strength));
    put_real_or_none(m, "ss_adaptive_noise_scale", c->adaptive_noise_scale);
    put_real(m, "ss_caption_dropout_rate", c->caption_dropout_rate);
    put_real(m, "ss_caption_tag_dropout_rate", c->caption_tag_dropout_rate);
}

/* What holds for every run of this program. */
static void put_constants(Metadata *m)
{
    static const SafetensorsPair pair[] = {
        { "ss_mixed_precision", "no" },    { "ss_full_fp16", "False" },     { "ss_cache_latents", "True" },    { "ss_color_aug", "False" },
        { "ss_network_dropout", "None" },  { "ss_loss_type", "l2" },        { "ss_random_crop", "False" },     { "ss_zero_terminal_snr", "False" },
        { "ss_num_reg_images", "0" },      { "ss_reg_dataset_dirs", "{}" },
    };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) put(m, pair[i].key, "%s", pair[i].value);
}

static int write_dirs(FILE *out, const Trainer *t)
{
    fputc('{', out);
    for (int i = 0; i < t->concepts.concepts; i++) {
        const Concept *c = &t->concepts.concept[i];
        fputs(i ? ", " : "", out);
        python_string(out, c->folder);
        fprintf(out, ": {\"n_repeats\": %d, \"img_count\": %d}", c->repeats, c->count);
    }
    fputc('}', out);
    return 0;
}

static int write_tags(FILE *out, const Trainer *t) { return tags_write(out, &t->concepts); }

/* Counts are with repeats; the error, of the ratio w/h of picture and bucket, is without. */
static int write_buckets(FILE *out, const Trainer *t)
{
    double      error = 0;
    char        text[32];
    const char *comma = "";
    int        *count = calloc((size_t)t->buckets.count, sizeof *count);
    if (!count) return -1;
    for (int i = 0; i < t->concepts.pictures; i++) {
        const Picture *p = &t->concepts.picture[i];
        BucketSize     size = t->buckets.size[t->fit[i].bucket];
        count[t->fit[i].bucket] += t->repeats[i];
        error += fabs((double)size.w / size.h - (double)p->w / p->h);
    }
    fputs("{\"buckets\": {", out);
    for (int b = 0; b < t->buckets.count; b++) {
        if (!count[b]) continue;
        fprintf(out, "%s\"%d\": {\"resolution\": [%d, %d], \"count\": %d}", comma, b, t->buckets.size[b].w, t->buckets.size[b].h, count[b]);
        comma = ", ";
    }
    python_float(text, error / t->concepts.pictures);
    fprintf(out, "}, \"mean_img_ar_error\": %s}", text);
    free(count);
    return 0;
}

static void put_pictures(Metadata *m, const Trainer *t)
{
    const TrainConfig *c = t->config;
    const BucketRules *r = &t->buckets.rules;
    put(m, "ss_batch_size_per_device", "%d", c->train_batch_size);
    put(m, "ss_total_batch_size", "%d", c->train_batch_size * c->gradient_accumulation_steps);
    put(m, "ss_num_train_images", "%d", concepts_samples(&t->concepts));
    put(m, "ss_resolution", "(%d, %d)", t->w, t->h);
    put(m, "ss_shuffle_caption", "%s", python_bool(c->shuffle_caption));
    if (c->max_token_length > 75) put(m, "ss_max_token_length", "%d", c->max_token_length);
    else put(m, "ss_max_token_length", "None");
    put(m, "ss_keep_tokens", "%d", c->keep_tokens);
    put(m, "ss_flip_aug", "%s", python_bool(c->flip_aug));
    put(m, "ss_enable_bucket", "%s", python_bool(c->enable_bucket));
    put(m, "ss_bucket_no_upscale", "%s", python_bool(c->bucket_no_upscale));
    if (r->many && r->min) put(m, "ss_min_bucket_reso", "%d", r->min), put(m, "ss_max_bucket_reso", "%d", r->max);
    else put(m, "ss_min_bucket_reso", "None"), put(m, "ss_max_bucket_reso", "None");
    put_written(m, "ss_dataset_dirs", t, write_dirs);
    put_written(m, "ss_tag_frequency", t, write_tags);
    if (c->enable_bucket) put_written(m, "ss_bucket_info", t, write_buckets);
    else put(m, "ss_bucket_info", "null");
}

static void put_spec(Metadata *m, const Trainer *t)
{
    const TrainConfig *c = t->config;
    const Schedule    *s = &t->pipeline.schedule;
    put(m, "modelspec.sai_model_spec", "1.0.1");
    put(m, "modelspec.architecture", "stable-diffusion-%s/lora", !is_v2(t) ? "v1" : is_v(t) ? "v2-768-v" : "v2-512");
    put(m, "modelspec.implementation", "diffusers");    /* whose names the modules have */
    put(m, "modelspec.implementation_version", "sdlora/" SDLORA_VERSION);
    put(m, "modelspec.title", "%s", c->metadata_title ? c->metadata_title : c->output_name);
    put(m, "modelspec.resolution", "%dx%d", t->w, t->h);
    put(m, "modelspec.prediction_type", "%s", is_v(t) ? "v" : "epsilon");
    put(m, "modelspec.timestep_range", "0,%d", s->timesteps);
    if (c->clip_skip) put(m, "modelspec.encoder_layer", "%d", c->clip_skip);
    put_given(m, "modelspec.author", c->metadata_author);
    put_given(m, "modelspec.description", c->metadata_description);
    put_given(m, "modelspec.license", c->metadata_license);
    put_given(m, "modelspec.tags", c->metadata_tags);
    put_given(m, "modelspec.usage_hint", c->metadata_usage);
}

/* ---- from outside ---- */

int metadata_open(Metadata *m, const Trainer *t)
{
    *m = (Metadata){ 0 };
    put_network(m, t);
    if (!t->config->no_metadata) {
        put_session(m, t);
        put_model(m, t);
        put_optimizer(m, t->config);
        put_plan(m, t);
        put_pictures(m, t);
        put_constants(m);
    }
    put_spec(m, t);
    if (!m->failed) return 0;
    metadata_close(m);
    return -1;
}

void metadata_close(Metadata *m)
{
    for (int i = 0; i < m->pairs; i++) free((void *)m->pair[i].key), free((void *)m->pair[i].value);
    free(m->pair);
    *m = (Metadata){ 0 };
}

int metadata_update(Metadata *m, const Trainer *t)
{
    int       fixed;
    double    seconds = now(&fixed);
    time_t    whole = (time_t)seconds;
    char      date[32];
    struct tm utc;
    if (!strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", gmtime_r(&whole, &utc))) *date = 0;
    put(m, "modelspec.date", "%s", date);
    if (!t->config->no_metadata) {
        put(m, "ss_steps", "%d", t->at.step);
        put(m, "ss_epoch", "%d", t->at.batch ? t->at.epoch + 1 : t->at.epoch);
        put_real(m, "ss_training_finished_at", seconds);
    }
    return m->failed;
}
