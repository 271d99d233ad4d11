#include "net.h"
#include "base/err.h"
#include "base/rng.h"
#include "diffusion/guidance.h"
#include "diffusion/sampler.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY = 256 << 20, SAMPLE_STEPS = 6, BATCH = 8 };
static const double cfg = 3.5;

int net_open(Net *net, const Config *config, const char *model, Set *set)
{
    *net = (Net){ .config = config, .set = set };
    if (checkpoint_open(&net->model, model, set)) return -1;
    const SchedulerConfig *s = &net->model.scheduler;
    if (schedule_open(&net->schedule, s->scaled_linear ? BETA_SCALED_LINEAR : BETA_LINEAR, s->beta_start, s->beta_end, s->timesteps,
                      s->v_prediction ? PREDICT_V : PREDICT_EPS, s->steps_offset) || tape_open(&net->tape, set, MEMORY)) {
        checkpoint_close(&net->model);
        return -1;
    }
    return 0;
}

void net_close(Net *net)
{
    tape_close(&net->tape);
    checkpoint_close(&net->model);
}

static void expect_sound(const Net *net) { CHECK(!tape_status(&net->tape), "%s: %s", net->config->key, err_text()); }

/* ---- inputs ---- */

static Tensor read_ids(Gold *gold, Name name)           /* (n,T) in files, tokens (n,1,T,1) here */
{
    Tensor ids = gold_read(gold, T_I32, name.s);
    return tensor_of(ids.p, T_I32, ids.n, 1, ids.c, 1);
}

static double *image(Tensor t, int n) { return (double *)t.p + (size_t)n * t.img; }

/* Fills in what follows from latents, noise and times. */
static void batch_complete(const Net *net, Batch *b)
{
    Tensor l = b->latents;
    b->noisy = host_new(T_F64, l.n, l.h, l.w, l.c), b->target = host_new(T_F64, l.n, l.h, l.w, l.c), b->weight = host_new(T_F64, l.n, 1, 1, 1);
    for (int n = 0; n < l.n; n++) {
        int t = ((int32_t *)b->t.p)[n];
        schedule_noised(image(b->noisy, n), &net->schedule, t, image(l, n), image(b->noise, n), l.img);
        schedule_target(image(b->target, n), &net->schedule, t, image(l, n), image(b->noise, n), l.img);
        image(b->weight, n)[0] = net->config->min_snr > 0 ? schedule_min_snr(&net->schedule, t, net->config->min_snr) : 1;
    }
}

Batch batch_read(const Net *net, Gold *gold, const char *prefix)
{
    Batch b = { .ids = read_ids(gold, name("%s.ids", prefix)), .latents = gold_read(gold, T_F64, name("%s.latents", prefix).s),
                .noise = gold_read(gold, T_F64, name("%s.noise", prefix).s), .t = gold_read(gold, T_I32, name("%s.t", prefix).s) };
    batch_complete(net, &b);
    return b;
}

Batch batch_draw(const Net *net, int n, int h, int w, uint64_t seed)
{
    const ClipConfig *text = &net->model.clip.config;
    Batch b = { .ids = host_new(T_I32, n, 1, text->length, 1), .latents = host_new(T_F64, n, h, w, net->model.unet.config.in),
                .noise = host_new(T_F64, n, h, w, net->model.unet.config.in), .t = host_new(T_I32, n, 1, 1, 1) };
    Rng   rng = rng_open(seed, RNG_TEST, 0, 0);
    for (size_t i = 0; i < tensor_count(b.ids); i++) ((int32_t *)b.ids.p)[i] = (int32_t)rng_below(&rng, (uint32_t)text->vocab);
    for (int i = 0; i < n; i++) ((int32_t *)b.t.p)[i] = (int32_t)rng_below(&rng, (uint32_t)net->schedule.timesteps);
    for (size_t i = 0; i < tensor_count(b.latents); i++) image(b.latents, 0)[i] = rng_normal(&rng), image(b.noise, 0)[i] = rng_normal(&rng);
    batch_complete(net, &b);
    return b;
}

void batch_close(Batch *b)
{
    void *p[] = { b->ids.p, b->latents.p, b->noise.p, b->t.p, b->noisy.p, b->target.p, b->weight.p };
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) free(p[i]);
}

static void keep(Values *out, const char *what, Tensor host)
{
    memcpy(values_add(out, name("%s", what), host.n, host.h, host.w, host.c), host.p, tensor_count(host) * sizeof(double));
}

