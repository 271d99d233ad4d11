/* conditioning.h - what the U-Net is told of each picture: its prompt as text states.
 *
 * Each chunk of a prompt (text/chunks.h) goes through the text encoder alone; the states of a prompt of k chunks are one row of k t tokens. Tokens that count w
 * times have their states multiplied by w; EMPHASIS_ORIGINAL then multiplies all states of the chunk by what brings their mean back to what it was:
 *   z'_ij = w_i z_ij m / m',   m the mean of z, m' that of w_i z_ij, over tokens i and channels j
 * as the web UI does. A chunk without weights is left as it is. */
#ifndef DIFFUSION_CONDITIONING_H
#define DIFFUSION_CONDITIONING_H
#include "diffusion/pipeline.h"
#include "text/chunks.h"

/* Opened as { 0 }. */
typedef struct {
    Chunks chunks;                                      /* of all rows, one after the other */
    int    rows, *first;                                /* chunks of row r: [first[r], first[r + 1]) */
    int    most;                                        /* chunks of the longest row */
    Tensor states;                                      /* (chunks,1,t,c) in host memory, of the set's act */
} Conditioning;

int  conditioning_read(Conditioning *c, const Pipeline *p, const char *const *prompt, int rows, Emphasis emphasis);     /* 0, or -1 and err() */
int  conditioning_encode(Conditioning *c, Pipeline *p, Emphasis emphasis);                                             /* 0, or -1 and err() */
void conditioning_close(Conditioning *c);

/* How many rows from `row` on have as many chunks as this one has, and so can go through the U-Net together. */
int conditioning_run(const Conditioning *c, int row);

/* The states of n rows with the same number k of chunks: (n,1,k t,c). */
Tensor conditioning_rows(const Conditioning *c, int row, int n);
#endif
