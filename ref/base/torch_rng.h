/* torch_rng.h - the normal random numbers of torch's CPU generator, bit for bit, so that a seed gives the picture that it gives elsewhere.
 *
 * Mersenne twister 19937 (Matsumoto & Nishimura 1998) as torch drives it: of the seed only the low 32 bits count. torch_rng_normal replays torch.randn for
 * a contiguous float32 tensor of n elements, in row-major order, and may be called again, as torch.randn may be on one generator.
 * Measured against torch 2.x on x86 with AVX2 or AVX-512, whose vector kernels define these bits; torch's generic build differs by up to 2e-6 in normals. */
#ifndef BASE_TORCH_RNG_H
#define BASE_TORCH_RNG_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t state[624];
    int      used;                                      /* words of the state already given out */
    int      has_next;                                  /* normals come in pairs: is the second one waiting? It survives calls in between */
    double   next;
} TorchRng;

TorchRng torch_rng_open(uint64_t seed);                 /* torch.manual_seed(seed) */
void     torch_rng_normal(TorchRng *rng, float *out, size_t n);         /* mean 0, variance 1 */
#endif
