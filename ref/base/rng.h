/* rng.h - counter-based random numbers: what is drawn depends on what it is for, never on what was drawn before.
 *
 * Philox4x32-10 (Salmon et al. 2011). A stream is named by (seed, purpose, a, b), for example (seed, RNG_NOISE, epoch, sample): so an epoch can be
 * repeated, resumed and split over threads without changing a bit. */
#ifndef BASE_RNG_H
#define BASE_RNG_H
#include <stdint.h>

typedef enum {
    RNG_INIT, RNG_ORDER, RNG_CAPTION, RNG_LATENT, RNG_NOISE, RNG_TIMESTEP, RNG_DROPOUT, RNG_TEST, RNG_FLIP, RNG_OFFSET, RNG_STRENGTH
} RngPurpose;

typedef struct {
    uint32_t key[2], counter[4], word[4];
    int      used;                                      /* words of this block already given out */
} Rng;

/* out = the block at `counter` under `key`, ten rounds. */
void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

Rng      rng_open(uint64_t seed, RngPurpose purpose, uint32_t a, uint32_t b);
uint32_t rng_u32(Rng *rng);
double   rng_uniform(Rng *rng);                         /* [0,1), 53 bits */
double   rng_normal(Rng *rng);                          /* mean 0, variance 1: Box-Muller, the cosine half; two uniforms a draw */
uint32_t rng_below(Rng *rng, uint32_t n);               /* 0..n-1, unbiased (rejection) */
void     rng_shuffle(Rng *rng, int *a, int n);          /* Fisher-Yates */
#endif
