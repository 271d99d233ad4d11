#include "diffusion/sampler.h"
#include "base/err.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

/* diffusers' "leading" spacing with set_alpha_to_one false: every (timesteps / steps)-th time, and one more step to ac_0. */
static int ddim_times(Sampler *s, const Schedule *schedule)
{
    int stride = schedule->timesteps / s->steps, last = (s->steps - 1) * stride + schedule->steps_offset;
    if (last >= schedule->timesteps) return err("steps: DDIM's %d steps would start at time %d of %d; take fewer", s->steps, last, schedule->timesteps);
    for (int i = 0; i < s->steps; i++) {
        s->t[i] = last - i * stride;
        s->sigma[i] = schedule_sigma(schedule, s->t[i]);
    }
    double end = s->sigma[s->steps] = schedule_sigma(schedule, 0);
    s->first = sqrt(1 + s->sigma[0] * s->sigma[0]);
    s->last = 1 / sqrt(1 + end * end);
    return 0;
}

int sampler_open(Sampler *s, SamplerKind kind, SigmaKind sigmas, int steps, const Schedule *schedule, size_t n)
{
    *s = (Sampler){ .kind = kind, .sigmas = sigmas, .steps = steps, .n = n };
    if (steps < 1 || steps > schedule->timesteps) return err("steps: expected 1 to %d, found %d", schedule->timesteps, steps);
    if (kind == SAMPLER_DDIM && sigmas != SIGMAS_AUTOMATIC) return err("scheduler: DDIM has timesteps of its own, so not %s", sigmas_label(sigmas));

    s->sigma = calloc(2 * (size_t)steps + 1 + (kind == SAMPLER_DPMPP_2M ? n : 0), sizeof *s->sigma);
    if (!s->sigma) return err("sampler: no memory for %d steps of %zu elements", steps, n);
    s->t = s->sigma + steps + 1, s->before = s->t + steps;
    if (kind == SAMPLER_DDIM) {
        if (ddim_times(s, schedule)) return sampler_close(s), -1;
        return 0;
    }
    if (sigmas == SIGMAS_AUTOMATIC) s->sigmas = kind == SAMPLER_DPMPP_2M ? SIGMAS_KARRAS : SIGMAS_UNIFORM;
    schedule_sigmas(s->sigma, schedule, s->sigmas, steps);
    for (int i = 0; i < steps; i++) s->t[i] = schedule_t(schedule, s->sigma[i]);
    s->first = s->sigma[0], s->last = 1;
    return 0;
}

void sampler_close(Sampler *s)
{
    free(s->sigma);
    *s = (Sampler){ 0 };
}

int sampler_takes(SamplerKind kind, SigmaKind sigmas, int steps, const Schedule *schedule)
{
    Sampler s;
    int     status = sampler_open(&s, kind, sigmas, steps, schedule, 1);
    sampler_close(&s);
    return status;
}

/* ---- steps ---- */

double sampler_input(double sigma) { return 1 / sqrt(1 + sigma * sigma); }

/* With a = 1/sqrt(1 + sigma^2), x a is the training state sqrt(ac) x_0 + sqrt(1 - ac) e, sqrt(ac) = a, sqrt(1 - ac) = sigma a. So x_0 = x - sigma e, and, as
 * v = a e - sigma a x_0:  a (x a) - sigma a v = a^2 x_0 + sigma a^2 e - sigma a^2 e + sigma^2 a^2 x_0 = x_0. */
void sampler_denoised(double *d, const double *x, const double *output, double sigma, Prediction prediction, size_t n)
{
    double a = sampler_input(sigma), of_x = prediction == PREDICT_V ? a * a : 1, of_output = prediction == PREDICT_V ? sigma * a : sigma;
    for (size_t i = 0; i < n; i++) d[i] = of_x * x[i] - of_output * output[i];
}

int sampler_draws(const Sampler *s, int i) { return s->kind == SAMPLER_EULER_A && s->sigma[i + 1] > 0; }

/* From s to s' = r s. Euler: x' = x + (s' - s) (x - D)/s = r x + (1 - r) D.
 * Ancestral: the same down to s'^2/s, then noise up to s': up^2 = s'^2 - s'^4/s^2 = s'^2 (1 - r^2).
 * DPM++ 2M: in h = log(s/s') the exact solution for constant D is the Euler step, as -expm1(-h) = 1 - r; second order puts
 * D + (D - D_before) h / (2 h_before) in place of D: the line through the last two, at the middle of the step. First and last step are of first order. */
