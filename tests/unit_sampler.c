/* Every sampler with every noise schedule, state by state, against diffusers in double (golden/samplers.txt); and their names. */
#include "base/err.h"
#include "diffusion/sampler.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { N = 8 };

static Schedule sd(Prediction prediction)
{
    Schedule s;
    assert_int_equal(schedule_open(&s, BETA_SCALED_LINEAR, 0.00085, 0.012, 1000, prediction, 1), 0);
    return s;
}

/* golden/samplers.py's model and noise. */
static void model(double *y, const double *x, double t)
{
    for (int j = 0; j < N; j++) y[j] = 0.9 * tanh(0.7 * x[j] + 0.3 * sin(0.1 * j + t / 250)) + 0.05 * x[j];
}

static void noise(double *y, int i)
{
    for (int j = 0; j < N; j++) y[j] = 1.5 * sin(1 + 12.9898 * (i * N + j));
}

/* Reads count numbers and compares: equal up to 100 roundings of the largest number of the run. */
static void compare(FILE *f, const double *got, int count, double largest, const char *run, const char *what, int step)
{
    double want;
    for (int j = 0; j < count; j++) {
        double bound = 100 * DBL_EPSILON * largest;
        assert_int_equal(fscanf(f, "%la", &want), 1);
        if (!(fabs(got[j] - want) <= bound)) fail_msg("%s: %s %d, [%d] = %.17g, want %.17g +- %.2g", run, what, step, j, got[j], want, bound);
    }
}

static void check_run(FILE *f, const char *name, const char *sigmas, const char *prediction, int steps)
{
    Sampler     s;
    SamplerKind kind;
    SigmaKind   levels;
    Prediction  output = strcmp(prediction, "v") ? PREDICT_EPS : PREDICT_V;
    Schedule    schedule = sd(output);
    double      x[N], input[N], d[N], fresh[N];
    char        run[64];
    snprintf(run, sizeof run, "%s %s %s", name, sigmas, prediction);
    assert_int_equal(sampler_find(&kind, &levels, name), 0);
    assert_int_equal(sigmas_find(&levels, sigmas), 0);
    assert_int_equal(sampler_open(&s, kind, levels, steps, &schedule, N), 0);
    double largest = 2 * s.sigma[0];

    compare(f, s.sigma, steps + 1, s.sigma[0], run, "sigma", 0);
    compare(f, s.t, steps, 1000, run, "t", 0);
    noise(x, 0);
    for (int j = 0; j < N; j++) x[j] *= s.first;
    compare(f, x, N, largest, run, "start", 0);
    for (int i = 0; i < steps; i++) {
        for (int j = 0; j < N; j++) input[j] = x[j] * sampler_input(s.sigma[i]);
        model(d, input, s.t[i]);
        sampler_denoised(d, x, d, s.sigma[i], output, N);
        noise(fresh, i + 1);
        sampler_step(&s, x, d, sampler_draws(&s, i) ? fresh : NULL, i);
        for (int j = 0; j < N && i == steps - 1; j++) x[j] *= s.last;
        compare(f, x, N, largest, run, "state after step", i);
    }
    sampler_close(&s);
}

static void goldens(void **state)
{
    (void)state;
    FILE *f = fopen("golden/samplers.txt", "r");
    char  name[16], sigmas[16], prediction[8];
    int   steps, runs = 0;
    assert_non_null(f);
    for (; fscanf(f, "%15s %15s %7s %d", name, sigmas, prediction, &steps) == 4; runs++) check_run(f, name, sigmas, prediction, steps);
    fclose(f);
    assert_int_equal(runs, 14);
}

/* A model that knows x_0 brings every sampler there, from any noise; DDIM, which stops at sigma(ac_0), as near as that. */
static void a_perfect_model_ends_at_its_picture(void **state)
{
    (void)state;
    Schedule schedule = sd(PREDICT_EPS);
    for (int kind = SAMPLER_DDIM; kind <= SAMPLER_DPMPP_2M; kind++)
        for (int steps = 1; steps <= 30; steps += 29) {
            Sampler s;
            double  x[N], first[N], picture[N], fresh[N], bound = 1000 * DBL_EPSILON * 100;
            assert_int_equal(sampler_open(&s, (SamplerKind)kind, SIGMAS_AUTOMATIC, steps, &schedule, N), 0);
            noise(first, 0), noise(picture, 99);
            for (int j = 0; j < N; j++) x[j] = first[j] *= s.first;
            for (int i = 0; i < steps; i++) {
                noise(fresh, i + 1);
                sampler_step(&s, x, picture, fresh, i);
            }
            for (int j = 0; j < N; j++) {
                double left = (first[j] - picture[j]) * s.sigma[steps] / s.sigma[0];
                assert_true(fabs(x[j] - picture[j] - left) <= bound);
            }
            sampler_close(&s);
        }
}

