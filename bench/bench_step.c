/* bench_step - how long the nets of Stable Diffusion take, without a checkpoint: the built-in shapes, filled with random numbers.
 *
 *   bench_step [--model sd15] [--set auto] [--size 512x768] [--batch 1] [--rank 32] [--threads 0] [--runs 3] [--csv FILE] WHAT...
 *
 *   forward       the UNet alone                        step          a LoRA step of the UNet's modules: forward, backward, AdamW
 *   text          the text encoder                      checkpoint    the same with gradient checkpointing
 *   decode        latents to a picture                  full          a step of UNet and text encoder
 *
 * A line for each: seconds (the best and the median of the runs), GFLOP/s, the most memory that the process has had. */
#include "base/err.h"
#include "base/rng.h"
#include <math.h>
#include "ops/null_count.h"
#include "train/step.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct {
    const char *model, *set, *csv;
    int         w, h, batch, rank, threads, runs;
} Options;

typedef struct {
    Options    o;
    Set       *set;
    Checkpoint model;
    Lora       lora;
    Tape       tape;
    StepBatch  batch;
} Bench;

enum { TOKENS = 77, MOST_RUNS = 100 };

static void expect(int status) { CHECK(status == 0, "%s", err_text()); }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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

static void fill_batch(Bench *k)
{
    const UnetConfig *c = &k->model.unet.config;
    int               n = k->o.batch, h = k->o.h / vae_factor(&k->model.vae.config), w = k->o.w / vae_factor(&k->model.vae.config);
    size_t            count = (size_t)n * (size_t)h * (size_t)w * (size_t)c->in, words = (size_t)n * TOKENS, width = (size_t)k->model.clip.config.width;
    double           *sines = malloc((size_t)n * (size_t)c->channels[0] * sizeof *sines), *weight = malloc((size_t)n * sizeof *weight);
    int32_t          *ids = calloc(words, sizeof *ids);
    void             *text = malloc(words * width * type_size(k->set->act));
    double           *states = random_numbers(words * width, 3);
    CHECK(sines && weight && ids && text, "no memory for a batch");
    for (int i = 0; i < n; i++) unet_time(c, 100 * (i + 1), sines + (size_t)i * (size_t)c->channels[0]), weight[i] = 1;
    for (size_t j = 0; j < words; j++) ids[j] = (int32_t)(j * 331 % 49000);
    for (size_t j = 0; j < words * width; j++) type_set(k->set->act, text, j, states[j]);
    free(states);
    k->batch = (StepBatch){ n, h, w, c->in, TOKENS, ids, text, random_numbers(count, 1), random_numbers(count, 2), sines, weight };
}

/* ---- what is timed ---- */

static void forward(Bench *k)
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

static void text(Bench *k)
{
    const StepBatch *b = &k->batch;
    tape_reset(&k->tape, TAPE_INFER);
    clip_forward(&k->tape, &k->model.clip, tape_constant(&k->tape, T_I32, tensor_of((void *)b->ids, T_I32, b->n, 1, b->tokens, 1)));
    expect(tape_status(&k->tape) || k->set->sync(k->set));
}

static void decode(Bench *k)
{
    const StepBatch *b = &k->batch;
    tape_reset(&k->tape, TAPE_INFER);
    vae_decode(&k->tape, &k->model.vae, tape_constant(&k->tape, k->set->act, tensor_of((void *)b->x, T_F64, b->n, b->h, b->w, b->c)));
    expect(tape_status(&k->tape) || k->set->sync(k->set));
}

static void train(Bench *k, TapeMode mode, int with_text)
{
    ParamUpdate update = { .kind = UPDATE_ADAMW, .step = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .lr = { 1e-4, 1e-4 }, .clip = 1 };
    StepBatch   b = k->batch;
    double      loss[64];
    if (with_text) b.text = NULL;
    expect(params_clear(&k->lora.params) || step_pass(&k->tape, &k->model, &k->lora, &b, mode, 1.0 / b.n, loss) || params_update(&k->lora.params, &update));
}

static void step(Bench *k) { train(k, TAPE_TRAIN, 0); }
static void checkpoint(Bench *k) { train(k, TAPE_CHECKPOINT, 0); }
static void full(Bench *k) { train(k, TAPE_TRAIN, 1); }

static const struct {
    const char *name;
    void (*run)(Bench *);
    int lora, text;                                     /* adapters; on the text encoder, too */
} tasks[] = { { "forward", forward, 0, 0 }, { "text", text, 0, 0 },           { "decode", decode, 0, 0 },
              { "step", step, 1, 0 },       { "checkpoint", checkpoint, 1, 0 }, { "full", full, 1, 1 } };
enum { TASKS = sizeof tasks / sizeof *tasks };

