/* The loss of each image and its gradient. There are few elements, and a loss is what people read: so in double, as ref has it, a block an image. */
#include "dev.h"

struct Point {
    double value, slope;
};

/* With s = sqrt(d^2 + c^2): s - c = d^2 / (s + c), which does not cancel, and ds/dd = d/s. NaN stays NaN, and an infinite c makes one. */
DEVICE Point point_of(int kind, double d, double c)
{
    const double s = sqrt(d * d + c * c), rise = s != 0 ? d * d / (s + c) + 0 * c : 0, unit = s != 0 ? d / s : 0;
    switch (kind) {
    case LOSS_L2: return { d * d, 2 * d };
    case LOSS_L1: return { fabs(d), d > 0 ? 1 : d < 0 ? -1 : d };
    case LOSS_HUBER: return { 2 * c * rise, 2 * c * unit };
    default: return { 2 * rise, 2 * unit };
    }
}

struct LossArgs {
    Tensor       loss, dpred, pred, target, weight, c, mask;
    const float *ctl;
    double       share;
    int          kind;
};

struct LossShared {
    double sum[THREADS];
};

KERNEL loss_kernel(const LossArgs a)
{
    SMEM(LossShared, s);
    const unsigned n = blockIdx.x, c = (unsigned)a.pred.c, area = (unsigned)a.pred.h * (unsigned)a.pred.w, count = area * c;
    const double   factor = (double)*row_at<const float>(a.weight, n) / (double)count, share = a.share * (double)a.ctl[CTL_SCALE];
    const double   bend = a.c.p ? (double)*row_at<const float>(a.c, n) : 0;
    double         sum = 0;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        const unsigned pixel = i / c, j = i - pixel * c;
        const double   shown = a.mask.p ? (double)*pixel_at<const float>(a.mask, n, pixel) : 1;
        const double   got = to_float(pixel_at<const half>(a.pred, n, pixel)[j]), want = pixel_at<const float>(a.target, n, pixel)[j];
        const Point    f = point_of(a.kind, got - want, bend);
        sum += shown * f.value;
        round_to(pixel_at<half>(a.dpred, n, pixel)[j], (float)(share * factor * shown * f.slope));
    }
    sum = block_sum(sum, s.sum);
    if (threadIdx.x == 0) *row_at<float>(a.loss, n) = (float)(factor * sum);
}

RUN(loss)
{
    LossArgs a = { op->y[0], op->y[1], op->x[0], op->x[1], op->x[2], op->x[3], op->x[4], (const float *)op->x[5].p, op->a.scale, op->a.kind };
    LAUNCH(loss_kernel, dim3((unsigned)a.pred.n), dim3(THREADS), sizeof(LossShared), stream, a);
    return 0;
}
