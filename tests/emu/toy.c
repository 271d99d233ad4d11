/* toy - a small model trained and sampled from on the CUDA set, on the emulator: as near to the truth as rounding lets it be, and the same bits each time.
 *
 *   toy STEPS RUNS      steps of AdamW on golden/parity/a, then sampling with what was learned
 *
 * The truth is ref64. What f16 and float do to it is measured as tests/parity does: by RUNS runs of ref64 in which every number that goes to memory is moved
 * by up to the roundoff of the set's type. cuda and ref16 keep the same types and are held against the same runs, ref against those of float. Closes with a
 * line `# bits ...` of all that cuda computed, for toy.sh to compare between orders; RUNS 0: that alone. */
#include "../parity/net.h"
#include "../parity/noise.h"
#include "base/err.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Errors of a set are one more draw of what the noisy runs show: 6 spreads of it, and 2 for sums inside an op (tests/parity/main.c). */
enum { NOISES = 32, BATCHES = 10 };
static const double factor = 6 * 2;
static const Config config = { "a", { .dim = 3, .alpha = 2.0, .unet = 1, .text = 1 }, 0 };
static int          tests, failures;

static void report(const char *what, Group g)
{
    int ok = g.compared > 0 && g.failed == 0;
    printf("%s %d - toy: %s: %d tensors", ok ? "ok" : "not ok", ++tests, what, g.compared);
    if (g.worst > 0) printf(", worst at %.2g of the bound", g.worst);
    printf("\n");
    failures += !ok;
}

static void expect(int status) { CHECK(status == 0, "%s", err_text()); }

/* ---- a run ---- */

/* Leaves the losses, the norm of each step's gradient and the last gradients. */
static void train(Net *net, Lora *lora, Gold *gold, int steps, Values *out)
{
    ParamUpdate u = { .lr = { 5e-4, 1e-3 }, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.01, .clip = 1, .kind = UPDATE_ADAMW };
    double     *losses = values_add(out, name("losses"), steps, 1, 1, 1), *norms = values_add(out, name("norms"), steps, 1, 1, 1), bad;
    for (int k = 0; k < steps; k++) {
        Values step = { 0 };
        Batch  b = batch_read(net, gold, name("in.%d", k % BATCHES).s);
        losses[k] = net_train(net, lora, &b, TAPE_CHECKPOINT, k + 1 < steps ? &step : out);
        u.step = k + 1;
        expect(params_update(&lora->params, &u) || params_control(&lora->params, CTL_SUMSQ, &norms[k]) || params_control(&lora->params, CTL_BAD, &bad));
        norms[k] = bad ? NAN : sqrt(norms[k]) / lora->params.scale;
        values_free(&step);
        batch_close(&b);
    }
}

/* And what was learned, and latents sampled with it. */
static void run(Set *set, int steps, Values *out)
{
    Net  net;
    Lora lora;
    Gold gold;
    CHECK(set, "%s", err_text());
    expect(gold_open(&gold, "golden/parity/a/golden.safetensors") || net_open(&net, &config, "golden/parity/a/model", set));
    expect(lora_attach(&lora, &net.model, &config.rules) || lora_load(&lora, "golden/parity/a/lora.safetensors"));
    train(&net, &lora, &gold, steps, out);
    for (int i = 0; i < lora.params.params; i++) {
        const Param *p = &lora.params.param[i];
        expect(params_get(&lora.params, i, values_add(out, name("lora.%s", p->name), p->o, p->k, p->k, p->i)));
    }
    net_sample(&net, &gold, "euler_a.karras", out);
    lora_detach(&lora);
    net_close(&net);
    gold_close(&gold);
}

static Values run_on(const char *set, int steps)
{
    Values out = { 0 };
    run(set_open(set), steps, &out);
    return out;
}

/* ---- judging ---- */

/* FNV-1a. */
static uint64_t bits_of(const Values *v)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (int i = 0; i < v->count; i++)
        for (size_t b = 0; b < tensor_count(v->value[i].t) * sizeof(double); b++) hash = (hash ^ ((uint8_t *)v->value[i].t.p)[b]) * 0x100000001b3;
    return hash;
}

/* Sets of the same types, against the noise of those. cuda has run already. */
static void judge(const char *const *sets, int count, const Values *cuda, const Values *exact, int steps, int runs)
{
    Values noisy[NOISES] = { { 0 } };
    for (int i = 0; i < runs; i++) run(noise_open(set_open(sets[0]), (uint64_t)i), steps, &noisy[i]);
    for (int k = 0; k < count; k++) {
        Values got = strcmp(sets[k], "cuda") ? run_on(sets[k], steps) : *cuda;
        Group  g = { 0 };
        compare_noise(&g, &got, exact, noisy, runs, factor);
        report(name("%d steps and sampling, %s against ref64", steps, sets[k]).s, g);
        if (strcmp(sets[k], "cuda")) values_free(&got);
    }
    for (int i = 0; i < runs; i++) values_free(&noisy[i]);
}

static void judge_all(const Values *cuda, int steps, int runs)
{
    omp_set_num_threads(1);                             /* the small nets gain nothing from more */
    Values exact = run_on("ref64", steps), again = run_on("cuda", steps);
    Group  g = { 0 };
    judge((const char *const[]){ "ref16", "cuda" }, 2, cuda, &exact, steps, runs);
    judge((const char *const[]){ "ref" }, 1, cuda, &exact, steps, runs);
    compare_bits(&g, &again, cuda);
    report("cuda again, on one thread: the same bits", g);
    values_free(&exact), values_free(&again);
}

int main(int argc, char **argv)
{
    int steps = argc == 3 ? atoi(argv[1]) : 0, runs = argc == 3 ? atoi(argv[2]) : -1;
    if (steps < 1 || runs < 0 || runs > NOISES) return fprintf(stderr, "toy: STEPS from 1 and RUNS from 0 to %d were expected\n", NOISES), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    Values cuda = run_on("cuda", steps);
    if (runs) judge_all(&cuda, steps, runs);
    printf("# bits %016llx\n1..%d\n", (unsigned long long)bits_of(&cuda), tests);
    values_free(&cuda);
    return failures > 0;
}
