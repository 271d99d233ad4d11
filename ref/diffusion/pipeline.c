#include "diffusion/pipeline.h"
#include "base/err.h"
#include "base/torch_rng.h"
#include "diffusion/conditioning.h"
#include "diffusion/guidance.h"
#include "text/prompt.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int pipeline_open_tokenizer(Pipeline *p)
{
    const Clip *clip = &p->model.clip;
    const char *dir = p->model.tokenizer;
    if (!*dir) return err("the model has no tokenizer with it: give --tokenizer DIR (vocab.json, merges.txt), or fetch CLIP's by `make clip-vocab`");
    if (tokenizer_open(&p->tokenizer, dir)) return -1;
    if (p->model.pad >= 0) p->tokenizer.pad = p->model.pad;
    if (p->tokenizer.length > clip->config.length)
        return err("%s: model_max_length: expected at most the text encoder's %d positions, found %d", dir, clip->config.length, p->tokenizer.length);
    if (p->tokenizer.vocab > clip->config.vocab)
        return err("%s: expected at most the text encoder's %d words, found %d", dir, clip->config.vocab, p->tokenizer.vocab);
    return 0;
}

int pipeline_open_schedule(Pipeline *p, const ModelSource *source)
{
    const SchedulerConfig *c = &p->model.scheduler;
    if (schedule_open(&p->schedule, c->scaled_linear ? BETA_SCALED_LINEAR : BETA_LINEAR, c->beta_start, c->beta_end, c->timesteps,
                      c->v_prediction ? PREDICT_V : PREDICT_EPS, c->steps_offset) == 0)
        return 0;
    return err("%s: %s: %s", source->path, config_files[CONFIG_SCHEDULER], err_text());
}

int pipeline_open(Pipeline *p, const ModelSource *source, const char *set) { return pipeline_open_on(p, source, set_open(set)); }

int pipeline_open_on(Pipeline *p, const ModelSource *source, Set *set)
{
    *p = (Pipeline){ .set = set };
    if (!p->set || checkpoint_open_source(&p->model, source, p->set)) return -1;
    size_t host = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);         /* reserved, not used: pages cost when touched */
    if (pipeline_open_tokenizer(p) == 0 && pipeline_open_schedule(p, source) == 0 && tape_open(&p->tape, p->set, set->room ? 0 : host) == 0) return 0;
    pipeline_close(p);
    return -1;
}

void pipeline_close(Pipeline *p)
{
    tape_close(&p->tape);
    tokenizer_close(&p->tokenizer);
    checkpoint_close(&p->model);
}

Var *pipeline_text(Pipeline *p, const int32_t *ids, int n)
{
    Var *v = tape_constant(&p->tape, T_I32, tensor_of((void *)ids, T_I32, n, 1, p->tokenizer.length, 1));
    return clip_forward(&p->tape, &p->model.clip, v);
}

/* ---- sampling ---- */

/* The work of one call. Latents are (n,h,w,c) in k-space. What the model sees is rows: with guidance first each picture without its prompt, then the prompts
 * of each, mostly one. */
typedef struct {
    Pipeline             *p;
    const SampleSettings *s;
    int                   n, h, w, c;
    int                   rows, negatives;              /* negatives: n, or 0 where nothing is guided */
    int                  *picture;                      /* (rows): whose row it is */
    size_t                one, all;                     /* elements of a latent, of n */
    Conditioning          text;
    TorchRng             *rng;
    float                *draw;                         /* (c,h,w) of one picture, torch's order */
    double               *x, *denoised, *noise, *guided;                    /* of n */
    double               *input, *output, *sines;                           /* of all rows */
    Sampler               sampler;
} Sampling;

static void sampling_close(Sampling *g)
{
    conditioning_close(&g->text);
    free(g->picture);
    free(g->rng);
    free(g->draw);
    free(g->x);
    sampler_close(&g->sampler);
}

