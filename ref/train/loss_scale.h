/* loss_scale.h - gradients kept large enough for narrow activations (Micikevicius et al. 2018).
 *
 * What goes back through the model is `scale` times the gradient of the loss, so that small numbers do not become 0 in f16; the update divides by it. A step
 * whose gradients are not finite is skipped, weights and moments stay, and scale halves; after LOSS_SCALE_PATIENCE steps without such a one it doubles. Where
 * activations hold what parameters hold, scale is 1 and stays. Powers of 2: where nothing overflows or vanishes, scale changes no bit. */
#ifndef TRAIN_LOSS_SCALE_H
#define TRAIN_LOSS_SCALE_H
#include "ops/ops.h"

enum { LOSS_SCALE_PATIENCE = 2000, LOSS_SCALE_MOST = 1 << 24, LOSS_SCALE_SKIPS = 8 };

typedef struct {
    double scale;
    int    most;                                        /* it grows to this: 1 where it is not wanted */
    int    good, bad;                                   /* steps since it last changed; skipped steps in a row */
    int    skipped;                                     /* in all */
} LossScale;

LossScale loss_scale_open(const Set *set);

/* After a step: was it bad, that is, are its gradients not finite? 0: go on with s->scale. -1: scale is 1, or LOSS_SCALE_SKIPS steps in a row were bad: the
 * scale is not what is wrong. */
int loss_scale_step(LossScale *s, int bad);
#endif
