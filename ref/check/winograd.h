/* winograd.h - how far a convolution by Winograd's transforms may be off. Lavin & Gray 2016: F(m x m, 3x3), m 2 or 4, points 0, +-1 and, for 4, +-2. */
#ifndef CHECK_WINOGRAD_H
#define CHECK_WINOGRAD_H
#include "check/check.h"

/* Of each element of y[0] of a conv, or of a conv_dx of stride 1: the error of its main product, in units of u, over and above that of a plain sum. */
double *winograd_error(Case *c, int m);
#endif