/* The arena that sampling takes, found by replaying it on a set that only counts; 0 and err(). */
static size_t replayed(const Pipeline *p, Set *null, const Sampling *g)
{
    const UnetConfig *c = &p->model.unet.config;
    int               length = p->tokenizer.length, width = p->model.clip.config.width, n = g->rows, h = g->h, w = g->w;
    Type              act = null->act;
    Tape              t;
    if (tape_open(&t, null, (size_t)1 << 46)) return 0;
    clip_forward(&t, &p->model.clip, tape_new(&t, T_I32, g->text.chunks.count, 1, length, 1));
    tape_reset(&t, TAPE_INFER);
    unet_forward(&t, &p->model.unet, tape_new(&t, act, n, h, w, c->in), tape_new(&t, act, n, 1, 1, c->channels[0]),
                 tape_new(&t, act, n, 1, g->text.most * length, width));
    tape_reset(&t, TAPE_INFER);
    vae_decode(&t, &p->model.vae, tape_new(&t, act, 1, h, w, c->in));
    size_t peak = tape_status(&t) ? 0 : t.arena.peak_bottom;
    tape_close(&t);
    return peak;
}

/* Memory for all of it, of a set whose memory costs as soon as it is taken. The tape is reset where it grows. */
static int reserve(const Sampling *g)
{
    Pipeline *p = g->p;
    if (!p->set->room) return 0;
    Set   *null = set_null(p->set);
    size_t bytes = null ? replayed(p, null, g) : 0;
    free(null);
    return bytes ? tape_reserve(&p->tape, bytes) : -1;
}

int pipeline_takes(const Pipeline *p, int w, int h)
{
    int step = checkpoint_step(&p->model);
    return w >= step && h >= step && w % step == 0 && h % step == 0 ? 0 : err("%dx%d: width and height must be multiples of %d for this model", w, h, step);
}

/* At cfg 1 a picture is what the model makes of its one prompt; of several it is a sum, which needs the one without. 1, 0, or -1 and err(). */
static int is_guided(const SampleSettings *s, const SamplePicture *picture, int n)
{
    int guided = s->cfg != 1;
    for (int i = 0; i < n && !guided; i++) {
        Prompt prompt;
        int    status = prompt_read(&prompt, picture[i].prompt, 0, s->emphasis, s->steps);
        guided = status ? -1 : prompt.count > 1;
        prompt_free(&prompt);
    }
    return guided;
}

/* A picture's rows. */
static int add_rows(Sampling *g, const char *prompt, int picture, int negative)
{
    int count = conditioning_add(&g->text, &g->p->tokenizer, prompt, negative, g->s->emphasis, g->s->steps);
    if (count < 0) return -1;
    int *more = realloc(g->picture, (size_t)g->text.rows * sizeof *more);
    if (!more) return err("out of memory for %d prompts", g->text.rows);
    for (g->picture = more; g->rows < g->text.rows; g->rows++) more[g->rows] = picture;
    return 0;
}

static int read_prompts(Sampling *g, const SamplePicture *picture)
{
    int guided = is_guided(g->s, picture, g->n);
    if (guided < 0) return -1;
    g->negatives = guided ? g->n : 0;
    for (int i = 0; i < g->negatives; i++)
        if (add_rows(g, picture[i].negative, i, 1)) return -1;
    for (int i = 0; i < g->n; i++)
        if (add_rows(g, picture[i].prompt, i, 0)) return -1;
    return 0;
}

static int sampling_open(Sampling *g, Pipeline *p, const SampleSettings *s, const SamplePicture *picture, int n)
{
    int factor = vae_factor(&p->model.vae.config);
    if (pipeline_takes(p, s->w, s->h)) return -1;
    *g = (Sampling){ .p = p, .s = s, .n = n, .h = s->h / factor, .w = s->w / factor, .c = p->model.unet.config.in };
    g->one = (size_t)g->h * (size_t)g->w * (size_t)g->c, g->all = g->one * (size_t)n;
    if (read_prompts(g, picture) || reserve(g)) return -1;
    size_t seen = (size_t)g->rows * g->one, sines = (size_t)g->rows * (size_t)p->model.unet.config.channels[0];
    g->rng = malloc((size_t)n * sizeof *g->rng);
    g->draw = malloc(g->one * sizeof *g->draw);
    g->x = malloc((4 * g->all + 2 * seen + sines) * sizeof *g->x);
    if (!g->rng || !g->draw || !g->x) return err("out of memory for %d pictures of %dx%d", n, s->w, s->h);
    g->denoised = g->x + g->all, g->noise = g->denoised + g->all, g->guided = g->noise + g->all;
    g->input = g->guided + g->all, g->output = g->input + seen, g->sines = g->output + seen;
    for (int i = 0; i < n; i++) g->rng[i] = torch_rng_open(picture[i].seed);
    return sampler_open(&g->sampler, s->sampler, s->sigmas, s->steps, &p->schedule, g->all);
}

