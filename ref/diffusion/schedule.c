#include "diffusion/schedule.h"
#include "base/err.h"
#include <math.h>

int schedule_open(Schedule *s, BetaKind kind, double beta_start, double beta_end, int timesteps, Prediction prediction, int steps_offset)
{
    if (timesteps < 2 || timesteps > SCHEDULE_MAX) return err("num_train_timesteps: expected 2 to %d, found %d", SCHEDULE_MAX, timesteps);
    if (!(0 < beta_start && beta_start <= beta_end && beta_end < 1))
        return err("beta_start, beta_end: expected 0 < start <= end < 1, found %g, %g", beta_start, beta_end);
    if (steps_offset < 0 || steps_offset >= timesteps) return err("steps_offset: expected 0 to %d, found %d", timesteps - 1, steps_offset);

    *s = (Schedule){ .timesteps = timesteps, .prediction = prediction, .steps_offset = steps_offset };
    double first = kind == BETA_LINEAR ? beta_start : sqrt(beta_start), last = kind == BETA_LINEAR ? beta_end : sqrt(beta_end), ac = 1;
    for (int t = 0; t < timesteps; t++) {
        double beta = first + t * ((last - first) / (timesteps - 1));
        if (kind == BETA_SCALED_LINEAR) beta *= beta;
        s->ac[t] = ac *= 1 - beta;
        s->log_sigma[t] = 0.5 * log((1 - ac) / ac);
        if (!isfinite(s->log_sigma[t]))
            return err("beta_start, beta_end: with %g and %g step %d of %d is %s", beta_start, beta_end, t, timesteps,
                       ac < 1 ? "noise alone" : "without noise");
    }
    return 0;
}

double schedule_sigma(const Schedule *s, double t)
{
    t = fmin(fmax(t, 0), s->timesteps - 1);
    int    low = (int)t, high = low + (t > low);
    double w = t - low;
    return exp((1 - w) * s->log_sigma[low] + w * s->log_sigma[high]);
}

/* The interval of the table that holds log sigma, by bisection: log_sigma[low] <= l < log_sigma[low + 1], or the outermost interval. */
double schedule_t(const Schedule *s, double sigma)
{
    double l = log(sigma);
    int    low = 0, high = s->timesteps - 1;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (s->log_sigma[middle] <= l) low = middle;
        else high = middle;
    }
    double w = (l - s->log_sigma[low]) / (s->log_sigma[high] - s->log_sigma[low]);
    return low + fmin(fmax(w, 0), 1);
}

double schedule_snr(const Schedule *s, int t) { return s->ac[t] / (1 - s->ac[t]); }

double schedule_min_snr(const Schedule *s, int t, double gamma)
{
    double snr = schedule_snr(s, t);
    return fmin(snr, gamma) / (s->prediction == PREDICT_V ? snr + 1 : snr);
}

void schedule_noised(double *y, const Schedule *s, int t, const double *x0, const double *e, size_t n)
{
    double signal = sqrt(s->ac[t]), noise = sqrt(1 - s->ac[t]);
    for (size_t i = 0; i < n; i++) y[i] = signal * x0[i] + noise * e[i];
}

void schedule_target(double *y, const Schedule *s, int t, const double *x0, const double *e, size_t n)
{
    double signal = sqrt(s->ac[t]), noise = sqrt(1 - s->ac[t]);
    if (s->prediction == PREDICT_EPS) signal = 1, noise = 0;
    for (size_t i = 0; i < n; i++) y[i] = signal * e[i] - noise * x0[i];
}

void schedule_sigmas(double *sigma, const Schedule *s, SigmaKind kind, int steps)
{
    const double rho = 7, log_max = s->log_sigma[s->timesteps - 1], log_min = s->log_sigma[0];
    CHECK(steps > 0 && kind != SIGMAS_AUTOMATIC, "%d steps of kind %d", steps, (int)kind);
    for (int i = 0; i < steps; i++) {
        double ramp = steps > 1 ? (double)i / (steps - 1) : 0;
        switch (kind) {
        case SIGMAS_KARRAS: sigma[i] = pow((1 - ramp) * exp(log_max / rho) + ramp * exp(log_min / rho), rho); break;
        case SIGMAS_EXPONENTIAL: sigma[i] = exp((1 - ramp) * log_max + ramp * log_min); break;
        default: sigma[i] = schedule_sigma(s, (1 - ramp) * (s->timesteps - 1)); break;
        }
    }
    sigma[steps] = 0;
}
