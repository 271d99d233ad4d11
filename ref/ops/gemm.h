/* gemm.h - the one matrix product of the reference: row-major, every matrix with its own distance between rows.
 *
 *   C (m,n) = alpha op(A) op(B) + beta C,   op(A) (m,k): A as stored, or, ta, its transpose; op(B) (k,n) alike.   beta 0: C is not read.
 *
 * Runs on the calling thread and no other, so its result depends on its arguments alone. gemm_blas.c: OpenBLAS. gemm_naive.c: plain loops, sums in double. */
#ifndef OPS_GEMM_H
#define OPS_GEMM_H
#include "ops/real.h"

void NAME(gemm)(int ta, int tb, int m, int n, int k, real alpha, const real *a, size_t lda, const real *b, size_t ldb, real beta, real *c, size_t ldc);

/* Set.chain of products in float: of OpenBLAS the largest depth of its blocks on any processor (tests/unit_check.c measures this one's). Sums in double, and
 * all other long sums of the float set are that, count as less. */
extern const int NAME(gemm_chain);

/* Once, before the first product. */
void NAME(gemm_open)(void);

/* Must a product be called from within an active OpenMP region to stay on its thread? True of an OpenBLAS that is itself built on OpenMP. */
int NAME(gemm_in_region)(void);
#endif
