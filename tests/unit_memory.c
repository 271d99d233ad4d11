/* unit_memory.c - what Stable Diffusion 1.5 takes in memory, found by replaying passes on the null set: every allocation of a real run, and no number. */
#include "base/err.h"
#include "train/step.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { FACTOR = 8, TOKENS = 77, WIDTH = 768, SINES = 320 };

typedef struct {
    Set       *set;
    Checkpoint model;
    Tape       tape;
} Replay;

static void replay_open(Replay *r)
{
    r->set = set_null(set_open("ref"));
    if (!r->set || checkpoint_describe(&r->model, "sd15", r->set) || tape_open(&r->tape, r->set, (size_t)1 << 46)) fail_msg("%s", err_text());
}

static void replay_close(Replay *r)
{
    tape_close(&r->tape);
    checkpoint_close(&r->model);
    free(r->set);
}

static size_t weights(const Checkpoint *m) { return weights_bytes(&m->clip.weights) + weights_bytes(&m->unet.weights) + weights_bytes(&m->vae.weights); }

static Var *input(Replay *r, int n, int h, int w, int c) { return tape_new(&r->tape, r->set->act, n, h, w, c); }

/* The most that text encoder, U-Net (with and without the prompt: twice) and decoder take, one after the other. */
static size_t sampling(Replay *r, int w, int h)
{
    Tape *t = &r->tape;
    tape_reset(t, TAPE_INFER);
    clip_forward(t, &r->model.clip, tape_new(t, T_I32, 2, 1, TOKENS, 1));
    tape_reset(t, TAPE_INFER);
    unet_forward(t, &r->model.unet, input(r, 2, h / FACTOR, w / FACTOR, 4), input(r, 2, 1, 1, SINES), input(r, 2, 1, TOKENS, WIDTH));
    tape_reset(t, TAPE_INFER);
    vae_decode(t, &r->model.vae, input(r, 1, h / FACTOR, w / FACTOR, 4));
    assert_int_equal(tape_status(t), 0);
    return weights(&r->model) + t->arena.peak_bottom;
}

static void test_sampling(void **state)
{
    Replay r;
    (void)state;
    replay_open(&r);
    size_t bytes = sampling(&r, 512, 512);
    printf("# sampling at 512x512: %.2f GB\n", (double)bytes / 1e9);
    assert_true(bytes > 2.1e9 && bytes < 3.4e9);        /* 4 GB, less what the program takes beside weights and values */
    replay_close(&r);
}

static void test_training(void **state)
{
    const LoraRules rules = { .dim = 32, .alpha = 32, .unet = 1, .text = 1 };
    StepCost        cost;
    (void)state;
    ModelSource source = { .path = "sd15" };
    if (step_cost(&cost, &source, set_open("ref"), &rules, 1, 768 / FACTOR, 512 / FACTOR, TOKENS, 1, TAPE_CHECKPOINT)) fail_msg("%s", err_text());
    printf("# training at 512x768, rank 32: %.2f GB\n", (double)step_memory(&cost) / 1e9);
    assert_true(step_memory(&cost) > 2.1e9 && step_memory(&cost) < 4.7e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sampling), cmocka_unit_test(test_training) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
