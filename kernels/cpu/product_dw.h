/* product_dw.h - y (m,n) (+)= scale a^T b, summed over rows: what the gradients of weights are, a y for each tap of a kernel. Row r of a is row r of tensor a;
 * row r of b is the pixel of tensor b that tap (u,v) reads for the output pixel r, or zeros. */
#ifndef CPU_PRODUCT_DW_H
#define CPU_PRODUCT_DW_H
#include "cpu.h"

typedef struct {
    float *y;                                           /* (m,n), rows ldy apart, for each tap; taps tap_ld apart */
    size_t ldy, tap_ld;
    Tensor a, b;                                        /* (n,ho,wo,m), (n,h,w,n) */
    int    kernel, step, down, across;                  /* output pixel (p,q) and tap (u,v) read (p step + down + u, q step + across + v), u, v < kernel */
    float  scale;
    int    acc;
    float *scratch;                                     /* product_dw_need() bytes */
} ProductDw;

void   NAME(product_dw)(const ProductDw *p);
size_t NAME(product_dw_need)(int m, int n, size_t rows, int kernel);
#endif
