/* torch_rng.h - the random numbers of torch's CPU generator, bit for bit, so that a seed gives the picture and the start values it gives elsewhere.
 *
 * Mersenne twister 19937 (Matsumoto & Nishimura 1998) as torch drives it: of the seed only the low 32 bits count. The functions below replay
 * torch.randn, Tensor.uniform_ and torch.randint for contiguous float32 and int64 tensors of n elements, in row-major order; calls may be mixed.
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

TorchRng torch_rng_open(uint64_t seed);                                                     /* torch.manual_seed(seed) */
void     torch_rng_normal(TorchRng *rng, float *out, size_t n);                             /* mean 0, variance 1 */
void     torch_rng_uniform(TorchRng *rng, float *out, size_t n, float low, float high);     /* [low, high) */
void     torch_rng_int(TorchRng *rng, int64_t *out, size_t n, int64_t low, int64_t high);   /* low..high-1; high - low below 2^28 */
#endif
