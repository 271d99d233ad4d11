/* noise.h - noise with an offset: e + o n, one normal n for each channel of a latent (Guttenberg 2023, as kohya's scripts do it).
 *
 * Plain noise hardly moves the mean of a channel, so even at the last timestep the mean of the picture shows through, and a model learns to keep it: it draws
 * nothing very dark or very bright. The offset is part of the noise, and so of what the model shall say. */
#ifndef TRAIN_NOISE_H
#define TRAIN_NOISE_H
#include "base/rng.h"
#include <stddef.h>

/* e (pixels,c) += o_c n_c, where o_c = strength + adaptive |mean of x0's channel c|, but at least 0; x0 (pixels,c) as the U-Net sees it. */
void noise_offset(double *e, const double *x0, int pixels, int c, double strength, double adaptive, Rng *rng);
#endif
