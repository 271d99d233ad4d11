/* embeddings.h - words of textual inversion that prompts may use, each offered by a file (text/embedding.h), which is read once a prompt has the word.
 *
 * The word is the file's name without its ending, as in the web UI and ComfyUI: EasyNegative of EasyNegative.safetensors; `embedding:EasyNegative` is the same.
 * Of a file that is given by its own path, and of any learned_embeds.bin or .safetensors, it is also what diffusers' layout calls it inside: <cat-toy>.
 * Where a prompt has it tokenizer_learn_ids says. A word of n vectors takes n places of a chunk of 75.
 * A word that several files offer is the first one's: in the order in which paths were given, in a folder in the order of names' bytes. */
#ifndef DIFFUSION_EMBEDDINGS_H
#define DIFFUSION_EMBEDDINGS_H
#include "diffusion/pipeline.h"
#include "diffusion/sample_config.h"
#include "io/hash.h"

typedef struct {
    char *word, *path;
    int   id, n;                                        /* its vectors are ids [id, id + n); n 0: no prompt has it */
    char  hash[HASH_SIZE];                              /* of the whole file */
} OfferedWord;

/* Opened as { 0 }. */
typedef struct {
    OfferedWord *word;
    int          count, room;
} Embeddings;

/* What a path offers: a file; a folder with all its .pt, .bin and .safetensors files, also in folders in it, but not those that begin with a dot.
 * 0, or -1 and err(): the file is no embedding, the folder has none. */
int  embeddings_offer(Embeddings *e, const char *path);
void embeddings_close(Embeddings *e);

/* Teaches the pipeline those words that the prompts have. 0, or -1 and err(): a file that does not fit this model; `embedding:NAME` without such a file. */
int embeddings_learn(Embeddings *e, Pipeline *p, const PromptLines *prompts);

/* What the web UI writes into a picture of the words that it was made with, malloc'd: `, TI hashes: "EasyNegative: c74b4e810b03"`, those of the prompt first,
 * or "". Of a file's SHA-256 the first 12 digits. NULL and err(). */
char *embeddings_hashes(const Embeddings *e, const Tokenizer *tok, const PromptLine *line);
#endif
