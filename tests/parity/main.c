/* parity - whole nets, training steps and sampling against torch, diffusers, transformers and peft (golden/make.py).
 *
 *   parity [CONFIG]...     default: a b c skip long tiny
 *
 * On ref64 everything is held against what the peers compute in float64. On ref, cpu and ref16 the same outputs, losses and gradients are held against
 * ref64. */
#include "base/err.h"
#include "base/rng.h"
#include "net.h"
#include "noise.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two float64 computations of the same thing, relative to the tensor's largest value. golden/make.py finds that moving its inputs by 1e-15 moves gradients by
 * 2.5e-13: 250-fold. Two programs round differently at some thousand places on the way, u = 1.1e-16 each: 250 u sqrt(1000) is 1e-12, sampling takes several
 * nets in a row. A formula that is wrong shows at 1e-6 and above. */
static const double agree = 1e-10;

/* What float may be off by: `factor` times what rounding errors of its size become in ref64 (noise.h), over this many draws of them.
 *   6  Float's errors are one more draw. An early one that all later numbers carry makes the error of a whole tensor one number, so even a root-mean-square
 *      is no more certain than a normal deviate, and among 1000 tensors one of 6 spreads is a matter of 1e-6.
 *   2  The draws leave out the sums inside an op: a float chain of K random terms is off by up to u K / sqrt 6 of a term, moved weights and inputs by
 *      u sqrt(2K / 3), sqrt(K)/2 times less. K is 16 for most products of these nets.
 * Measured, in draws: 1.1 in the median; at most 2.0 with sums in double, 2.8 to 3.9 on OpenBLAS's AVX kernels, 4.8 on SSE's. Sharp enough for eps 1e-6 in
 * place of 1e-5 (8 times the bound) and for an attention scale off by 1e-5 (3 times). */
enum { NOISES = 32 };
static const double factor = 6 * 2;

static const Config configs[] = {
    { "a", { .dim = 3, .alpha = 2.0, .unet = 1, .text = 1 }, 0 },
    { "b", { .dim = 3, .alpha = 2.0, .conv_dim = 2, .conv_alpha = 1.5, .unet = 1, .text = 1 }, 5 },
    { "c", { .dim = 2, .alpha = 1.5, .unet = 1 }, 5 },
};
enum { NETS = sizeof configs / sizeof *configs, STEPS = 10 };

static const char *const paths[] = { "ddim.leading",   "euler.uniform",    "euler.karras",    "euler_a.uniform",
                                     "euler_a.karras", "dpmpp_2m.uniform", "dpmpp_2m.karras" };

static int tests, failures;

static void report(const char *key, const char *what, Group g)
{
    int ok = g.compared > 0 && g.failed == 0;
    printf("%s %d - %s: %s: %d tensors", ok ? "ok" : "not ok", ++tests, key, what, g.compared);
    if (g.worst > 0) printf(", worst at %.2g of the bound", g.worst);
    printf("\n");
    if (ok) return;
    printf("# %d of %d failed; repeat with: parity %s\n", g.failed, g.compared, key);
    failures++;
}

static Name file_of(const Config *c, const char *file) { return name("golden/parity/%s/%s", c->key, file); }

static void expect(int status) { CHECK(status == 0, "%s", err_text()); }

static void attach(Net *net, Lora *lora)
{
    expect(lora_attach(lora, &net->model, &net->config->rules));
    expect(lora_load(lora, file_of(net->config, "lora.safetensors").s));
}

/* ---- one set ---- */

/* All that one training step shows, with and without LoRA, and the autoencoder. */
static void observe(const Config *c, Set *set, Gold *gold, Values *out)
{
    Net  net;
    Lora lora;
    expect(net_open(&net, c, file_of(c, "model").s, set));
    net_forward(&net, gold, "", out);
    net_vae(&net, gold, out);
    attach(&net, &lora);
    net_forward(&net, gold, "lora.", out);
    Batch b = batch_read(&net, gold, "in.0");
    net_train(&net, &lora, &b, TAPE_TRAIN, out);
    batch_close(&b);
    lora_detach(&lora);
    net_close(&net);
}

