#include "train/lr_schedule.h"
#include <math.h>

double lr_factor(LrScheduler kind, int k, int warmup, int total, int cycles)
{
    if (k < warmup) return (double)k / warmup;
    double p = (double)(k - warmup) / (total > warmup ? total - warmup : 1);
    switch (kind) {
    case LR_LINEAR: return p < 1 ? 1 - p : 0;
    case LR_COSINE: return p < 1 ? 0.5 * (1 + cos(acos(-1.0) * p)) : 0;
    case LR_COSINE_WITH_RESTARTS: return p < 1 ? 0.5 * (1 + cos(acos(-1.0) * fmod(cycles * p, 1))) : 0;
    default: return 1;
    }
}