static void only_ancestral_steps_draw(void **state)
{
    (void)state;
    Schedule schedule = sd(PREDICT_EPS);
    for (int kind = SAMPLER_DDIM; kind <= SAMPLER_DPMPP_2M; kind++) {
        Sampler s;
        assert_int_equal(sampler_open(&s, (SamplerKind)kind, SIGMAS_AUTOMATIC, 5, &schedule, N), 0);
        for (int i = 0; i < 5; i++) assert_int_equal(sampler_draws(&s, i), kind == SAMPLER_EULER_A && i < 4);
        sampler_close(&s);
    }
}

static void names(void **state)
{
    static const struct { const char *name; SamplerKind kind; SigmaKind sigmas; } cases[] = {
        { "DDIM", SAMPLER_DDIM, SIGMAS_AUTOMATIC },
        { "Euler", SAMPLER_EULER, SIGMAS_AUTOMATIC },
        { "k_euler", SAMPLER_EULER, SIGMAS_AUTOMATIC },
        { "Euler a", SAMPLER_EULER_A, SIGMAS_AUTOMATIC },
        { "euler_a", SAMPLER_EULER_A, SIGMAS_AUTOMATIC },
        { "k_euler_ancestral", SAMPLER_EULER_A, SIGMAS_AUTOMATIC },
        { "Euler Karras", SAMPLER_EULER, SIGMAS_KARRAS },
        { "Euler a Karras", SAMPLER_EULER_A, SIGMAS_KARRAS },
        { "DPM++ 2M", SAMPLER_DPMPP_2M, SIGMAS_AUTOMATIC },
        { "dpmpp_2m", SAMPLER_DPMPP_2M, SIGMAS_AUTOMATIC },
        { "k_dpmpp_2m_ka", SAMPLER_DPMPP_2M, SIGMAS_KARRAS },
        { "DPM++ 2M Karras", SAMPLER_DPMPP_2M, SIGMAS_KARRAS },
        { "DPM++ 2M Exponential", SAMPLER_DPMPP_2M, SIGMAS_EXPONENTIAL },
        { "dpmsolver++", SAMPLER_DPMPP_2M, SIGMAS_AUTOMATIC },
    };
    static const char *const strangers[] = { "", "k", "Heun", "Euler b", "Karras", "DPM++ 2M SDE", "DPM++ 2M SDE Karras", "DDIMDDIM" };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SamplerKind kind;
        SigmaKind   sigmas = SIGMAS_AUTOMATIC;
        assert_int_equal(sampler_find(&kind, &sigmas, cases[i].name), 0);
        assert_int_equal(kind, cases[i].kind);
        assert_int_equal(sigmas, cases[i].sigmas);
    }
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        SamplerKind kind;
        SigmaKind   sigmas = SIGMAS_AUTOMATIC;
        assert_int_equal(sampler_find(&kind, &sigmas, strangers[i]), -1);
        assert_non_null(strstr(err_text(), "DPM++ 2M, found"));
        assert_int_equal(sigmas, SIGMAS_AUTOMATIC);
    }
    SigmaKind sigmas;
    assert_int_equal(sigmas_find(&sigmas, "polynomial"), -1);
    assert_string_equal(sampler_label(SAMPLER_EULER_A), "Euler a");
    assert_string_equal(sigmas_label(SIGMAS_KARRAS), "Karras");
}

static void refusals(void **state)
{
    (void)state;
    Sampler  s;
    Schedule schedule = sd(PREDICT_EPS);
    assert_int_equal(sampler_open(&s, SAMPLER_EULER, SIGMAS_UNIFORM, 0, &schedule, N), -1);
    assert_int_equal(sampler_open(&s, SAMPLER_EULER, SIGMAS_UNIFORM, 1001, &schedule, N), -1);
    assert_int_equal(sampler_open(&s, SAMPLER_DDIM, SIGMAS_KARRAS, 10, &schedule, N), -1);
    assert_non_null(strstr(err_text(), "not Karras"));
    assert_int_equal(sampler_open(&s, SAMPLER_DDIM, SIGMAS_AUTOMATIC, 1000, &schedule, N), -1); /* time 999 + steps_offset */
    assert_non_null(strstr(err_text(), "time 1000 of 1000"));
    assert_int_equal(sampler_open(&s, SAMPLER_DDIM, SIGMAS_AUTOMATIC, 999, &schedule, N), 0);
    sampler_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(goldens), cmocka_unit_test(a_perfect_model_ends_at_its_picture),
                                        cmocka_unit_test(only_ancestral_steps_draw), cmocka_unit_test(names), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
