/* The noise schedule against diffusers in double (golden/schedule.txt), and what follows from its definition. */
#include "base/err.h"
#include "diffusion/guidance.h"
#include "diffusion/schedule.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static Schedule sd(Prediction prediction)
{
    Schedule s;
    assert_int_equal(schedule_open(&s, BETA_SCALED_LINEAR, 0.00085, 0.012, 1000, prediction, 1), 0);
    return s;
}

static void assert_near(double got, double want, double bound, const char *what, double at)
{
    if (!(fabs(got - want) <= bound)) fail_msg("%s at %g: %.17g, want %.17g +- %.2g", what, at, got, want, bound);
}

/* A product of t factors is right to t roundings of its own size, which 1 - ac sees whole. */
static void check_table(FILE *f)
{
    char     kind[16];
    double   start, end, ac, snr, noised, v, x0 = 0.3, e = -1.7, y;
    int      t;
    Schedule s;
    assert_int_equal(fscanf(f, "%15s %lf %lf %d %la %la %la %la", kind, &start, &end, &t, &ac, &snr, &noised, &v), 8);
    assert_int_equal(schedule_open(&s, strcmp(kind, "linear") ? BETA_SCALED_LINEAR : BETA_LINEAR, start, end, 1000, PREDICT_V, 0), 0);
    double u = (t + 4) * DBL_EPSILON;
    assert_near(s.ac[t], ac, u * ac, "ac", t);
    assert_near(schedule_snr(&s, t), snr, u * snr / (1 - ac), "snr", t);
    schedule_noised(&y, &s, t, &x0, &e, 1);
    assert_near(y, noised, 2 * u / sqrt(1 - ac), "noised", t);
    schedule_target(&y, &s, t, &x0, &e, 1);
    assert_near(y, v, 2 * u / sqrt(1 - ac), "v", t);
    s.prediction = PREDICT_EPS;
    schedule_target(&y, &s, t, &x0, &e, 1);
    assert_true(y == e);
}

static void goldens(void **state)
{
    (void)state;
    FILE    *f = fopen("golden/schedule.txt", "r");
    Schedule s = sd(PREDICT_EPS);
    char     what[16];
    double   x, want, u = 1000 * DBL_EPSILON / (1 - s.ac[0]);
    int      lines = 0;
    assert_non_null(f);
    for (; fscanf(f, "%15s", what) == 1; lines++) {
        if (!strcmp(what, "table")) {
            check_table(f);
            continue;
        }
        assert_int_equal(fscanf(f, "%la %la", &x, &want), 2);
        if (!strcmp(what, "sigma")) assert_near(schedule_sigma(&s, x), want, u * want, what, x);
        else assert_near(schedule_t(&s, x), want, u * 1000, what, x);
    }
    fclose(f);
    assert_int_equal(lines, 36);
}

static void time_and_sigma_are_inverse(void **state)
{
    (void)state;
    Schedule s = sd(PREDICT_EPS);
    for (double t = 0; t < 999; t += 0.37) assert_near(schedule_t(&s, schedule_sigma(&s, t)), t, 1e5 * DBL_EPSILON * 999, "t", t);
    assert_true(schedule_sigma(&s, -3) == schedule_sigma(&s, 0) && schedule_sigma(&s, 5000) == schedule_sigma(&s, 999));
}

/* Published for gamma 5: 0.5914 (eps) and 0.5289 (v) at time 100, and 1 for eps from time 147 on. */
static void min_snr(void **state)
{
    (void)state;
    Schedule eps = sd(PREDICT_EPS), v = sd(PREDICT_V);
    assert_near(schedule_min_snr(&eps, 100, 5), 0.5914, 0.00005, "eps weight", 100);
    assert_near(schedule_min_snr(&v, 100, 5), 0.5289, 0.00005, "v weight", 100);
    assert_true(schedule_min_snr(&eps, 146, 5) < 1 && schedule_min_snr(&eps, 147, 5) == 1 && schedule_min_snr(&eps, 999, 5) == 1);
    double snr = schedule_snr(&v, 999);
    assert_near(schedule_min_snr(&v, 999, 5), snr / (snr + 1), DBL_EPSILON, "v weight", 999);
}

/* Levels for 10 steps, four digits, of k-diffusion. */
static void sigma_lists(void **state)
{
    static const struct { SigmaKind kind; double sigma[11]; } cases[] = {
        { SIGMAS_UNIFORM, { 14.6146, 7.8399, 4.6092, 2.9183, 1.9502, 1.3449, .9324, .6250, .3687, .0292, 0 } },
        { SIGMAS_KARRAS, { 14.6146, 9.1029, 5.4784, 3.1686, 1.7494, .9141, .4469, .2014, .0819, .0292, 0 } },
        { SIGMAS_EXPONENTIAL, { 14.6146, 7.3249, 3.6712, 1.8400, .9222, .4622, .2317, .1161, .0582, .0292, 0 } },
    };
    (void)state;
    Schedule s = sd(PREDICT_EPS);
    double   sigma[11];
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        schedule_sigmas(sigma, &s, cases[k].kind, 10);
        for (int i = 0; i <= 10; i++) assert_near(sigma[i], cases[k].sigma[i], 0.00005, "sigma", i);
        schedule_sigmas(sigma, &s, cases[k].kind, 1);
        assert_near(sigma[0], 14.6146, 0.00005, "the only sigma", 0);
        assert_true(sigma[1] == 0);
    }
}

static void refusals(void **state)
{
    static const struct { double start, end; int timesteps, offset; const char *text; } cases[] = {
        { 0.00085, 0.012, 1, 0, "num_train_timesteps" }, { 0.00085, 0.012, 1001, 0, "num_train_timesteps" }, { 0, 0.012, 1000, 0, "beta_start" },
        { 0.02, 0.012, 1000, 0, "beta_start" },          { 0.00085, 1, 1000, 0, "beta_end" },               { NAN, 0.012, 1000, 0, "beta_start" },
        { 0.00085, 0.012, 1000, -1, "steps_offset" },    { 0.00085, 0.012, 1000, 1000, "steps_offset" },
        { 1e-300, 0.012, 1000, 0, "step 0 of 1000 is without noise" },
        { 0.5, 0.999, 1000, 0, "of 1000 is noise alone" },
    };
    (void)state;
    Schedule s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(schedule_open(&s, BETA_LINEAR, cases[i].start, cases[i].end, cases[i].timesteps, PREDICT_EPS, cases[i].offset), -1);
        assert_non_null(strstr(err_text(), cases[i].text));
    }
}

static void guidance(void **state)
{
    (void)state;
    double uncond[3] = { 1, 2, -4 }, cond[3] = { 2, 2, -8 };
    guidance_mix(uncond, uncond, cond, 7.5, 3);
    assert_true(uncond[0] == 8.5 && uncond[1] == 2 && uncond[2] == -34);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(goldens),     cmocka_unit_test(time_and_sigma_are_inverse), cmocka_unit_test(min_snr),
                                        cmocka_unit_test(sigma_lists), cmocka_unit_test(refusals),                   cmocka_unit_test(guidance) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
