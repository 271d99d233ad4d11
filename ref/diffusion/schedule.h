/* schedule.h - how much noise there is at time t: the one table that training and sampling share.
 *
 * Ho et al. 2020: x_t = sqrt(ac_t) x_0 + sqrt(1 - ac_t) e, ac_t = prod_{s<=t} (1 - beta_s). In k-space (Karras et al. 2022) the same state is
 * x_t / sqrt(ac_t) = x_0 + sigma e with sigma = sqrt((1 - ac_t) / ac_t). Everything is double; between table entries log sigma is linear in t. */
#ifndef DIFFUSION_SCHEDULE_H
#define DIFFUSION_SCHEDULE_H
#include <stddef.h>

enum { SCHEDULE_MAX = 1000 };                           /* timesteps of every SD 1.x model */

typedef enum { BETA_SCALED_LINEAR, BETA_LINEAR } BetaKind; /* sqrt(beta) or beta goes in equal steps from start to end */
typedef enum { PREDICT_EPS, PREDICT_V } Prediction;     /* the model's output: the noise e, or v = sqrt(ac) e - sqrt(1 - ac) x_0 (Salimans & Ho 2022) */

typedef struct {
    int        timesteps;
    Prediction prediction;
    int        steps_offset;                            /* added to DDIM's timesteps */
    double     ac[SCHEDULE_MAX], log_sigma[SCHEDULE_MAX];
} Schedule;

/* 0, or -1 and err(): 2 <= timesteps <= SCHEDULE_MAX, 0 < start <= end < 1, 0 <= steps_offset < timesteps. SD 1.x: scaled linear, 0.00085, 0.012, 1000, 1. */
int schedule_open(Schedule *s, BetaKind kind, double beta_start, double beta_end, int timesteps, Prediction prediction, int steps_offset);

/* sigma at a time that need not be whole, and back. t is clamped to the table's ends. */
double schedule_sigma(const Schedule *s, double t);
double schedule_t(const Schedule *s, double sigma);

/* Signal-to-noise ratio ac / (1 - ac), and the loss weight of min-SNR (Hang et al. 2023): min(snr,gamma)/snr for eps, min(snr,gamma)/(snr + 1) for v. */
double schedule_snr(const Schedule *s, int t);
double schedule_min_snr(const Schedule *s, int t, double gamma);

/* Training: what goes in, x_t, and what shall come out, e or v. n elements; y may be x0 or e. */
void schedule_noised(double *y, const Schedule *s, int t, const double *x0, const double *e, size_t n);
void schedule_target(double *y, const Schedule *s, int t, const double *x0, const double *e, size_t n);

/* Descending noise levels for sampling: `steps` values in sigma[0..steps-1], then 0 in sigma[steps].
 *   uniform      times in equal steps from the last to 0
 *   karras       sigma^(1/7) in equal steps (Karras et al. 2022, eq. 5)
 *   exponential  log sigma in equal steps
 * from the table's largest to its smallest. */
typedef enum { SIGMAS_AUTOMATIC, SIGMAS_UNIFORM, SIGMAS_KARRAS, SIGMAS_EXPONENTIAL } SigmaKind; /* automatic: the sampler's own, see sampler.h */
void schedule_sigmas(double *sigma, const Schedule *s, SigmaKind kind, int steps);
#endif