static void against_gold(const Config *c, const Values *got, Gold *gold)
{
    static const struct {
        const char *what, *prefix[5];
    } group[] = {
        { "text encoder", { "text." } },
        { "UNet, block by block", { "time.", "unet." } },
        { "autoencoder", { "vae." } },
        { "with LoRA", { "lora." } },
        { "noise, weights and loss", { "train.noisy", "train.target", "train.weight", "train.loss_each", "train.loss" } },
        { "gradients", { "grad." } },
    };
    for (size_t i = 0; i < sizeof group / sizeof *group; i++) {
        Group g = { 0 };
        for (int j = 0; j < 5 && group[i].prefix[j]; j++) compare_gold(&g, got, gold, group[i].prefix[j], agree);
        report(c->key, group[i].what, g);
    }
}

/* ---- the rest, in ref64 ---- */

static void merged(const Config *c, Set *set, Gold *gold)
{
    Net    net;
    Values out = { 0 };
    Group  g = { 0 };
    expect(net_open(&net, c, file_of(c, "model").s, set));
    expect(lora_merge(&net.model, file_of(c, "lora.safetensors").s, 1, 0));
    net_forward(&net, gold, "lora.", &out);
    compare_gold(&g, &out, gold, "lora.", agree);
    report(c->key, "with LoRA merged", g);
    values_free(&out);
    net_close(&net);
}

/* Recording everything, or only what units put out, or nothing: the same bits. */
static void modes(Net *net, Lora *lora, Gold *gold)
{
    static const TapeMode mode[] = { TAPE_TRAIN, TAPE_CHECKPOINT, TAPE_INFER };
    Values out[3] = { { 0 } };
    Group  g = { 0 };
    Batch  b = batch_read(net, gold, "in.0");
    for (int i = 0; i < 3; i++) net_train(net, lora, &b, mode[i], &out[i]);
    compare_bits(&g, &out[1], &out[0]);
    compare_bits(&g, &out[0], &out[2]);
    report(net->config->key, "the same bits from each mode of the tape", g);
    for (int i = 0; i < 3; i++) values_free(&out[i]);
    batch_close(&b);
}

static void take_weights(const Lora *lora, int step, Values *out)
{
    for (int i = 0; i < lora->params.params; i++) {
        const Param *p = &lora->params.param[i];
        expect(params_get(&lora->params, i, values_add(out, name("step%d.%s", step, p->name), p->o, p->k, p->k, p->i)));
    }
}

static void ten_steps(Net *net, Lora *lora, Gold *gold)
{
    ParamUpdate u = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = 0.01, .clip = 1, .kind = UPDATE_ADAMW };
    Values      out = { 0 };
    Group       g = { 0 };
    double     *losses = values_add(&out, name("train.losses"), STEPS, 1, 1, 1), *norms = values_add(&out, name("train.norms"), STEPS, 1, 1, 1), bad;
    if (lora->text_group >= 0) u.lr[lora->text_group] = 5e-4;
    u.lr[lora->unet_group] = 1e-3;
    for (int k = 0; k < STEPS; k++) {
        Values step = { 0 };
        Batch  b = batch_read(net, gold, name("in.%d", k).s);
        losses[k] = net_train(net, lora, &b, TAPE_CHECKPOINT, &step);
        u.step = k + 1;
        expect(params_update(&lora->params, &u) || params_control(&lora->params, CTL_SUMSQ, &norms[k]) || params_control(&lora->params, CTL_BAD, &bad));
        norms[k] = bad ? NAN : sqrt(norms[k]);
        if (k == 0 || k == STEPS - 1) take_weights(lora, k + 1, &out);
        values_free(&step);
        batch_close(&b);
    }
    compare_gold(&g, &out, gold, "train.losses", agree);
    compare_gold(&g, &out, gold, "train.norms", agree);
    compare_gold(&g, &out, gold, "step1.", agree);
    compare_gold(&g, &out, gold, "step10.", agree);
    report(net->config->key, "ten steps of AdamW", g);
    values_free(&out);
}

static void samples(Net *net, Gold *gold)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        Values out = { 0 };
        Group  g = { 0 };
        net_sample(net, gold, paths[i], &out);
        compare_gold(&g, &out, gold, name("sample.%s.", paths[i]).s, agree);
        report(net->config->key, name("sampling, %s", paths[i]).s, g);
        values_free(&out);
    }
}

