/* sampler.h - from noise to a latent: the step rules, all in k-space, on the host in double.
 *
 *   x = first * noise                                             for each step i = 0 .. steps-1:
 *   model's input   x * sampler_input(sigma[i])  at time t[i]
 *   its output   -> sampler_denoised: the picture D it believes in
 *   x = sampler_step(x, D, noise if sampler_draws(i))
 *   latent = x * last
 *
 * k-space: x = x_0 + sigma e. DDIM, which diffusers runs on x sqrt(ac), is Euler here on DDIM's timesteps; it starts at first = sqrt(1 + sigma^2)
 * and stops at sigma(ac_0), not at 0, hence `last`. */
#ifndef DIFFUSION_SAMPLER_H
#define DIFFUSION_SAMPLER_H
#include "diffusion/schedule.h"

typedef enum {
    SAMPLER_DDIM,                                       /* Song et al. 2021, eta 0, "leading" timesteps */
    SAMPLER_EULER,                                      /* Karras et al. 2022, algorithm 2 without churn */
    SAMPLER_EULER_A,                                    /* Euler to a lower level, fresh noise back up (ancestral) */
    SAMPLER_DPMPP_2M                                    /* Lu et al. 2022, DPM-Solver++(2M) */
} SamplerKind;

typedef struct {
    SamplerKind kind;
    SigmaKind   sigmas;                                 /* automatic is resolved: DDIM has its own, DPM++ 2M karras, else uniform, as in the web UI */
    int         steps;
    double     *sigma;                                  /* steps + 1 */
    double     *t;                                      /* steps; whole numbers only for DDIM */
    double      first, last;                            /* factors of the noise at the start, of x at the end */
    size_t      n;                                      /* elements of x */
    double     *before;                                 /* DPM++ 2M: D of the step before */
} Sampler;

/* 0, or -1 and err(): steps out of range, a noise schedule DDIM does not take, no memory. The schedule is not needed afterwards. */
int    sampler_open(Sampler *s, SamplerKind kind, SigmaKind sigmas, int steps, const Schedule *schedule, size_t n);
void   sampler_close(Sampler *s);
int    sampler_takes(SamplerKind kind, SigmaKind sigmas, int steps, const Schedule *schedule);           /* would it open? 0, or -1 and err() */

double sampler_input(double sigma);                     /* 1 / sqrt(1 + sigma^2): variance of the model's input is that of training */
void   sampler_denoised(double *d, const double *x, const double *output, double sigma, Prediction prediction, size_t n);
int    sampler_draws(const Sampler *s, int i);          /* does step i add noise? Then it takes n normals */
void   sampler_step(Sampler *s, double *x, const double *denoised, const double *noise, int i); /* steps in order, each once; noise may be NULL if none */

/* Names as users write them: "Euler a", "euler_a", "k_euler_ancestral", "DPM++ 2M Karras". *sigmas changes only if the name says so. 0, or -1 and err()
 * with the names there are. The labels are the web UI's. */
int         sampler_find(SamplerKind *kind, SigmaKind *sigmas, const char *name);
int         sigmas_find(SigmaKind *sigmas, const char *name);
const char *sampler_label(SamplerKind kind);            /* "DPM++ 2M" */
const char *sigmas_label(SigmaKind sigmas);             /* "Karras" */
#endif
