/* The norm of all gradients, the search for one that is not finite, and the optimizer's step. What steers them is in ctl, on the device: the host need not
 * wait. */
#include "dev.h"
#include "need.h"

/* ---- ctl[SUMSQ] += sum of g^2; ctl[BAD] = 1 where g is not finite: SUM_BLOCKS blocks, then one that adds theirs in order ---- */

/* What one block found: in scratch, one a block. */
struct Squares {
    double sum;
    int    bad;
};
static_assert(sizeof(Squares) == SQUARES_BYTES, "need.h");

struct SquaresShared {
    double sum[THREADS];
};

KERNEL sumsq_kernel(const float *g, unsigned count, Squares *found)
{
    SMEM(SquaresShared, s);
    double sum = 0;
    int    bad = 0;
    FOR_EACH (i, count) {
        sum += (double)g[i] * (double)g[i];
        bad |= !(fabsf(g[i]) <= 3.402823466e38f);       /* NaN fails it as well */
    }
    bad = __syncthreads_or(bad);
    sum = block_sum(sum, s.sum);
    if (threadIdx.x == 0) found[blockIdx.x].sum = sum, found[blockIdx.x].bad = bad;
}

KERNEL add_squares_kernel(float *ctl, const Squares *found, unsigned blocks)
{
    double sum = ctl[CTL_SUMSQ];
    for (unsigned i = 0; i < blocks; i++) {
        sum += found[i].sum;
        if (found[i].bad) ctl[CTL_BAD] = 1;
    }
    ctl[CTL_SUMSQ] = (float)sum;
}

RUN(sumsq)
{
    const unsigned count = (unsigned)op->x[0].c, blocks = sum_blocks(count);
    Squares       *found = (Squares *)op->scratch;
    LAUNCH(sumsq_kernel, dim3(blocks), dim3(THREADS), sizeof(SquaresShared), stream, (const float *)op->x[0].p, count, found);
    LAUNCH(add_squares_kernel, dim3(1), dim3(1), 0, stream, (float *)op->y[0].p, (const Squares *)found, blocks);
    return 0;
}

/* ---- one step ---- */

struct UpdateArgs {
    float       *w, *m, *v;
    half        *work;
    const float *g, *ctl;
    unsigned     count;
    int          group;
    double       beta1, beta2, eps, decay;
};

struct Rates {
    float scale, keep, lr, b1, c1, b2, c2, bias1, root_bias2, eps; /* g' = scale g, w' = keep w; c1 = 1 - b1, c2 = 1 - b2 */
};

DEVICE Rates rates_of(const UpdateArgs &a)
{
    double       scale = 1 / (double)a.ctl[CTL_SCALE];
    const double clip = a.ctl[CTL_CLIP], lr = a.ctl[CTL_LR + a.group], norm = sqrt((double)a.ctl[CTL_SUMSQ]) * scale;
    if (clip > 0 && clip < norm + 1e-6) scale *= clip / (norm + 1e-6);
    return { (float)scale, (float)(1 - lr * a.decay), (float)lr, (float)a.beta1, (float)(1 - a.beta1), (float)a.beta2, (float)(1 - a.beta2),
             a.ctl[CTL_BIAS1], (float)sqrt((double)a.ctl[CTL_BIAS2]), (float)a.eps };
}

template <int KIND> KERNEL update_kernel(const UpdateArgs a)
{
    SMEM(Rates, r);
    if (a.ctl[CTL_BAD] != 0) return;
    if (threadIdx.x == 0) r = rates_of(a);
    __syncthreads();
    FOR_EACH (i, a.count) {
        const float h = r.scale * a.g[i];
        float       w = a.w[i], m = a.m[i];
        if (KIND == UPDATE_ADAMW) {
            const float v = r.b2 * a.v[i] + r.c2 * h * h;
            m = r.b1 * m + r.c1 * h;
            w = r.keep * w - r.lr * (m / r.bias1) / (sqrtf(v) / r.root_bias2 + r.eps);
            a.v[i] = v;
        } else if (KIND == UPDATE_LION) {
            const float u = r.b1 * m + r.c1 * h;
            w = r.keep * w - r.lr * (float)((u > 0) - (u < 0));
            m = r.b2 * m + r.c2 * h;
        } else {
            m = r.b1 * m + h;
            w = r.keep * w - r.lr * m;
        }
        a.w[i] = w, a.m[i] = m;
        if (a.work) round_to(a.work[i], w);
    }
}

RUN(update)
{
    UpdateArgs a = { (float *)op->y[0].p, (float *)op->y[1].p, (float *)op->y[2].p, (half *)op->y[3].p, (const float *)op->x[0].p, (const float *)op->x[1].p,
                     (unsigned)op->y[0].c, op->a.base, op->a.beta1, op->a.beta2, op->a.eps, op->a.decay };
    const unsigned blocks = blocks_for(a.count);
    switch (op->a.kind) {
    case UPDATE_ADAMW: LAUNCH((update_kernel<UPDATE_ADAMW>), dim3(blocks), dim3(THREADS), sizeof(Rates), stream, a); break;
    case UPDATE_LION: LAUNCH((update_kernel<UPDATE_LION>), dim3(blocks), dim3(THREADS), sizeof(Rates), stream, a); break;
    default: LAUNCH((update_kernel<UPDATE_SGD>), dim3(blocks), dim3(THREADS), sizeof(Rates), stream, a);
    }
    return 0;
}
