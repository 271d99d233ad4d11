#include "bench/nets.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/rng.h"
#include "ops/null_count.h"
#include "ops/trace.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TOKENS = 77, IMAGES = 64, UNET = 1, TEXT = 2 };
static const double LONG_ENOUGH = 0.5;                  /* seconds of passes of a job */

static void expect(int status) { CHECK(status == 0, "%s", err_text()); }

/* ---- numbers ---- */

/* Weights of +-1/sqrt(inputs), so that what goes through the nets keeps its size; biases 0, scales 1. One row of random numbers serves all. */
static void fill(Weights *w)
{
    enum { ROW = 1 << 16 };
    double *value = malloc(ROW * sizeof *value);
    Rng     rng = rng_open(1, RNG_TEST, 0, 0);
    CHECK(value, "no memory");
    for (int j = 0; j < ROW; j++) value[j] = 2 * rng_uniform(&rng) - 1;
    for (int i = 0; i < w->slots; i++) {
        Tensor t = w->slot[i].dst;
        size_t fan = (size_t)t.h * (size_t)t.w * (size_t)t.c, count = tensor_count(t);
        int    is_bias = strstr(w->slot[i].name, "bias") != NULL;
        void  *row = malloc(ROW * type_size(t.type));
        CHECK(row && (t.ld == (size_t)t.c || count == (size_t)t.c), "%s: no memory, or rows apart", w->slot[i].name);
        for (int j = 0; j < ROW; j++) type_set(t.type, row, (size_t)j, w->slot[i].rank > 1 ? value[j] / sqrt((double)fan) : is_bias ? 0 : 1);
        for (size_t at = 0; at < count; at += ROW) {
            int n = count - at < ROW ? (int)(count - at) : ROW;
            expect(w->set->upload(w->set, tensor_of(tensor_at(t, at), t.type, 1, 1, 1, n), tensor_of(row, t.type, 1, 1, 1, n)));
        }
        free(row);
    }
    free(value);
}

static double *random_numbers(size_t count, uint32_t key)
{
    double *x = malloc(count * sizeof *x);
    Rng     rng = rng_open(1, RNG_TEST, key, 1);
    CHECK(x, "no memory for %zu numbers", count);
    for (size_t j = 0; j < count; j++) x[j] = rng_normal(&rng);
    return x;
}

static void batch_close(StepBatch *b)
{
    free((void *)b->ids), free((void *)b->text), free((void *)b->x), free((void *)b->target), free((void *)b->sines), free((void *)b->weight);
    *b = (StepBatch){ 0 };
}

/* The batch of this shape, unless it is there already. */
static void batch_of(Nets *k, const Job *job)
{
    if (k->batch.x && job->w == k->shape.w && job->h == k->shape.h && job->batch == k->shape.batch) return;
    const UnetConfig *c = &k->model.unet.config;
    int               n = job->batch, scale = vae_factor(&k->model.vae.config), h = job->h / scale, w = job->w / scale;
    size_t            count = (size_t)n * (size_t)h * (size_t)w * (size_t)c->in, words = (size_t)n * TOKENS, width = (size_t)k->model.clip.config.width;
    double           *sines = malloc((size_t)n * (size_t)c->channels[0] * sizeof *sines), *weight = malloc((size_t)n * sizeof *weight);
    int32_t          *ids = calloc(words, sizeof *ids);
    void             *text = malloc(words * width * type_size(k->set->act));
    double           *states = random_numbers(words * width, 3);
    CHECK(sines && weight && ids && text, "no memory for a batch");
    for (int i = 0; i < n; i++) unet_time(c, 100 * (i + 1), sines + (size_t)i * (size_t)c->channels[0]), weight[i] = 1;
    for (size_t j = 0; j < words; j++) ids[j] = (int32_t)(j * 331 % (size_t)k->model.clip.config.vocab);
    for (size_t j = 0; j < words * width; j++) type_set(k->set->act, text, j, states[j]);
    free(states);
    batch_close(&k->batch);
    k->shape = *job;
    k->batch = (StepBatch){ n, h, w, c->in, TOKENS, 1, ids, text, random_numbers(count, 1), random_numbers(count, 2), sines, weight };
}

/* ---- what is timed ---- */

static void forward(Nets *k)
{
    const StepBatch *b = &k->batch;
    Type             act = k->set->act;
    tape_reset(&k->tape, TAPE_INFER);
    Var *x = tape_constant(&k->tape, act, tensor_of((void *)b->x, T_F64, b->n, b->h, b->w, b->c));
    Var *sines = tape_constant(&k->tape, act, tensor_of((void *)b->sines, T_F64, b->n, 1, 1, k->model.unet.config.channels[0]));
    Var *text = tape_constant(&k->tape, act, tensor_of((void *)b->text, act, b->n, 1, b->tokens, k->model.clip.config.width));
    unet_forward(&k->tape, &k->model.unet, x, sines, text);
    expect(tape_status(&k->tape) || k->set->sync(k->set));
}

static void text(Nets *k)
{
    const StepBatch *b = &k->batch;
    tape_reset(&k->tape, TAPE_INFER);
    clip_forward(&k->tape, &k->model.clip, tape_constant(&k->tape, T_I32, tensor_of((void *)b->ids, T_I32, b->n, 1, b->tokens, 1)));
    expect(tape_status(&k->tape) || k->set->sync(k->set));
}