static void all_used(const Config *c, const Gold *gold)
{
    Group g = { .compared = gold->file->count };
    for (int i = 0; i < gold->file->count; i++)
        if (!gold->used[i]) g.failed++, printf("# %s: read by no test\n", gold->file->entry[i].name);
    report(c->key, "every golden tensor was used", g);
}

/* ---- narrower types ---- */

/* The sets named, all of the same types: the noise of those is drawn once. */
static void on_sets(const char *const *which, int sets, const Config *c, const Values *exact, Gold *gold)
{
    Values noisy[NOISES] = { { 0 } };
    for (int k = 0; k < sets; k++) {
        Set   *set = set_open(which[k]);
        Values got = { 0 };
        Group  g = { 0 };
        CHECK(set, "%s", err_text());
        observe(c, set, gold, &got);
        for (int i = 0; k == 0 && i < NOISES; i++) observe(c, noise_open(set, (uint64_t)i), gold, &noisy[i]);
        compare_noise(&g, &got, exact, noisy, NOISES, factor);
        report(c->key, name("%s against ref64", which[k]).s, g);
        values_free(&got);
    }
    for (int i = 0; i < NOISES; i++) values_free(&noisy[i]);
}

static void run_config(const Config *c)
{
    Gold   gold;
    Net    net;
    Lora   lora;
    Values exact = { 0 };
    Set   *set = set_open("ref64");
    CHECK(set, "%s", err_text());
    expect(gold_open(&gold, file_of(c, "golden.safetensors").s));
    observe(c, set, &gold, &exact);
    against_gold(c, &exact, &gold);
    merged(c, set, &gold);
    expect(net_open(&net, c, file_of(c, "model").s, set));
    attach(&net, &lora);
    modes(&net, &lora, &gold);
    samples(&net, &gold);
    ten_steps(&net, &lora, &gold);
    lora_detach(&lora);
    net_close(&net);
    all_used(c, &gold);
    on_sets((const char *const[]){ "ref", "cpu", "cpu-base" }, 3, c, &exact, &gold);
    on_sets((const char *const[]){ "ref16" }, 1, c, &exact, &gold);
    values_free(&exact);
    gold_close(&gold);
}

/* ---- clip skip ---- */

/* Net c's states from the layer before its last, and from the first; net a, trained with its second and last left out. */
static void clip_skips(const char *key)
{
    const Config c = { "c", configs[2].rules, 0 }, a = { key, configs[0].rules, 0 };
    Gold   gold;
    Net    net;
    Lora   lora;
    Values out = { 0 };
    Group  states = { 0 }, gradients = { 0 };
    expect(gold_open(&gold, "golden/clip_skip.safetensors"));
    expect(net_open(&net, &c, "golden/parity/c/model", set_open("ref64")));
    for (int skip = 2; skip <= 3; skip++) {
        expect(clip_skip(&net.model.clip, skip));
        net_text(&net, &gold, "c.ids", name("c.hidden.%d", skip).s, &out);
    }
    net_close(&net);

    expect(net_open(&net, &a, "golden/parity/a/model", set_open("ref64")));
    expect(clip_skip(&net.model.clip, 2));
    net_text(&net, &gold, "in.0.ids", "text.hidden", &out);
    expect(lora_attach(&lora, &net.model, &a.rules));
    expect(lora_load(&lora, "golden/parity/a/lora.safetensors"));
    net_text(&net, &gold, "in.0.ids", "lora.text.hidden", &out);
    Batch b = batch_read(&net, &gold, "in.0");
    net_train(&net, &lora, &b, TAPE_CHECKPOINT, &out);
    batch_close(&b);
    compare_gold(&states, &out, &gold, "c.hidden.", agree);
    compare_gold(&states, &out, &gold, "text.hidden", agree);
    compare_gold(&states, &out, &gold, "lora.text.hidden", agree);
    compare_gold(&gradients, &out, &gold, "grad.", agree);
    report(key, "text states from an earlier layer", states);
    report(key, "gradients", gradients);
    ten_steps(&net, &lora, &gold);
    all_used(&a, &gold);
    values_free(&out);
    lora_detach(&lora);
    net_close(&net);
    gold_close(&gold);
}

/* ---- long captions ---- */