/* FLOPs, by the same calls on the set that only counts. */
static double flops_of(const Bench *k, int task)
{
    Bench null = { .o = k->o, .set = set_null(k->set), .batch = k->batch };
    CHECK(null.set, "%s", err_text());
    expect(checkpoint_describe(&null.model, k->o.model, null.set) || tape_open(&null.tape, null.set, (size_t)1 << 46));
    LoraRules rules = { .dim = k->o.rank, .alpha = k->o.rank, .unet = 1, .text = tasks[task].text };
    if (tasks[task].lora) expect(lora_attach(&null.lora, &null.model, &rules));
    tasks[task].run(&null);
    double flops = null_count(null.set)->cost.flops;
    if (tasks[task].lora) lora_detach(&null.lora);
    tape_close(&null.tape);
    checkpoint_close(&null.model);
    free(null.set);
    return flops;
}

static int by_size(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static void run(Bench *k, int task)
{
    const Options *o = &k->o;
    LoraRules      rules = { .dim = o->rank, .alpha = o->rank, .unet = 1, .text = tasks[task].text };
    struct rusage  use;
    double         seconds[MOST_RUNS];
    if (tasks[task].lora) expect(lora_attach(&k->lora, &k->model, &rules) || lora_init(&k->lora, 1));
    for (int i = 0; i < o->runs; i++) {
        double start = now();
        tasks[task].run(k);
        seconds[i] = now() - start;
    }
    if (tasks[task].lora) lora_detach(&k->lora);
    qsort(seconds, (size_t)o->runs, sizeof *seconds, by_size);
    getrusage(RUSAGE_SELF, &use);
    double gflop = 1e-9 * flops_of(k, task), best = seconds[0], median = seconds[o->runs / 2];
    printf("%-11s %-11s %4dx%-4d %5d %7d %9.3f %9.3f %9.1f %9.1f %8.0f\n", tasks[task].name, k->set->name, o->w, o->h, o->batch, omp_get_max_threads(), best,
           median, gflop, gflop / best, (double)use.ru_maxrss / 1024);
    fflush(stdout);
    if (!o->csv) return;
    FILE *f = fopen(o->csv, "a");
    CHECK(f, "%s: cannot be written", o->csv);
    fprintf(f, "%s,%s,%s,%d,%d,%d,%d,%.4f,%.4f,%.2f,%.0f\n", tasks[task].name, o->model, k->set->name, o->w, o->h, o->batch, omp_get_max_threads(), best, median,
            gflop, (double)use.ru_maxrss / 1024);
    fclose(f);
}

int main(int argc, char **argv)
{
    Bench k = { .o = { .model = "sd15", .set = "auto", .w = 512, .h = 768, .batch = 1, .rank = 32, .runs = 3 } };
    int   wanted[TASKS] = { 0 }, any = 0;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        int         known = 0;
        for (int t = 0; t < TASKS; t++)
            if (!strcmp(name, tasks[t].name)) wanted[t] = any = known = 1;
        if (known) continue;
        if (!strcmp(name, "--model")) k.o.model = value;
        else if (!strcmp(name, "--set")) k.o.set = value;
        else if (!strcmp(name, "--csv")) k.o.csv = value;
        else if (!strcmp(name, "--size") && sscanf(value, "%dx%d", &k.o.w, &k.o.h) == 2) known = 0;
        else if (!strcmp(name, "--batch")) k.o.batch = atoi(value);
        else if (!strcmp(name, "--rank")) k.o.rank = atoi(value);
        else if (!strcmp(name, "--threads")) k.o.threads = atoi(value);
        else if (!strcmp(name, "--runs")) k.o.runs = atoi(value);
        else return fprintf(stderr, "bench_step: %s %s: see the head of bench/bench_step.c\n", name, value), 2;
        i++;
    }
    if (!any || k.o.runs < 1 || k.o.runs > MOST_RUNS || k.o.batch < 1 || k.o.batch > 64) return fprintf(stderr, "bench_step: see the head of bench/bench_step.c\n"), 2;
    if (k.o.threads) omp_set_num_threads(k.o.threads);
    k.set = set_open(k.o.set);
    CHECK(k.set, "%s", err_text());
    expect(checkpoint_describe(&k.model, k.o.model, k.set) || tape_open(&k.tape, k.set, (size_t)64 << 30));
    fill(&k.model.clip.weights), fill(&k.model.unet.weights), fill(&k.model.vae.weights);
    fill_batch(&k);
    printf("%-11s %-11s %9s %5s %7s %9s %9s %9s %9s %8s\n", "what", "set", "size", "batch", "threads", "best s", "median s", "GFLOP", "GFLOP/s", "peak MB");
    for (int t = 0; t < TASKS; t++)
        if (wanted[t]) run(&k, t);
    return 0;
}
