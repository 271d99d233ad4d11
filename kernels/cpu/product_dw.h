/* product_dw.h - y (m,n) (+)= scale a^T b, summed over rows: what the gradients of weights are. Row r of a is row r of tensor a; row r of b is the pixel of
 * tensor b that tap (u,v) of the kernel reads for the output pixel r, or zeros. */
#ifndef CPU_PRODUCT_DW_H
#define CPU_PRODUCT_DW_H
#include "cpu.h"

typedef struct {
    float *y;                                           /* (m,n), rows ldy apart */
    size_t ldy;
    Tensor a, b;                                        /* (n,ho,wo,m), (n,h,w,n) */
    int    step, down, across;                          /* output pixel (p,q) reads (p step + down, q step + across) */
    float  scale;
    int    acc;
    float *scratch;                                     /* product_dw_need() bytes */
} ProductDw;

void   NAME(product_dw)(const ProductDw *p);
size_t NAME(product_dw_need)(int m, int n, size_t rows);
#endif
