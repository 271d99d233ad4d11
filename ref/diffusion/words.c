#include "diffusion/words.h"
#include "base/err.h"
#include "lora/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 0: learned; 1: the word has a meaning already; -1 and err(). */
static int learn(Pipeline *p, const char *path, const Safetensors *file, const SafetensorsEntry *e, const char *word)
{
    int     width = p->model.clip.config.width, most = p->tokenizer.length - 2;
    int64_t n = e->rank == 2 ? e->shape[0] : 1, c = e->shape[e->rank - 1];
    if (c != width) return err("%s: %s: expected vectors of the text encoder's width, %d, found %lld", path, word, width, (long long)c);
    if (n < 1 || n > most) return err("%s: %s: expected 1..%d vectors, the places of a prompt, found %lld", path, word, most, (long long)n);
    double *vectors = malloc(e->count * sizeof *vectors);
    if (!vectors) return err("%s: %s: out of memory for %lld vectors", path, word, (long long)n);
    int id = safetensors_read(file, e, T_F64, vectors) ? -1 : clip_learn(&p->model.clip, vectors, (int)n);
    free(vectors);
    return id < 0 ? -1 : tokenizer_learn(&p->tokenizer, word, id, (int)n);
}

int words_learn(char *said, size_t size, Pipeline *p, const char *path, int unmatched)
{
    LoraFile f;
    int      status = 0;
    *said = 0;
    if (lora_file_open(&f, path)) return -1;
    for (int i = 0; i < f.tokens && !status; i++) {
        Name   word = lora_token_name(f.token[i]);
        size_t used = strlen(said);
        status = learn(p, path, f.tensors[0], f.token[i], word.s);
        if (status == 0) snprintf(said + used, size - used, "%s%s", used ? ", " : "", word.s);
        else if (status > 0) status = unmatched ? 0 : err("%s: %s: this word has a meaning already; --allow_unmatched lets it keep that", path, word.s);
    }
    lora_file_close(&f);
    return status;
}
