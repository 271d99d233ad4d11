#include "diffusion/guidance.h"

void guidance_mix(double *y, const double *uncond, const double *cond, double scale, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = uncond[i] + scale * (cond[i] - uncond[i]);
}

void guidance_add(double *y, const double *uncond, const double *cond, double scale, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += scale * (cond[i] - uncond[i]);
}
