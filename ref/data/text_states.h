/* text_states.h - what a frozen text encoder said to each caption: computed once, kept in host memory.
 *
 * Captions are encoded one at a time, so what is kept is what would be computed, to the bit, whatever shares a batch and whatever was forgotten. */
#ifndef DATA_TEXT_STATES_H
#define DATA_TEXT_STATES_H
#include "diffusion/pipeline.h"

typedef struct {
    int32_t *ids;                                       /* NULL: an empty place */
    void    *states;                                    /* (tokens,width), type act */
} TextState;

typedef struct {
    Pipeline  *pipeline;
    TextState *state;                                   /* hash table with open places */
    int        chunks;                                  /* of a caption: nn_chunks */
    int        room, count, most;                       /* most: all are forgotten when so many are kept */
    size_t     bytes;                                   /* of one */
} TextStates;

enum { TEXT_STATES_MEMORY = 256 << 20 };

int  text_states_open(TextStates *s, Pipeline *p, int chunks);      /* 0, or -1 and err() */
void text_states_close(TextStates *s);

/* to (tokens,width), type act = the states of the padded ids. Uses the pipeline's tape. 0, or -1 and err(). */
int text_states_get(void *to, TextStates *s, const int32_t *ids);
#endif
