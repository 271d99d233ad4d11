/* The learning rate over a run: against diffusers' get_scheduler (golden/lr.txt), and how long a warm-up is. */
#include "train/lr_schedule.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static LrScheduler kind_of(const char *name)
{
    static const char *const names[] = { [LR_CONSTANT] = "constant", [LR_CONSTANT_WITH_WARMUP] = "constant_with_warmup", [LR_LINEAR] = "linear",
                                         [LR_COSINE] = "cosine", [LR_COSINE_WITH_RESTARTS] = "cosine_with_restarts" };
    for (int k = 0; k <= LR_COSINE_WITH_RESTARTS; k++)
        if (!strcmp(name, names[k])) return (LrScheduler)k;
    fail_msg("golden/lr.txt: \"%s\" is no scheduler", name);
    return LR_CONSTANT;
}

/* Both sides take a handful of roundings of numbers up to 2. */
static void equals_diffusers(void **state)
{
    (void)state;
    FILE  *f = fopen("golden/lr.txt", "r");
    char   name[32];
    int    warmup, total, cycles, runs = 0;
    double want;
    assert_non_null(f);
    for (; fscanf(f, "%31s %d %d %d", name, &warmup, &total, &cycles) == 4; runs++) {
        for (int k = 0; k < total; k++) {
            assert_int_equal(fscanf(f, "%lf", &want), 1);
            double got = lr_factor(kind_of(name), k, warmup, total, cycles);
            if (!(fabs(got - want) <= 8 * DBL_EPSILON))
                fail_msg("%s, warm-up %d of %d, %d times, step %d: %.17g, want %.17g", name, warmup, total, cycles, k, got, want);
        }
    }
    fclose(f);
    assert_int_equal(runs, 47);
}

static void a_warmup_is_steps_or_a_share(void **state)
{
    static const struct { double warmup; int steps, want; } cases[] = { { 0, 100, 0 },    { 20, 100, 20 }, { 1, 100, 1 },
                                                                        { 0.05, 800, 40 }, { 0.5, 7, 3 },   { 200, 100, 200 } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TrainConfig config = { .lr_warmup_steps = cases[i].warmup };
        assert_int_equal(train_config_warmup(&config, cases[i].steps), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(equals_diffusers), cmocka_unit_test(a_warmup_is_steps_or_a_share) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
