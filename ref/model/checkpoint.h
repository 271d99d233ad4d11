/* checkpoint.h - a Stable Diffusion model from disk, in any layout that model_files.h reads, ready to compute. */
#ifndef MODEL_CHECKPOINT_H
#define MODEL_CHECKPOINT_H
#include "model/model_files.h"

typedef struct {
    Clip            clip;
    Unet            unet;
    Vae             vae;
    SchedulerConfig scheduler;
    int             native_w, native_h;                 /* pixels: what it was trained at */
    int             pad;                                /* the token that fills a prompt up; -1: the tokenizer's own files say it */
    char            tokenizer[PATH_SIZE];               /* the folder of vocab.json and merges.txt; "": none */
} Checkpoint;

/* Loads the model onto the set. 0, or -1 and err(): file, key, what was expected; nothing is left to close. */
int checkpoint_open(Checkpoint *m, const char *path, Set *set);
int checkpoint_open_source(Checkpoint *m, const ModelSource *source, Set *set);

/* The same model without its numbers, from its configuration and, where they are there, the heads of the files of weights (nn/weights.h: types), for
 * planning; path may be the name of a built-in model (model_config.h), which needs no file at all and has its weights in f16. */
int  checkpoint_describe(Checkpoint *m, const char *path, Set *set);
int  checkpoint_describe_source(Checkpoint *m, const ModelSource *source, Set *set);
int  checkpoint_describe_config(Checkpoint *m, const ModelConfig *config, Set *set);
void checkpoint_close(Checkpoint *m);

/* Sides of pictures must be multiples of this: the VAE's factor times the U-Net's. */
int checkpoint_step(const Checkpoint *m);
#endif
