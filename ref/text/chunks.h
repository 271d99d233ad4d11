/* chunks.h - prompts of any length as token ids, in chunks of as many as a text encoder sees at once: 77, with BOS and EOS.
 *
 * Chunks are filled as the web UI fills them. One that is full ends behind its last comma where that is among its last 20 tokens, and what follows the comma
 * begins the next; a learned word of several vectors is not cut apart; a BREAK ends a chunk. The last is padded; there is always one. So a prompt without
 * marks that is short enough is one chunk, of just the ids that tokenizer_pad gives. */
#ifndef TEXT_CHUNKS_H
#define TEXT_CHUNKS_H
#include "text/emphasis.h"
#include "text/tokenizer.h"

/* Opened as { 0 }. Prompts lie one after the other. */
typedef struct {
    int      count, room, length;                       /* chunks; how many there is room for; ids of each */
    int32_t *ids;                                       /* (count,length) */
    double  *weight;                                    /* (count,length): 1 of BOS, EOS and padding */
} Chunks;

/* Adds a prompt: how many chunks it takes, or -1 and err(): what emphasis_read refuses, no memory. */
int  chunks_add(Chunks *chunks, const Tokenizer *tok, const char *prompt, Emphasis emphasis);
void chunks_close(Chunks *chunks);
#endif
