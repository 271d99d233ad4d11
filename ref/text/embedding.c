#include "text/embedding.h"
#include "base/err.h"
#include <string.h>

static const char *const layout_names[] = { "web UI", "kohya", "diffusers", "SDXL" };
const char *embedding_layout_name(EmbeddingLayout layout) { return layout_names[layout]; }

const char *embedding_model_name(const Embedding *e)
{
    if (e->layout == EMBEDDING_SDXL) return "SDXL";
    return e->c == 768 ? "Stable Diffusion 1.x" : e->c == 1024 ? "Stable Diffusion 2.x" : e->c == 1280 ? "SDXL" : NULL;
}

/* 0: the tensor is no table of vectors. */
static int set_vectors(Embedding *e, const SafetensorsEntry *t)
{
    int is_real = t->type == T_F64 || t->type == T_F32 || t->type == T_F16 || t->type == T_BF16;
    if (!is_real || t->rank < 1 || t->rank > 2) return 0;
    e->vectors = t, e->n = t->rank == 2 ? t->shape[0] : 1, e->c = t->shape[t->rank - 1];
    return 1;
}

/* Names of tensors of a module have dots; of words only those do that stand out otherwise. */
static int is_word(const char *name) { return *name == '<' || (*name && !strchr(name, '.')); }

int embedding_find(Embedding *e, const Safetensors *file)
{
    static const char       param[] = "string_to_param.";
    const SafetensorsEntry *first = NULL, *kohya = safetensors_find(file, "emb_params"), *sdxl = safetensors_find(file, "clip_g");
    int                     words = 0;
    for (int i = 0; i < file->count; i++)
        if (strncmp(file->entry[i].name, param, strlen(param)) == 0 && words++ == 0) first = &file->entry[i];
    if (words > 1) return err("%s: an embedding of one word was expected, this one has %d", file->path, words);
    *e = (Embedding){ .layout = words ? EMBEDDING_WEBUI : sdxl ? EMBEDDING_SDXL : kohya ? EMBEDDING_KOHYA : EMBEDDING_DIFFUSERS };
    if (e->layout == EMBEDDING_WEBUI) e->word = safetensors_meta(file, "name");
    else if (e->layout != EMBEDDING_DIFFUSERS) first = sdxl ? sdxl : kohya;
    else if (file->count == 1 && is_word(file->entry[0].name)) first = &file->entry[0], e->word = first->name;
    if (first && set_vectors(e, first)) return 0;
    if (first) return err("%s: %s: vectors (n,c) of floating-point numbers were expected", file->path, first->name);
    return err("%s: an embedding was expected: string_to_param, emb_params, or a word as the only tensor; found %d tensors%s%s", file->path, file->count,
               file->count ? ", the first " : "", file->count ? file->entry[0].name : "");
}
