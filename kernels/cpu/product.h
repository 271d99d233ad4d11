/* product.h - y = the sum of terms x w, over the pixels of a grid: what linear, conv and their input gradients are, low-rank segments included.
 *
 * Row r of the product is pixel (n,p,q) of a grid (y.n, h, w), and lies at pixel (p step + h0, q step + w0) of y's image n. A term adds, for each of its
 * taps, the channels of x at a pixel near it, times a matrix:
 *
 *   y[r,c] += scale sum over taps (u,v), over k of x[n, p step + down(u), q step + across(v), k] w(u,v)[k,c]       outside x: 0
 *
 * Little is gathered: the inner loop takes a pointer a row (Dukhan 2019, "The indirect convolution algorithm"). Only w is rearranged, a panel of up to KC by
 * NR at a time, for some 400 rows: transposed, widened from f16 or bf16, and scaled on the way. */
#ifndef CPU_PRODUCT_H
#define CPU_PRODUCT_H
#include "cpu.h"

/* Tap j of a dimension, j < count, reads at first + j next and has the weights of place w_first + j w_next in the kernel. */
typedef struct {
    int count, first, next, w_first, w_next;
} Taps;

/* w(u,v)[k,c] is w[c,u,v,k] where transposed, else w[k,u,v,c]. The term adds to columns c0 to c0 + c of y. */
typedef struct {
    Tensor x, w;
    int    transposed, step;
    Taps   down, across;
    float  scale;
    int    c0, c;
} Term;

/* y (+)= terms + bias + row + res of the op; the first term has all columns of y. */
typedef struct {
    const Op *op;
    int       h, w, step, h0, w0;
    int       terms;
    Term      term[1 + MAX_SEG];
} Product;

void   NAME(product)(const Product *p);
size_t NAME(product_need)(const Product *p);            /* bytes of op->scratch */
#endif
