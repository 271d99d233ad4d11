/* conditioning.h - what the U-Net is told of each picture: its prompts (text/prompt.h) as text states, step by step.
 *
 * Each chunk of a text (text/chunks.h) goes through the text encoder alone; the states of a text of k chunks are one row of k t tokens. Tokens that count w
 * times have their states multiplied by w; EMPHASIS_ORIGINAL then multiplies all states of the chunk by what brings their mean back to what it was:
 *   z'_ij = w_i z_ij m / m',   m the mean of z_ij, m' that of w_i z_ij, over tokens i and channels j
 * as the web UI does. A chunk without weights, or whose m' is 0, is left without that factor. Where a prompt changes from step to step its texts are filled up
 * with empty chunks to one length, and share the means of their first, second ... chunks. */
#ifndef DIFFUSION_CONDITIONING_H
#define DIFFUSION_CONDITIONING_H
#include "diffusion/pipeline.h"
#include "text/chunks.h"

/* One prompt: its texts' chunks lie one after the other. */
typedef struct {
    double weight;
    int    first, chunks, texts;                        /* the first chunk of all; how many each text has */
    int   *times, *at;                                  /* (texts), as in Edit; (steps): the first chunk of each step */
} ConditioningRow;

/* Opened as { 0 }. */
typedef struct {
    Chunks           chunks;
    ConditioningRow *row;
    int              rows, most;                        /* most: chunks of the longest row */
    Tensor           states;                            /* (chunks,1,t,c) in host memory, of the set's act */
    void            *now;                               /* room for the states of all rows in one step */
} Conditioning;

/* Adds a picture's prompt: as many rows as it has parts, a negative one has one. How many, or -1 and err(). */
int  conditioning_add(Conditioning *c, const Tokenizer *tok, const char *prompt, int negative, Emphasis emphasis, int steps);
int  conditioning_encode(Conditioning *c, Pipeline *p, Emphasis emphasis);      /* once all are added. 0, or -1 and err() */
void conditioning_close(Conditioning *c);

/* How many rows from `row` on have as many chunks as this one has, and so can go through the U-Net together. */
int conditioning_run(const Conditioning *c, int row);

/* The states of n such rows in a step, k chunks each: (n,1,k t,c), valid until the next call. */
Tensor conditioning_rows(Conditioning *c, int row, int n, int step);
#endif
