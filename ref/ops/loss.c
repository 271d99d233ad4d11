#include "ops/ref.h"

/* f(d) and its slope, in double. With s = sqrt(d^2 + c^2): s - c = d^2 / (s + c), which does not cancel, and ds/dd = d/s. NaN stays NaN, and an
 * infinite c, with which s - c has no value, makes one. */
typedef struct {
    double value, slope;
} Point;

static inline Point point_of(int kind, double d, double c)
{
    double s = sqrt(d * d + c * c), rise = s != 0 ? d * d / (s + c) + 0 * c : 0, unit = s != 0 ? d / s : 0;
    switch (kind) {
    case LOSS_L2: return (Point){ d * d, 2 * d };
    case LOSS_L1: return (Point){ fabs(d), d > 0 ? 1 : d < 0 ? -1 : d };
    case LOSS_HUBER: return (Point){ 2 * c * rise, 2 * c * unit };
    default: return (Point){ 2 * rise, 2 * unit };
    }
}

int NAME(loss)(const Op *op)
{
    Tensor loss = op->y[0], dpred = op->y[1], pred = op->x[0], target = op->x[1], weight = op->x[2], c = op->x[3], mask = op->x[4];
    double share = op->a.scale * (double)data(op->x[5])[CTL_SCALE];
    size_t rows = area(pred);
#pragma omp parallel for schedule(static) if (tensor_count(pred) > PARALLEL_FROM)
    for (int n = 0; n < pred.n; n++) {
        double sum = 0, factor = (double)*row_at(weight, (size_t)n) / ((double)rows * pred.c), bend = c.p ? (double)*row_at(c, (size_t)n) : 0;
        for (size_t r = (size_t)n * rows; r < ((size_t)n + 1) * rows; r++) {
            const real *got = row_at(pred, r), *want = row_at(target, r);
            real       *to = row_at(dpred, r);
            double      shown = mask.p ? (double)*row_at(mask, r) : 1;
            for (int j = 0; j < pred.c; j++) {
                Point f = point_of(op->a.kind, (double)got[j] - (double)want[j], bend);
                sum += shown * f.value;
                to[j] = (real)(share * factor * shown * f.slope);
            }
        }
        *row_at(loss, (size_t)n) = (real)(factor * sum);
    }
    return 0;
}
