#include "base/rng.h"
#include "base/err.h"
#include <math.h>

#define PI 3.14159265358979323846

/* One round: two 32x32 -> 64 bit products, whose high words are mixed into the other pair and whose low words are moved across. */
void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * c0, b = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0, c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1, c3 = (uint32_t)a;
        k0 += 0x9e3779b9u, k1 += 0xbb67ae85u;           /* Weyl sequence: golden ratio, sqrt 3 - 1 */
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The seed is the key; purpose, a and b are three words of the counter and the block number is the fourth: no two streams share a block. */
Rng rng_open(uint64_t seed, RngPurpose purpose, uint32_t a, uint32_t b)
{
    return (Rng){ .key = { (uint32_t)seed, (uint32_t)(seed >> 32) }, .counter = { 0, (uint32_t)purpose, a, b }, .used = 4 };
}

uint32_t rng_u32(Rng *rng)
{
    if (rng->used == 4) {
        philox4x32(rng->word, rng->counter, rng->key);
        rng->counter[0]++;
        CHECK(rng->counter[0] != 0, "stream (%u, %u, %u) is used up: 2^34 words", rng->counter[1], rng->counter[2], rng->counter[3]);
        rng->used = 0;
    }
    return rng->word[rng->used++];
}

double rng_uniform(Rng *rng)
{
    uint64_t high = rng_u32(rng), bits = high << 32 | rng_u32(rng);
    return (double)(bits >> 11) * 0x1p-53;
}

/* Box & Muller 1958; 1 - u lies in (0,1], so the logarithm is finite. */
double rng_normal(Rng *rng)
{
    double u = rng_uniform(rng), v = rng_uniform(rng);
    return sqrt(-2 * log(1 - u)) * cos(2 * PI * v);
}

/* Words below 2^32 mod n are rejected: what is left is a whole number of runs of 0..n-1. */
uint32_t rng_below(Rng *rng, uint32_t n)
{
    CHECK(n > 0, "a number below 0 was asked for");
    uint32_t reject = (0u - n) % n, x;
    do x = rng_u32(rng);
    while (x < reject);
    return x % n;
}

void rng_shuffle(Rng *rng, int *a, int n)
{
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(rng, (uint32_t)i + 1), x = a[i];
        a[i] = a[j], a[j] = x;
    }
}
