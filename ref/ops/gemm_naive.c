#include "ops/gemm.h"

void NAME(gemm_open)(void) {}
const int NAME(gemm_chain) = 256;
int  NAME(gemm_in_region)(void) { return 0; }

enum { WIDTH = 64 };

/* A row of C in pieces of WIDTH columns; s holds their sums while k runs over the rows of op(B). */
void NAME(gemm)(int ta, int tb, int m, int n, int k, real alpha, const real *a, size_t lda, const real *b, size_t ldb, real beta, real *c, size_t ldc)
{
    size_t a_next = ta ? lda : 1, a_row = ta ? 1 : lda, b_row = tb ? 1 : ldb, b_column = tb ? ldb : 1;
    for (int i = 0; i < m; i++)
        for (int j0 = 0; j0 < n; j0 += WIDTH) {
            int    width = n - j0 < WIDTH ? n - j0 : WIDTH;
            double s[WIDTH] = { 0 };
            for (int l = 0; l < k; l++) {
                double      x = a[(size_t)i * a_row + (size_t)l * a_next];
                const real *from = b + (size_t)l * b_row + (size_t)j0 * b_column;
                for (int j = 0; j < width; j++) s[j] += x * (double)from[(size_t)j * b_column];
            }
            real *to = c + (size_t)i * ldc + j0;
            for (int j = 0; j < width; j++) to[j] = (real)(alpha * s[j] + (beta != 0 ? beta * (double)to[j] : 0));
        }
}
