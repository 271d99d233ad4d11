/* cost.h - what a call costs: a pure function of its shapes, the same for every set. For plans, traces and benches.
 *
 * flops: a multiplication and an addition count one each, a function (e^x, a root, a quotient) one. Counted is the textbook's work, not a set's:
 *   linear 2 rows i o and conv 2 n ho wo o k k i, gradients the same, taps on padding included, Winograd not deducted; each segment like a linear or conv;
 *   attention 4 a pair of a query and a key it sees and a channel (two products), backward 10 (five: the scores are computed again); causal: t(t+1)/2 pairs;
 *   everything else a fixed number an element (cost.c). Not counted: the softmax, and what a result is added to (bias, row, residual, the old y).
 * bytes: every tensor read once and written once, at its own type; an output that is added to or updated both; of a table of words the rows looked up. */
#ifndef OPS_COST_H
#define OPS_COST_H
#include "ops/ops.h"

typedef struct {
    double flops, bytes;
} Cost;

Cost op_cost(const Op *op);                             /* of an op that op_check accepts; addresses are not followed */
#endif
