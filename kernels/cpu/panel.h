/* panel.h - the weights of a product, rearranged for the inner loop a block at a time: transposed or not, widened from f16 or bf16, scaled. */
#ifndef CPU_PANEL_H
#define CPU_PANEL_H
#include "product.h"

enum { KC = 384, SPANS = 9 };                           /* the most channels and taps of a block */

/* A part of a term's sum: up to `most` channels of one tap, or, where x has few channels, all of several taps. */
typedef struct {
    const Term *term;
    int         most;                                   /* channels of a block, KC or fewer */
    int         tap, spans, k0, k;                      /* taps tap.. tap + spans, channels k0.. k0 + k of each */
} Block;

/* The next block of the term, or 0: none is left. A block of k = 0 is the place before the first. */
int  NAME(next_block)(Block *b);

/* to (spans, k, NR) = the weights of the block for columns c.. of the term, of which there are `count`; in a vector behind them: anything. */
void NAME(make_panel)(float *to, const Block *b, int c, int count);
#endif
