#include "ops/gemm.h"
#include <cblas.h>

/* OpenBLAS sums in another order when it takes another number of threads, so it gets one. A build on OpenMP is left alone: openblas_set_num_threads would
 * set the threads of the whole program, and from within a parallel region it runs serially of itself. */
void NAME(gemm_open)(void)
{
    if (openblas_get_parallel() == OPENBLAS_THREAD) openblas_set_num_threads(1);
}

const int NAME(gemm_chain) = 1024;

int NAME(gemm_in_region)(void) { return openblas_get_parallel() == OPENBLAS_OPENMP; }

void NAME(gemm)(int ta, int tb, int m, int n, int k, real alpha, const real *a, size_t lda, const real *b, size_t ldb, real beta, real *c, size_t ldc)
{
    CBLAS_TRANSPOSE at = ta ? CblasTrans : CblasNoTrans, bt = tb ? CblasTrans : CblasNoTrans;
#if REAL == 32
    cblas_sgemm(CblasRowMajor, at, bt, m, n, k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
#else
    cblas_dgemm(CblasRowMajor, at, bt, m, n, k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
#endif
}