/* The chunks of the rows up to the one before `end`. */
static void dump_ids(const Sampling *g, int row, int end, const char *name)
{
    const Chunks *c = &g->text.chunks;
    int           first = g->text.row[row].first, count = (end < g->rows ? g->text.row[end].first : c->count) - first;
    dump_host(g->p->dump, tensor_of(c->ids + (size_t)first * (size_t)c->length, T_I32, count, 1, c->length, 1), 2, "in.sample.%s", name);
}

static int encode_prompts(Sampling *g)
{
    dump_ids(g, g->negatives, g->rows, "ids");
    if (g->negatives) dump_ids(g, 0, g->negatives, "uncond");
    return conditioning_encode(&g->text, g->p, g->s->emphasis);
}

/* n of them; name may hold one %d, for the step. */
static void dump_latents(const Sampling *g, const double *x, int n, const char *name, int step)
{
    dump_host(g->p->dump, tensor_of((void *)x, T_F64, n, g->h, g->w, g->c), 4, name, step);
}

static void dump_schedule(const Sampling *g)
{
    const Sampler *s = &g->sampler;
    dump_host(g->p->dump, tensor_of(s->sigma, T_F64, 1, 1, 1, s->steps + 1), 1, "sample.sigmas");
    dump_host(g->p->dump, tensor_of(s->t, T_F64, 1, 1, 1, s->steps), 1, "sample.timesteps");
}

/* Each picture's next normals, in torch's order (c,h,w), to (n,h,w,c). */
static void draw_noise(Sampling *g)
{
    size_t plane = (size_t)g->h * (size_t)g->w;
    for (int i = 0; i < g->n; i++) {
        torch_rng_normal(&g->rng[i], g->draw, g->one);
        for (size_t at = 0; at < plane; at++)
            for (size_t c = 0; c < (size_t)g->c; c++) g->noise[(size_t)i * g->one + at * (size_t)g->c + c] = g->draw[c * plane + at];
    }
}

/* output = the U-Net at input, of n rows that are told texts of one length. */
static int predict_rows(Sampling *g, int row, int n, int step)
{
    Pipeline *p = g->p;
    Tape     *t = &p->tape;
    int       c0 = p->model.unet.config.channels[0];
    double   *input = g->input + (size_t)row * g->one, *output = g->output + (size_t)row * g->one;
    tape_reset(t, TAPE_INFER);
    Var *x = tape_constant(t, p->set->act, tensor_of(input, T_F64, n, g->h, g->w, g->c));
    Var *sines = tape_constant(t, p->set->act, tensor_of(g->sines + (size_t)row * (size_t)c0, T_F64, n, 1, 1, c0));
    Var *y = unet_forward(t, &p->model.unet, x, sines, tape_constant(t, p->set->act, conditioning_rows(&g->text, row, n, step)));
    return tape_status(t) || p->set->download(p->set, tensor_of(output, T_F64, n, g->h, g->w, g->c), y->t) || p->set->sync(p->set) ? -1 : 0;
}

/* guided = output, led from each picture without its prompt towards those with. */
static void guide(Sampling *g)
{
    if (!g->negatives) memcpy(g->guided, g->output, g->all * sizeof *g->guided);
    for (int row = g->negatives; row < g->rows && g->negatives; row++) {
        int     k = g->picture[row], is_first = row == g->negatives || g->picture[row - 1] != k;
        double *y = g->guided + (size_t)k * g->one, *uncond = g->output + (size_t)k * g->one, *cond = g->output + (size_t)row * g->one;
        double  scale = g->s->cfg * g->text.row[row].weight;
        if (is_first) guidance_mix(y, uncond, cond, scale, g->one);
        else guidance_add(y, uncond, cond, scale, g->one);
    }
}

