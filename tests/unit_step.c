/* The replay on the null set foretells a step's memory to the byte, and running blocks again changes no bit of the gradients. */
#include "base/rng.h"
#include "data/text_states.h"
#include "train/step.h"
#include "diffusion/pipeline.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static ModelSource model = { .path = "golden/tiny-sd" };
static int         chunks = 1;                          /* of a caption */
enum { N = 2, H = 24, W = 16, C = 4, MOST = 3 };

/* One step on ref in the given mode: gradients (malloc'd), their number, and what the arena took. */
static double *run(TapeMode mode, const LoraRules *rules, size_t *count, StepCost *took)
{
    Pipeline p;
    Lora     lora;
    double   x[N * H * W * C], target[N * H * W * C], weight[N] = { 1, 0.5 }, loss[N], sines[N * 64];
    int32_t  ids[N * MOST * 77];
    int      one = 77 * chunks;
    assert_int_equal(pipeline_open(&p, &model, "ref"), 0);
    assert_int_equal(lora_attach(&lora, &p.model, rules) || lora_init(&lora, 7) || params_clear(&lora.params), 0);
    Rng rng = rng_open(1, RNG_TEST, 0, 0);
    for (int k = 0; k < N * H * W * C; k++) x[k] = rng_normal(&rng), target[k] = rng_normal(&rng);
    for (int j = 0; j < N; j++) {
        unet_time(&p.model.unet.config, 400 * j + 7, sines + j * p.model.unet.config.channels[0]);
        assert_true(tokenizer_pad_chunks(&p.tokenizer, "mochi, face", ids + one * j, chunks) >= 0);
    }
    StepBatch b = { N, H, W, C, 77, chunks, ids, NULL, x, target, sines, weight };
    float    *text = NULL;
    if (!rules->text) {                                 /* a frozen text encoder: its states come from outside */
        TextStates s;
        assert_int_equal(text_states_open(&s, &p, chunks), 0);
        assert_non_null(text = malloc(N * s.bytes));
        for (int j = 0; j < 3 * N; j++) assert_int_equal(text_states_get((char *)text + (size_t)(j % N) * s.bytes, &s, ids + one * (j % N)), 0);
        assert_int_equal(s.count, 1);                   /* one caption */
        text_states_close(&s);
        b.text = text;
    }
    p.tape.arena.peak_bottom = p.tape.arena.peak_top = 0;
    assert_int_equal(step_pass(&p.tape, &p.model, &lora, &b, mode, 0.5, loss), 0);
    assert_true(loss[0] > 0 && loss[1] > 0);
    free(text);
    took->activations = p.tape.arena.peak_bottom, took->scratch = 0, took->gradients = p.tape.arena.peak_top;
    *count = lora.params.count;
    double *g = malloc(*count * sizeof *g);
    assert_non_null(g);
    assert_int_equal(p.set->download(p.set, tensor_of(g, T_F64, 1, 1, 1, (int)*count), lora.params.g), 0);
    lora_detach(&lora);
    pipeline_close(&p);
    return g;
}

static void check_mode(TapeMode mode, const LoraRules *rules)
{
    StepCost took, planned;
    size_t     count;
    free(run(mode, rules, &count, &took));
    assert_int_equal(step_cost(&planned, &model, set_open("ref"), rules, N, H, W, 77, chunks, mode), 0);
    assert_int_equal(planned.activations + planned.scratch, took.activations);
    assert_int_equal(planned.gradients, took.gradients);
    assert_int_equal(planned.trainable, 4 * count * sizeof(float));
}

static const LoraRules all = { 4, 2, 4, 2, 1, 1 }, unet_only = { 4, 0, 4, 1, 1, 0 }, text_only = { 4, 0, 4, 1, 0, 1 };

static void test_memory(void **state)
{
    (void)state;
    check_mode(TAPE_TRAIN, &all);
    check_mode(TAPE_CHECKPOINT, &all);
    check_mode(TAPE_CHECKPOINT_FF, &all);
    check_mode(TAPE_TRAIN, &unet_only);
    check_mode(TAPE_CHECKPOINT, &text_only);
    model.clip_skip = 2;
    check_mode(TAPE_TRAIN, &all);
    check_mode(TAPE_CHECKPOINT, &unet_only);
    model.clip_skip = 0;
    for (chunks = 2; chunks <= MOST; chunks++) check_mode(TAPE_TRAIN, &all), check_mode(TAPE_CHECKPOINT, &unet_only);
    chunks = 1;
}

static void test_checkpointing(void **state)
{
    const LoraRules *rules[] = { &all, &unet_only, &text_only };
    (void)state;
    for (int i = 0; i < 3; i++) {
        StepCost kept, some, again;
        size_t   n, m;
        double  *a = run(TAPE_TRAIN, rules[i], &n, &kept), *b = run(TAPE_CHECKPOINT, rules[i], &m, &again), *c = run(TAPE_CHECKPOINT_FF, rules[i], &m, &some);
        assert_int_equal(n, m);
        assert_memory_equal(a, b, n * sizeof *a);
        assert_memory_equal(a, c, n * sizeof *a);
        assert_true(again.activations < some.activations && some.activations < kept.activations);
        double sum = 0;
        for (size_t k = 0; k < n; k++) sum += a[k] * a[k];
        assert_true(sum > 0);
        free(a);
        free(b);
        free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_memory), cmocka_unit_test(test_checkpointing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
