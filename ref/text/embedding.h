/* embedding.h - a file of textual inversion (Gal et al. 2022): the vectors that one word stands for, in place of rows of the text encoder's table.
 *
 *   the web UI    string_to_param.* (n,c), beside name, step, sd_checkpoint_name; Gal's own, where a ParameterDict holds it, too
 *   kohya         emb_params (n,c)
 *   diffusers     WORD (c) or (n,c), the only tensor: learned_embeds.bin, learned_embeds.safetensors
 *   SDXL          clip_l (n,768) and clip_g (n,1280), of two text encoders: told, never used
 *
 * As safetensors or as torch.save writes them. What a file is called, and not what stands in it, is the word by which the web UI and ComfyUI know it. */
#ifndef TEXT_EMBEDDING_H
#define TEXT_EMBEDDING_H
#include "io/safetensors.h"

typedef enum { EMBEDDING_WEBUI, EMBEDDING_KOHYA, EMBEDDING_DIFFUSERS, EMBEDDING_SDXL } EmbeddingLayout;

typedef struct {
    EmbeddingLayout         layout;
    const SafetensorsEntry *vectors;                    /* (n,c), or (c) with n = 1; of SDXL's one of the two */
    int64_t                 n, c;
    const char             *word;                       /* what the file itself calls it: diffusers' key, the web UI's name; NULL: nothing */
} Embedding;

/* What an open file holds; pointers are into it. 0, or -1 and err(): it is none, or of several words. */
int embedding_find(Embedding *e, const Safetensors *file);

const char *embedding_layout_name(EmbeddingLayout layout);      /* "web UI", "kohya", "diffusers", "SDXL" */
const char *embedding_model_name(const Embedding *e);           /* what text encoders as wide as it are of, "Stable Diffusion 1.x", ...; NULL: none known */
#endif
