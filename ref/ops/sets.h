/* sets.h - how the kernel sets of this room are opened; ops.c holds the table. Each returns the one Set there is of its kind, or NULL and err(). */
#ifndef OPS_SETS_H
#define OPS_SETS_H
#include "ops/ops.h"

Set *ref_open_f32(void);
Set *ref_open_f64(void);
Set *ref_open_f16(void);
Set *cuda_open(void);                                   /* where the program is built with it */

size_t cuda_need(const Set *set, const Op *op);         /* of the CUDA set, built or not */
#endif
