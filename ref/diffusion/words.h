/* words.h - words that a LoRA file brings with it (textual inversion; Gal et al. 2022): in a prompt each stands for the vectors that were learned for it, in
 * place of rows of the text encoder's table. A word of n vectors takes n places of a chunk of 75. The LoRA's
 * weight does not scale it: a vector says what, not how much. */
#ifndef DIFFUSION_WORDS_H
#define DIFFUSION_WORDS_H
#include "diffusion/pipeline.h"

/* Teaches the pipeline the file's words; `said` lists them, "" where there are none. A word that another file has brought, or that is one of the tokenizer's
 * special texts, is refused, or with `unmatched` passed over: it keeps its meaning. 0, or -1 and err(): file, word, what was expected. */
int words_learn(char *said, size_t size, Pipeline *p, const char *path, int unmatched);
#endif
