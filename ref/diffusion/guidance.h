/* guidance.h - classifier-free guidance (Ho & Salimans 2022): away from what the model predicts without the prompt. */
#ifndef DIFFUSION_GUIDANCE_H
#define DIFFUSION_GUIDANCE_H
#include <stddef.h>

/* y = uncond + scale (cond - uncond), n elements; y may be either. */
void guidance_mix(double *y, const double *uncond, const double *cond, double scale, size_t n);

/* y += scale (cond - uncond): what a further prompt for the same picture adds (Liu et al. 2022). */
void guidance_add(double *y, const double *uncond, const double *cond, double scale, size_t n);
#endif
