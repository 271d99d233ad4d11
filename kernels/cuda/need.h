/* need.h - how the CUDA set cuts a product into blocks, and the scratch that follows from it: a pure function of shapes, in plain C, so that a run can be
 * planned where the set is not built. */
#ifndef CUDA_NEED_H
#define CUDA_NEED_H
#include "ops/ops.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { SLAB = 32 };                                     /* of what is summed over, a block takes this much at a time */

/* A block makes bm x bn results; the sum of each is shared by `splits` blocks, whose parts a second kernel adds in order. */
typedef struct {
    unsigned bm, bn, splits;
} Cut;

Cut    cut_of(size_t m, size_t n, size_t slabs);        /* for m x n results, each a sum over that many slabs */
size_t cut_bytes(Cut cut, size_t m, size_t n);          /* of the parts: (splits, m, n) floats, or none */

Cut    cut_of_product(const Op *op);                    /* linear, conv, and their dx */
Cut    cut_of_dw(const Op *op);

enum { SQUARES_BYTES = 16, SUMS_BYTES = 16, MEANS_BYTES = 8 };
unsigned sum_blocks(size_t count);                      /* that share a sum of squares */
unsigned sum_runs(size_t rows);                         /* in which rows are added */
unsigned norm_runs(size_t rows);                        /* the same for a norm's two sums, of SUMS_BYTES a channel */

size_t cuda_need(const Set *set, const Op *op);
#ifdef __cplusplus
}
#endif
#endif
