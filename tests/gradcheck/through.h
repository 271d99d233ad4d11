/* through.h - another set as one of doubles: each op's numbers are rounded to the other's type, it runs there, and what comes out is widened. */
#ifndef GRADCHECK_THROUGH_H
#define GRADCHECK_THROUGH_H
#include "ops/ops.h"

/* There is one such set. `other` NULL, or one that computes in several types: NULL and err(). */
Set *through_open(Set *other);
#endif
