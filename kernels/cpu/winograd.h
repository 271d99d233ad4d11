/* winograd.h - a 3x3 convolution of step 1 with fewer multiplications: F(m x m, 3x3) of Lavin & Gray 2016, "Fast algorithms for convolutional neural
 * networks", points 0, +-1 and, for m = 4, +-2. An m x m tile of outputs takes (m+2)^2 products a channel, where the plain sum takes 9 m^2: 4 times fewer
 * for m = 4. It rounds more; the check of this set counts with it (ref/check/winograd.h). */
#ifndef CPU_WINOGRAD_H
#define CPU_WINOGRAD_H
#include "product.h"

/* m: 4 where it wins, or 0: not this shape. A function of the shape of the first term and the grid alone. */
int    NAME(winograd_of)(const Product *p);

/* The first term of p, with the op's bias, row and res; other terms are not its affair. */
void   NAME(winograd)(const Product *p);
size_t NAME(winograd_need)(const Product *p);           /* bytes of op->scratch */
#endif