/* Net a, its captions in two chunks. */
static void long_captions(const char *key)
{
    const Config a = { key, configs[0].rules, 0 };
    Gold   gold;
    Net    net;
    Lora   lora;
    Values out[2] = { { 0 } };
    Group  golds = { 0 }, modes = { 0 };
    expect(gold_open(&gold, "golden/captions.safetensors"));
    expect(net_open(&net, &a, "golden/parity/a/model", set_open("ref64")));
    expect(lora_attach(&lora, &net.model, &a.rules));
    expect(lora_load(&lora, "golden/parity/a/lora.safetensors"));
    Batch b = batch_read(&net, &gold, "in.0");
    net_train(&net, &lora, &b, TAPE_TRAIN, &out[0]);
    net_train(&net, &lora, &b, TAPE_CHECKPOINT, &out[1]);
    batch_close(&b);
    compare_bits(&modes, &out[1], &out[0]);
    net_text(&net, &gold, "in.0.ids", "text.states", &out[0]);
    const char *const what[] = { "text.states", "train.loss_each", "train.loss", "grad." };
    for (int i = 0; i < 4; i++) compare_gold(&golds, &out[0], &gold, what[i], agree);
    report(key, "text states, loss and gradients", golds);
    report(key, "the same bits from each mode of the tape", modes);
    for (int i = 0; i < 2; i++) values_free(&out[i]);
    lora_detach(&lora);
    net_close(&net);
    gold_close(&gold);
}

/* ---- threads ---- */

/* Every number of the LoRA: uniform, so that no gradient is 0. */
static void randomise(Lora *lora)
{
    Rng rng = rng_open(1, RNG_TEST, 0, 0);
    for (int i = 0; i < lora->params.params; i++) {
        Tensor t = params_weight(&lora->params, i), host = host_new(T_F64, t.n, t.h, t.w, t.c);
        for (size_t k = 0; k < tensor_count(host); k++) ((double *)host.p)[k] = 0.1 * (2 * rng_uniform(&rng) - 1);
        expect(params_set(&lora->params, i, host.p));
        free(host.p);
    }
}

/* The models above are so small that few loops are shared out; this one, at its native size, is large enough. */
static void threads(const char *set)
{
    static const Config tiny = { "tiny", { .dim = 4, .alpha = 4, .conv_dim = 4, .conv_alpha = 4, .unet = 1, .text = 1 }, 5 };
    static const int    count[] = { 1, 2, 5 };
    Net    net;
    Lora   lora;
    Values out[3] = { { 0 } };
    Group  g = { 0 };
    expect(net_open(&net, &tiny, "golden/tiny-sd", set_open(set)));
    expect(lora_attach(&lora, &net.model, &tiny.rules));
    randomise(&lora);
    Batch b = batch_draw(&net, 2, net.model.native_h / vae_factor(&net.model.vae.config), net.model.native_w / vae_factor(&net.model.vae.config), 1);
    for (int i = 0; i < 3; i++) {
        omp_set_num_threads(count[i]);
        net_train(&net, &lora, &b, i ? TAPE_CHECKPOINT : TAPE_TRAIN, &out[i]);
        if (i) compare_bits(&g, &out[i], &out[0]);
    }
    report(tiny.key, name("the same gradients from 1, 2 and 5 threads on %s", set).s, g);
    for (int i = 0; i < 3; i++) values_free(&out[i]);
    batch_close(&b);
    lora_detach(&lora);
    net_close(&net);
}

static int wanted(int argc, char **argv, const char *key)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], key) == 0) return 1;
    return argc == 1;
}

int main(int argc, char **argv)
{
    omp_set_num_threads(1);                             /* the small nets gain nothing from more */
    setvbuf(stdout, NULL, _IOLBF, 0);                   /* what was found stands even if the next test ends the program */
    for (int i = 0; i < NETS; i++)
        if (wanted(argc, argv, configs[i].key)) run_config(&configs[i]);
    if (wanted(argc, argv, "skip")) clip_skips("skip");
    if (wanted(argc, argv, "long")) long_captions("long");
    if (wanted(argc, argv, "tiny")) threads("ref"), threads("cpu");
    printf("1..%d\n", tests);
    return failures > 0 || tests == 0;
}
