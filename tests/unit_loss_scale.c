/* Training on ref16: a scale that is too large costs steps and nothing else; what no scale can help ends the run; a resumed run scales as the first did. */
#include "train/loss_scale.h"
#include "io/hash.h"
#include "train/run.h"
#include "train/state.h"
#include <math.h>
#include "trainer_job.h"

static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 4; i++) job_picture("data/2_a", i, 16, 16);
    return 0;
}

static void halves_and_doubles(void **state)
{
    LossScale s = loss_scale_open(set_open("ref16"));
    (void)state;
    assert_true(s.scale == 65536 && s.skipped == 0);
    assert_int_equal(loss_scale_step(&s, 1), 0);
    assert_true(s.scale == 32768 && s.skipped == 1);
    for (int k = 0; k < LOSS_SCALE_PATIENCE - 1; k++) assert_int_equal(loss_scale_step(&s, 0), 0);
    assert_true(s.scale == 32768 && s.bad == 0);
    assert_int_equal(loss_scale_step(&s, 0), 0);
    assert_true(s.scale == 65536);
    for (int k = 0; k < 20 * LOSS_SCALE_PATIENCE; k++) assert_int_equal(loss_scale_step(&s, 0), 0);
    assert_true(s.scale == LOSS_SCALE_MOST && s.skipped == 1);
}

static void gives_up(void **state)
{
    LossScale s = loss_scale_open(set_open("ref16"));
    (void)state;
    for (int k = 1; k < LOSS_SCALE_SKIPS; k++) assert_int_equal(loss_scale_step(&s, 1), 0);
    LossScale other = s;
    assert_int_equal(loss_scale_step(&s, 1), -1);
    assert_true(loss_scale_step(&other, 0) == 0 && loss_scale_step(&other, 1) == 0);       /* a good step between: not in a row */
    assert_int_equal(other.skipped, LOSS_SCALE_SKIPS);

    s = loss_scale_open(set_open("ref"));               /* nothing to scale: nothing to wait for */
    for (int k = 0; k < 2 * LOSS_SCALE_PATIENCE; k++) assert_int_equal(loss_scale_step(&s, 0), 0);
    assert_true(s.scale == 1);
    assert_int_equal(loss_scale_step(&s, 1), -1);
}

/* ---- in a run ---- */

/* w, m, v and what the ops read. */
static void hash_numbers(char hex[HASH_SIZE], const Trainer *t)
{
    const Params *p = &t->lora.params;
    size_t        wide = p->count * sizeof(float), narrow = p->count * 2;
    char         *all = malloc(3 * wide + narrow);
    assert_non_null(all);
    memcpy(all, p->w.p, wide), memcpy(all + wide, p->m.p, wide), memcpy(all + 2 * wide, p->v.p, wide), memcpy(all + 3 * wide, p->work.p, narrow);
    hash_data(hex, all, 3 * wide + narrow);
    free(all);
}

/* work is w, rounded. */
static void check_work(const Trainer *t)
{
    const Params *p = &t->lora.params;
    for (size_t k = 0; k < p->count; k++) assert_int_equal(((const uint16_t *)p->work.p)[k], f32_to_f16(((const float *)p->w.p)[k]));
}

/* From the greatest scale, down through skipped steps in which nothing moves, to steps that are good; and the norms are the true ones. */
static void skips_until_it_fits(void **state)
{
    Job    job, plain;
    char   before[HASH_SIZE], after[HASH_SIZE];
    int    skipped = 0;
    double scale = LOSS_SCALE_MOST;
    (void)state;
    open_job(&job, "--set ref16");
    open_job(&plain, "--set ref");
    job.trainer.loss_scale.scale = scale;
    for (int k = 0; k < 12; k++) {
        hash_numbers(before, &job.trainer);
        TrainReport r = step(&job.trainer), want = step(&plain.trainer);
        hash_numbers(after, &job.trainer);
        int bad = isnan(r.norm);
        assert_int_equal(bad, strcmp(before, after) == 0);
        assert_int_equal(bad, k < job.trainer.loss_scale.skipped);      /* the first steps, and no other */
        assert_int_equal(job.trainer.at.step, k + 1);
        skipped += bad;
        if (bad) scale /= 2;
        assert_true(job.trainer.loss_scale.scale == scale);
        if (!(r.loss > 0)) fail_msg("loss %g", r.loss);
        if (k == skipped && !(fabs(r.norm - want.norm) <= 0.05 * want.norm)) fail_msg("norm %g, want about %g", r.norm, want.norm);
        check_work(&job.trainer);
    }
    assert_true(skipped > 0 && skipped < LOSS_SCALE_SKIPS);
    trainer_close(&job.trainer);
    trainer_close(&plain.trainer);
}

/* Stopped in the middle of its skips, on another trainer: the same bits. */
static void resumes(void **state)
{
    Job  whole, half;
    char want[HASH_SIZE], got[HASH_SIZE];
    (void)state;
    open_job(&whole, "--set ref16");
    whole.trainer.loss_scale.scale = LOSS_SCALE_MOST;
    step(&whole.trainer);
    assert_int_equal(state_save(&whole.trainer, tmp_path("state")), 0);
    assert_int_equal(whole.trainer.loss_scale.bad, 1);
    for (int k = 0; k < 8; k++) step(&whole.trainer);
    open_job(&half, "--set ref16");
    if (state_load(&half.trainer, tmp_path("state"))) fail_msg("%s", err_text());
    for (int k = 0; k < 8; k++) step(&half.trainer);
    hash_numbers(want, &whole.trainer);
    hash_numbers(got, &half.trainer);
    assert_string_equal(got, want);
    assert_memory_equal(&half.trainer.loss_scale, &whole.trainer.loss_scale, sizeof half.trainer.loss_scale);
    trainer_close(&whole.trainer);
    trainer_close(&half.trainer);
}

/* A model's number that is not finite: the loss says so at once. A run, which has no such number, saves what it had before. */
static void a_loss_that_is_not_finite_ends_it(void **state)
{
    Job         job;
    char        before[HASH_SIZE], after[HASH_SIZE];
    TrainReport report;
    (void)state;
    open_job(&job, "--set ref16");
    step(&job.trainer);
    hash_numbers(before, &job.trainer);
    ((uint16_t *)job.trainer.pipeline.model.unet.conv_in.w.t.p)[0] = 0x7c00;
    assert_int_equal(trainer_step(&job.trainer, &report), -1);
    if (!strstr(err_text(), "unet.conv_in is not finite; the weights are those of step 1")) fail_msg("%s", err_text());
    hash_numbers(after, &job.trainer);
    assert_string_equal(after, before);
    trainer_close(&job.trainer);
}

/* At a rate at which weights leave f16's range. */
static void what_was_learned_is_kept(void **state)
{
    char        text[4096], *at;
    TrainConfig config = job_train(text, "--set ref16 --learning_rate 10 --weight_decay 10 --max_grad_norm 0 --max_train_steps 200 --output_dir @/lost");
    (void)state;
    assert_int_equal(train_run(&config), -1);
    assert_non_null(at = strstr(err_text(), ": saved in "));
    char *path = strdup(at + strlen(": saved in "));
    assert_true(path && is_file(path));
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(halves_and_doubles), cmocka_unit_test(gives_up), cmocka_unit_test(skips_until_it_fits),
                                        cmocka_unit_test(resumes), cmocka_unit_test(a_loss_that_is_not_finite_ends_it),
                                        cmocka_unit_test(what_was_learned_is_kept) };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
