#include "ops/sets.h"

/* Scratch of the CUDA set, in plain C: a run can be planned where the set is not built. Only sums that are split over blocks need any. */
size_t cuda_need(const Set *set, const Op *op)
{
    (void)set, (void)op;
    return 0;
}
