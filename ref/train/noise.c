#include "train/noise.h"
#include <math.h>

void noise_offset(double *e, const double *x0, int pixels, int c, double strength, double adaptive, Rng *rng)
{
    for (int k = 0; k < c; k++) {
        double mean = 0;
        for (int p = 0; p < pixels; p++) mean += x0[(size_t)p * (size_t)c + (size_t)k] / pixels;
        double offset = fmax(0, strength + adaptive * fabs(mean)) * rng_normal(rng);
        for (int p = 0; p < pixels; p++) e[(size_t)p * (size_t)c + (size_t)k] += offset;
    }
}