/* ---- parts ---- */

/* More ids than the text encoder has places for are chunks of as many. */
static Var *text_states(Net *net, Tensor ids)
{
    int   most = net->model.clip.config.length, chunks = (ids.w + most - 1) / most;
    Var  *tokens = tape_constant(&net->tape, T_I32, tensor_of(ids.p, T_I32, ids.n * chunks, 1, ids.w / chunks, 1));
    return nn_chunks(&net->tape, clip_forward(&net->tape, &net->model.clip, tokens), chunks);
}

static Var *prediction(Net *net, Tensor x, const double *t, Var *text)
{
    const UnetConfig *c = &net->model.unet.config;
    Tensor            sines = host_new(T_F64, x.n, 1, 1, c->channels[0]);
    for (int n = 0; n < x.n; n++) unet_time(c, t[n], image(sines, n));
    Var *y = unet_forward(&net->tape, &net->model.unet, tape_constant(&net->tape, net->set->act, x), tape_constant(&net->tape, net->set->act, sines), text);
    free(sines.p);
    return y;
}

static void times_of(double t[BATCH], Tensor times)
{
    CHECK(times.n <= BATCH, "a batch of %d", times.n);
    for (int n = 0; n < times.n; n++) t[n] = ((int32_t *)times.p)[n];
}

/* ---- forward ---- */

typedef struct {
    Values     *out;
    Set        *set;
    const char *prefix;
} Tap;

static void tap(void *ctx, const char *what, Tensor value)
{
    const Tap *t = ctx;
    values_take(t->out, name("%s%s", t->prefix, what), t->set, value);
}

static void start(Net *net, TapeMode mode, Tap *to)
{
    tape_reset(&net->tape, mode);
    net->tape.tap = to ? tap : NULL, net->tape.tap_ctx = to;
}

void net_forward(Net *net, Gold *gold, const char *prefix, Values *out)
{
    Batch  b = batch_read(net, gold, "in");
    Tap    to = { out, net->set, prefix };
    double t[BATCH];
    start(net, TAPE_INFER, &to);
    times_of(t, b.t);
    prediction(net, b.noisy, t, text_states(net, b.ids));
    expect_sound(net);
    batch_close(&b);
}

void net_text(Net *net, Gold *gold, const char *ids, const char *what, Values *out)
{
    Tensor tokens = read_ids(gold, name("%s", ids));
    start(net, TAPE_INFER, NULL);
    Var *text = text_states(net, tokens);
    expect_sound(net);
    values_take(out, name("%s", what), net->set, text->t);
    free(tokens.p);
}

void net_vae(Net *net, Gold *gold, Values *out)
{
    Tensor picture = gold_read(gold, T_F64, "vae.image"), latent = gold_read(gold, T_F64, "vae.latent");
    Tap    to = { out, net->set, "" };
    start(net, TAPE_INFER, &to);
    vae_encode(&net->tape, &net->model.vae, tape_constant(&net->tape, net->set->act, picture));
    vae_decode(&net->tape, &net->model.vae, tape_constant(&net->tape, net->set->act, latent));
    expect_sound(net);
    keep(out, "vae.image", picture);
    keep(out, "vae.latent", latent);
    free(picture.p);
    free(latent.p);
}

/* ---- training ---- */

double net_train(Net *net, Lora *lora, const Batch *b, TapeMode mode, Values *out)
{
    double t[BATCH], mean = 0;
    int    n = b->noisy.n;
    Tape  *tape = &net->tape;
    CHECK(!params_clear(&lora->params), "%s", err_text());
    start(net, mode, NULL);
    times_of(t, b->t);
    Var *y = prediction(net, b->noisy, t, text_states(net, b->ids));
    Var *target = tape_constant(tape, net->set->acc, b->target), *weight = tape_constant(tape, net->set->acc, b->weight);
    Var *loss = nn_loss(tape, y, target, weight, lora->params.ctl, LOSS_L2, 1.0 / n);
    expect_sound(net);
    keep(out, "train.noisy", b->noisy);
    keep(out, "train.target", b->target);
    keep(out, "train.weight", b->weight);
    values_take(out, name("train.loss_each"), net->set, loss->t);
    const double *each = values_find(out, "train.loss_each")->t.p;
    for (int i = 0; i < n; i++) mean += each[i] / n;
    values_add(out, name("train.loss"), 1, 1, 1, 1)[0] = mean;
    if (mode == TAPE_INFER) return mean;

    tape_backward(tape);
    expect_sound(net);
    CHECK(tape->arena.blocks == 0, "%d gradients were never given back", tape->arena.blocks);
    for (int i = 0; i < lora->params.params; i++) {
        Name key = name("grad.%s", lora->params.param[i].name);
        values_take(out, key, net->set, params_grad(&lora->params, i));
        const Value *g = values_find(out, key.s);
        for (size_t k = 0; k < tensor_count(g->t); k++) ((double *)g->t.p)[k] /= lora->params.scale;
    }
    return mean;
}

