#include "noise.h"
#include "base/rng.h"
#include <float.h>

static struct {
    Set  set;                                           /* first: a Set * is a pointer to all of it */
    Set *exact;
    Rng  rng;
} noise;

static void move(Tensor t)
{
    if (!t.p || t.type != T_F64) return;
    for (int n = 0; n < t.n; n++)
        for (size_t r = 0; r < (size_t)t.h * (size_t)t.w; r++) {
            double *x = tensor_at(t, (size_t)n * t.img + r * t.ld);
            for (int c = 0; c < t.c; c++) x[c] *= 1 + FLT_EPSILON / 2 * (2 * rng_uniform(&noise.rng) - 1);
        }
}

static int run(Set *set, const Op *op)
{
    (void)set;
    if (noise.exact->run(noise.exact, op)) return -1;
    for (int i = 0; i < 4; i++) move(op->y[i]);
    return 0;
}

static int upload(Set *set, Tensor dst, Tensor host)
{
    (void)set;
    if (noise.exact->upload(noise.exact, dst, host)) return -1;
    move(dst);
    return 0;
}

Set *noise_open(uint64_t seed)
{
    noise.exact = set_open("ref64");
    if (!noise.exact) return NULL;
    noise.set = *noise.exact;
    noise.set.name = "noise", noise.set.run = run, noise.set.upload = upload;
    noise.rng = rng_open(seed, RNG_TEST, 0, 0);
    return &noise.set;
}