void sampler_step(Sampler *s, double *x, const double *denoised, const double *noise, int i)
{
    double from = s->sigma[i], to = s->sigma[i + 1], r = to / from, of_x = r, of_d = 1 - r, of_before = 0, of_noise = 0;
    CHECK(i < s->steps && (noise || !sampler_draws(s, i)), "step %d of %d", i, s->steps);
    if (s->kind == SAMPLER_EULER_A) {
        of_x = r * r, of_d = 1 - of_x;
        of_noise = to * sqrt(1 - r * r);
    }
    if (s->kind == SAMPLER_DPMPP_2M && i > 0 && to > 0) {
        double half = 0.5 * log(from / to) / log(s->sigma[i - 1] / from);
        of_before = -of_d * half, of_d *= 1 + half;
    }
    for (size_t j = 0; j < s->n; j++) {
        double y = of_x * x[j] + of_d * denoised[j];
        if (of_before != 0) y += of_before * s->before[j];
        if (of_noise != 0) y += of_noise * noise[j];
        x[j] = y;
    }
    if (s->kind == SAMPLER_DPMPP_2M) memcpy(s->before, denoised, s->n * sizeof *denoised);
}

/* ---- names ---- */

/* Aliases are spelled as `plain` below leaves a name. */
typedef struct {
    int         kind;
    const char *label, *alias[3];
} Name;

static const Name samplers[] = {
    { SAMPLER_DDIM, "DDIM", { "ddim" } },
    { SAMPLER_EULER, "Euler", { "euler" } },
    { SAMPLER_EULER_A, "Euler a", { "eulera", "eulerancestral" } },
    { SAMPLER_DPMPP_2M, "DPM++ 2M", { "dpmpp2m", "dpmsolverpp" } },
};
static const Name schedulers[] = {
    { SIGMAS_AUTOMATIC, "Automatic", { "automatic", "auto" } },
    { SIGMAS_UNIFORM, "Uniform", { "uniform", "normal", "discrete" } },
    { SIGMAS_KARRAS, "Karras", { "karras", "ka" } },
    { SIGMAS_EXPONENTIAL, "Exponential", { "exponential" } },
};
enum { SAMPLERS = sizeof samplers / sizeof *samplers, SCHEDULERS = sizeof schedulers / sizeof *schedulers, ALIASES = 3, LONGEST = 64 };

/* Lower case, `+` as `p`, letters and digits only: "DPM++ 2M Karras" is "dpmpp2mkarras". */
static void plain(char out[LONGEST], const char *name)
{
    size_t n = 0;
    for (; *name && n < LONGEST - 1; name++) {
        unsigned char c = (unsigned char)*name;
        if (c == '+') out[n++] = 'p';
        else if (isalnum(c)) out[n++] = (char)tolower(c);
    }
    out[n] = 0;
}

static const Name *name_find(const Name *names, int count, const char *plain_name)
{
    for (int i = 0; i < count; i++)
        for (int a = 0; a < ALIASES && names[i].alias[a]; a++)
            if (!strcmp(names[i].alias[a], plain_name)) return names + i;
    return NULL;
}

static const char *name_label(const Name *names, int count, int kind)
{
    for (int i = 0; i < count; i++)
        if (names[i].kind == kind) return names[i].label;
    CHECK(0, "no name for kind %d", kind);
}

/* The name itself, or the name and a scheduler behind it; `k` before it, as k-diffusion's samplers are called, says nothing more. */
int sampler_find(SamplerKind *kind, SigmaKind *sigmas, const char *name)
{
    char whole[LONGEST];
    plain(whole, name);
    char       *text = whole[0] == 'k' ? whole + 1 : whole;
    const Name *found = name_find(samplers, SAMPLERS, text);
    for (size_t cut = 1; !found && cut < strlen(text); cut++) {
        const Name *scheduler = name_find(schedulers, SCHEDULERS, text + cut);
        if (!scheduler) continue;
        char head[LONGEST] = { 0 };
        memcpy(head, text, cut);
        found = name_find(samplers, SAMPLERS, head);
        if (found) *sigmas = (SigmaKind)scheduler->kind;
    }
    if (!found) return err("sampler: expected DDIM, Euler, Euler a or DPM++ 2M, found \"%s\"", name);
    *kind = (SamplerKind)found->kind;
    return 0;
}

int sigmas_find(SigmaKind *sigmas, const char *name)
{
    char text[LONGEST];
    plain(text, name);
    const Name *found = name_find(schedulers, SCHEDULERS, text);
    if (!found) return err("scheduler: expected Automatic, Uniform, Karras or Exponential, found \"%s\"", name);
    *sigmas = (SigmaKind)found->kind;
    return 0;
}

const char *sampler_label(SamplerKind kind) { return name_label(samplers, SAMPLERS, (int)kind); }
const char *sigmas_label(SigmaKind sigmas) { return name_label(schedulers, SCHEDULERS, (int)sigmas); }
