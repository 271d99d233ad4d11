#include "train/loss_scale.h"

LossScale loss_scale_open(const Set *set)
{
    double scale = set_loss_scale(set);
    return (LossScale){ .scale = scale, .most = scale > 1 ? LOSS_SCALE_MOST : 1 };
}

int loss_scale_step(LossScale *s, int bad)
{
    if (!bad) {
        s->bad = 0;
        if (++s->good < LOSS_SCALE_PATIENCE) return 0;
        s->good = 0;
        if (s->scale < s->most) s->scale *= 2;
        return 0;
    }
    s->good = 0, s->bad++, s->skipped++;
    if (s->scale <= 1 || s->bad >= LOSS_SCALE_SKIPS) return -1;
    s->scale /= 2;
    return 0;
}