/* ---- sampling ---- */

static void take_list(Values *out, const char *path, const char *what, const double *x, int n)
{
    memcpy(values_add(out, name("sample.%s.%s", path, what), n, 1, 1, 1), x, (size_t)n * sizeof *x);
}

/* output = the guided prediction for x: both halves in one batch, without and with the prompt. */
static void guided(Net *net, Tensor x, double sigma, double t, Tensor ids, double *output)
{
    double times[BATCH], scale = sampler_input(sigma);
    size_t count = tensor_count(x);
    Tensor both = host_new(T_F64, 2 * x.n, x.h, x.w, x.c), y = host_new(T_F64, 2 * x.n, x.h, x.w, x.c);
    CHECK(both.n <= BATCH, "a batch of %d", both.n);
    for (size_t i = 0; i < count; i++) image(both, 0)[i] = image(both, x.n)[i] = scale * image(x, 0)[i];
    for (int n = 0; n < both.n; n++) times[n] = t;
    start(net, TAPE_INFER, NULL);
    Var *predicted = prediction(net, both, times, text_states(net, ids));
    expect_sound(net);
    CHECK(!net->set->download(net->set, y, predicted->t), "%s", err_text());
    guidance_mix(output, image(y, 0), image(y, x.n), cfg, count);
    free(both.p);
    free(y.p);
}

/* The ids of all images without, then with the prompt: (2m,1,T,1). */
static Tensor both_prompts(Gold *gold)
{
    Tensor without = read_ids(gold, name("in.sample.uncond")), with = read_ids(gold, name("in.sample.ids")), both = host_new(T_I32, 2 * with.n, 1, with.w, 1);
    memcpy(both.p, without.p, tensor_count(without) * sizeof(int32_t));
    memcpy((int32_t *)both.p + tensor_count(without), with.p, tensor_count(with) * sizeof(int32_t));
    free(without.p);
    free(with.p);
    return both;
}

void net_sample(Net *net, Gold *gold, const char *path, Values *out)
{
    SamplerKind kind;
    SigmaKind   sigmas;
    Sampler     s;
    char        sampler[32], *dot;
    snprintf(sampler, sizeof sampler, "%s", path);
    CHECK((dot = strchr(sampler, '.')), "%s", path);
    *dot = 0;
    CHECK(!sampler_find(&kind, &sigmas, sampler) && !sigmas_find(&sigmas, kind == SAMPLER_DDIM ? "automatic" : dot + 1), "%s: %s", path, err_text());

    Tensor  x = gold_read(gold, T_F64, "in.sample.noise"), ids = both_prompts(gold);
    size_t  count = tensor_count(x);
    double *latent = x.p, *output = host_new(T_F64, x.n, x.h, x.w, x.c).p;
    CHECK(!sampler_open(&s, kind, sigmas, SAMPLE_STEPS, &net->schedule, count), "%s", err_text());
    take_list(out, path, "sigmas", s.sigma, SAMPLE_STEPS + 1);
    take_list(out, path, "timesteps", s.t, SAMPLE_STEPS);
    for (size_t i = 0; i < count; i++) latent[i] *= s.first;
    for (int i = 0; i < SAMPLE_STEPS; i++) {
        Tensor noise = sampler_draws(&s, i) ? gold_read(gold, T_F64, name("in.sample.ancestral.%d", i).s) : NONE;
        guided(net, x, s.sigma[i], s.t[i], ids, output);
        sampler_denoised(output, latent, output, s.sigma[i], net->schedule.prediction, count);
        sampler_step(&s, latent, output, noise.p, i);
        keep(out, name("sample.%s.%d", path, i).s, x);
        free(noise.p);
    }
    sampler_close(&s);
    free(x.p);
    free(ids.p);
    free(output);
}