/* guided = the model at x in step i. */
static int predict(Sampling *g, int i)
{
    int    c0 = g->p->model.unet.config.channels[0];
    double scale = sampler_input(g->sampler.sigma[i]);
    for (int row = 0; row < g->rows; row++) {
        const double *x = g->x + (size_t)g->picture[row] * g->one;
        for (size_t k = 0; k < g->one; k++) g->input[(size_t)row * g->one + k] = x[k] * scale;
        unet_time(&g->p->model.unet.config, g->sampler.t[i], g->sines + (size_t)row * (size_t)c0);
    }
    for (int row = 0, n; row < g->rows; row += n) {
        n = conditioning_run(&g->text, row);
        if (predict_rows(g, row, n, i)) return -1;
    }
    guide(g);
    dump_latents(g, g->input, g->n, "sample.%d.input", i);
    if (g->negatives) {
        dump_latents(g, g->output, g->n, "sample.%d.uncond", i);
        dump_latents(g, g->output + g->all, g->rows - g->n, "sample.%d.cond", i);
    }
    dump_latents(g, g->guided, g->n, "sample.%d.output", i);
    return 0;
}

/* -1..1 to 0..255, rounded half to even, as diffusers. */
static uint8_t to_byte(double x)
{
    double v = (x + 1) * 127.5;
    return v > 0 ? (uint8_t)rint(v < 255 ? v : 255) : 0;
}

static int is_finite(const double *x, size_t count)
{
    for (size_t k = 0; k < count; k++)
        if (!isfinite(x[k])) return 0;
    return 1;
}

static int decode(Sampling *g, const SamplePicture *picture, Image *image)
{
    Pipeline *p = g->p;
    Tape     *t = &p->tape;
    size_t    pixels = (size_t)g->s->w * (size_t)g->s->h * 3;
    double   *rgb = malloc(pixels * sizeof *rgb);
    if (!rgb) return err("out of memory for a picture of %dx%d", g->s->w, g->s->h);
    int status = 0;
    for (size_t k = 0; k < g->all; k++) g->x[k] *= g->sampler.last / p->model.vae.config.scaling;
    dump_latents(g, g->x, g->n, "vae.latent", 0);
    for (int i = 0; i < g->n; i++) {
        double *z = g->x + (size_t)i * g->one;
        tape_reset(t, TAPE_INFER);
        Var *y = vae_decode(t, &p->model.vae, tape_constant(t, p->set->act, tensor_of(z, T_F64, 1, g->h, g->w, g->c)));
        if (tape_status(t) || p->set->download(p->set, tensor_of(rgb, T_F64, 1, g->s->h, g->s->w, 3), y->t) || p->set->sync(p->set) ||
            image_new(&image[i], g->s->w, g->s->h)) {
            while (i-- > 0) image_free(&image[i]);
            status = -1;
            break;
        }
        dump_put(p->dump, y->t, 4, "vae.decoded.%d", i);
        if (is_finite(rgb, pixels)) {
            for (size_t k = 0; k < pixels; k++) image[i].rgb[k] = to_byte(rgb[k]);
            continue;
        }
        image_free(&image[i]);
        if (!status) err("seed %u: the numbers of %s are not finite", picture[i].seed, is_finite(z, g->one) ? "the decoded picture" : "the latent");
        status = 1;
    }
    free(rgb);
    return status;
}

static int run_steps(Sampling *g, Progress *progress, int *done)
{
    const Sampler *s = &g->sampler;
    draw_noise(g);
    dump_schedule(g);
    dump_latents(g, g->noise, g->n, "in.sample.noise", 0);
    for (size_t k = 0; k < g->all; k++) g->x[k] = s->first * g->noise[k];
    for (int i = 0; i < s->steps; i++) {
        const char *why = g->s->stop ? g->s->stop() : NULL;
        if (why) return err("%s after step %d of %d", why, i, s->steps);
        if (predict(g, i)) return -1;
        sampler_denoised(g->denoised, g->x, g->guided, s->sigma[i], g->p->schedule.prediction, g->all);
        dump_latents(g, g->denoised, g->n, "sample.%d.denoised", i);
        if (sampler_draws(s, i)) {
            draw_noise(g);
            dump_latents(g, g->noise, g->n, "in.sample.ancestral.%d", i);
        }
        sampler_step(&g->sampler, g->x, g->denoised, g->noise, i);
        dump_latents(g, g->x, g->n, "sample.%d", i);
        if (progress) progress_update(progress, ++*done, "%s", "");
    }
    return 0;
}

int pipeline_sample(Pipeline *p, const SampleSettings *s, const SamplePicture *picture, int n, Image *image, Progress *progress, int *done)
{
    Sampling g = { 0 };
    int      status = sampling_open(&g, p, s, picture, n) || encode_prompts(&g) || run_steps(&g, progress, done) ? -1 : decode(&g, picture, image);
    sampling_close(&g);
    return status;
}
