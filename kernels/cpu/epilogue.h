/* epilogue.h - how sums reach y: with all that an op adds inside the same rounding. */
#ifndef CPU_EPILOGUE_H
#define CPU_EPILOGUE_H
#include "cpu.h"
#include "vec.h"

/* What a row of y starts from, beside the bias. */
typedef struct {
    float       *y;
    const float *row, *res;
} Place;

/* Columns c to end of y; first: of the first block, which brings what the op adds. */
typedef struct {
    const Op *op;
    int       first, c, end;
} Columns;

INLINE void store_vector(const Place *at, V sum, const Columns *k, int c, int n)
{
    V y = !k->first || k->op->acc ? take(at->y + c, n) : (V){ 0 };
    if (k->first && k->op->bias.p) sum += take(data(k->op->bias) + c, n);
    if (k->first && at->row) sum += take(at->row + c, n);
    if (k->first && at->res) sum += take(at->res + c, n);
    put(at->y + c, y + sum, n);
}
#endif
