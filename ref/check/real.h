/* real.h - shapes that are not drawn: the calls that SD 1.5 makes at 512x768, whose latents are 96 x 64, for `checkops --full` and for benches; and small ones
 * that bring a set to each of its tiles and to what it does for eight channels at once, for `checkops --tiles`. Laid out as a run does: without gaps, on 64
 * bytes. */
#ifndef CHECK_REAL_H
#define CHECK_REAL_H
#include "check/check.h"

/* The draw of `kind` takes its choices from `given`, in the order in which it asks for them. */
typedef struct {
    OpKind      kind;
    const char *where;
    int         given[8];
} RealShape;

/* Number `k` of the shapes of an op, or NULL: there are no more. */
const RealShape *real_shape(OpKind kind, int k);
const RealShape *tile_shape(OpKind kind, int k);
#endif