static void decode(Nets *k)
{
    const StepBatch *b = &k->batch;
    tape_reset(&k->tape, TAPE_INFER);
    vae_decode(&k->tape, &k->model.vae, tape_constant(&k->tape, k->set->act, tensor_of((void *)b->x, T_F64, b->n, b->h, b->w, b->c)));
    expect(tape_status(&k->tape) || k->set->sync(k->set));
}

static void train(Nets *k, TapeMode mode, int with_text)
{
    ParamUpdate update = { .kind = UPDATE_ADAMW, .step = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .lr = { 1e-4, 1e-4 }, .clip = 1 };
    StepBatch   b = k->batch;
    double      loss[IMAGES];
    if (with_text) b.text = NULL;
    expect(params_clear(&k->lora.params) || step_pass(&k->tape, &k->model, &k->lora, &b, mode, 1.0 / b.n, loss) || params_update(&k->lora.params, &update));
}

static void step(Nets *k) { train(k, TAPE_TRAIN, 1); }
static void checkpoint(Nets *k) { train(k, TAPE_CHECKPOINT, 1); }
static void unet(Nets *k) { train(k, TAPE_TRAIN, 0); }

static const struct {
    const char *name;
    void (*run)(Nets *);
    int adapted;
} tasks[] = { { "forward", forward, 0 },        { "text", text, 0 },  { "decode", decode, 0 }, { "step", step, UNET | TEXT },
              { "checkpoint", checkpoint, UNET | TEXT }, { "unet", unet, UNET } };
enum { TASKS = sizeof tasks / sizeof *tasks };

int net_task(const char *name)
{
    for (int t = 0; t < TASKS; t++)
        if (!strcmp(name, tasks[t].name)) return t;
    return -1;
}

const char *net_task_name(int task) { return tasks[task].name; }

/* Adapters on these halves, and on no other. 1: they are new, and all 0. */
static int adapt(Nets *k, int halves)
{
    if (k->adapted == halves) return 0;
    if (k->adapted) lora_detach(&k->lora);
    k->adapted = halves;
    if (!halves) return 0;
    LoraRules rules = k->rules;
    rules.unet = halves & UNET ? 1 : 0, rules.text = halves & TEXT ? 1 : 0;
    expect(lora_attach(&k->lora, &k->model, &rules));
    return 1;
}

static size_t trainable(const Nets *k)
{
    size_t count = 0;
    const Params *p = &k->lora.params;
    for (int i = 0; k->adapted && i < p->params; i++) count += (size_t)p->param[i].o * (size_t)p->param[i].k * (size_t)p->param[i].k * (size_t)p->param[i].i;
    return count;
}

static int is_there(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

void nets_open(Nets *k, const char *path, const char *set, int trace, const LoraRules *rules)
{
    *k = (Nets){ .path = path, .rules = *rules };
    k->set = k->plain = set_open(set);
    if (k->plain && trace) k->set = k->traced = trace_open(k->plain);
    CHECK(k->set, "%s", err_text());
    int described = !is_there(path);
    expect(described ? checkpoint_describe(&k->model, path, k->set) : checkpoint_open(&k->model, path, k->set));
    expect(tape_open(&k->tape, k->set, k->set->room ? 0 : (size_t)64 << 30));
    if (described) fill(&k->model.clip.weights), fill(&k->model.unet.weights), fill(&k->model.vae.weights);
}

void nets_close(Nets *k)
{
    adapt(k, 0);
    batch_close(&k->batch);
    tape_close(&k->tape);
    checkpoint_close(&k->model);
    trace_close(k->traced);
}

/* FLOPs, and the bytes of the tape's memory, by the same calls on the set that only counts. */
static double flops_of(const Nets *k, const Job *job, size_t *bytes)
{
    Nets null = { .set = set_null(k->plain), .batch = k->batch, .rules = k->rules };
    CHECK(null.set, "%s", err_text());
    expect(checkpoint_describe(&null.model, k->path, null.set) || tape_open(&null.tape, null.set, (size_t)1 << 46));
    adapt(&null, tasks[job->task].adapted);
    tasks[job->task].run(&null);
    double flops = null_count(null.set)->cost.flops;
    *bytes = null.tape.arena.peak_bottom + null.tape.arena.peak_top;
    adapt(&null, 0);
    tape_close(&null.tape);
    checkpoint_close(&null.model);
    free(null.set);
    return flops;
}

Spent nets_time(Nets *k, const Job *job)
{
    int passes = 0;
    CHECK(job->task >= 0 && job->task < TASKS && job->batch > 0 && job->batch <= IMAGES && job->w > 0 && job->h > 0, "no such job");
    if (job->threads) omp_set_num_threads(job->threads);
    if (adapt(k, tasks[job->task].adapted)) expect(lora_init(&k->lora, 1));
    batch_of(k, job);
    size_t bytes;
    double flops = flops_of(k, job, &bytes);
    if (k->set->room) expect(tape_reserve(&k->tape, bytes));
    double start = now(), seconds;
    do tasks[job->task].run(k), passes++;
    while ((seconds = now() - start) < LONG_ENOUGH);
    return (Spent){ seconds / passes, flops, trainable(k) };
}
