/* micro.h - the two inner loops: a tile of MR rows by NV vectors of sums stays in registers while k runs. Each step takes NV vectors of b and, one at a time,
 * MR numbers of a. On AVX-512: 2 loads and 14 broadcasts for 28 multiply-adds, one a cycle; a and b may come from the second-level cache.
 *
 * `micro_rows`: row m of a is a[m][0..k), anywhere in memory: rows of a matrix, pixels under a tap of a convolution, or zeros.
 * `micro_columns`: a is as b is, a row for each k: the sum over rows of a^T b; b's rows may lie anywhere. */
#ifndef CPU_MICRO_H
#define CPU_MICRO_H
#include "vec.h"

INLINE void micro_clear(V acc[MR][NV], int nv)
{
    UNROLL for (int m = 0; m < MR; m++)
        UNROLL for (int v = 0; v < nv; v++) acc[m][v] = (V){ 0 };
}

/* acc[m][v] += sum of a[m][l] b[l ldb + v W] */
INLINE void micro_rows(V acc[MR][NV], int nv, const float *const *a, int k, const float *b, size_t ldb)
{
    for (int l = 0; l < k; l++, b += ldb) {
        V from[NV];
        UNROLL for (int v = 0; v < nv; v++) from[v] = load(b + v * W);
        UNROLL for (int m = 0; m < MR; m++) {
            V x = splat(a[m][l]);
            UNROLL for (int v = 0; v < nv; v++) acc[m][v] = madd(x, from[v], acc[m][v]);
        }
    }
}

/* acc[m][v] += sum of a[l lda + m] b[l][v W], m < rows */
INLINE void micro_columns(V acc[MR][NV], int rows, int nv, const float *a, size_t lda, size_t k, const float *const *b)
{
    for (size_t l = 0; l < k; l++, a += lda) {
        V from[NV];
        UNROLL for (int v = 0; v < nv; v++) from[v] = load(b[l] + v * W);
        UNROLL for (int m = 0; m < rows; m++) {
            V x = splat(a[m]);
            UNROLL for (int v = 0; v < nv; v++) acc[m][v] = madd(x, from[v], acc[m][v]);
        }
    }
}

INLINE void micro_store(float *to, size_t ld, V acc[MR][NV], int nv)
{
    UNROLL for (int m = 0; m < MR; m++)
        UNROLL for (int v = 0; v < nv; v++) store(to + (size_t)m * ld + v * W, acc[m][v]);
}
#endif
