/* checkpoint.h - a Stable Diffusion model from disk: a diffusers folder with its parts, every constant from its configuration files. */
#ifndef MODEL_CHECKPOINT_H
#define MODEL_CHECKPOINT_H
#include "model/clip.h"
#include "model/unet.h"
#include "model/vae.h"

/* scheduler/scheduler_config.json, as numbers for diffusion/schedule.h. */
typedef struct {
    double beta_start, beta_end;
    int    scaled_linear, timesteps, v_prediction, steps_offset;
} SchedulerConfig;

typedef struct {
    Clip            clip;
    Unet            unet;
    Vae             vae;
    SchedulerConfig scheduler;
    int             native_w, native_h;                 /* pixels: what it was trained at */
    char            tokenizer[4096];                    /* the folder of vocab.json and merges.txt */
} Checkpoint;

/* Loads the folder onto the set. 0, or -1 and err(): file, key, what was expected; nothing is left to close. */
int  checkpoint_open(Checkpoint *m, const char *path, Set *set);

/* The same model without its numbers, from the configuration files alone: for planning. */
int  checkpoint_describe(Checkpoint *m, const char *path, Set *set);
void checkpoint_close(Checkpoint *m);

/* Sides of pictures must be multiples of this: the VAE's factor times the U-Net's. */
int checkpoint_step(const Checkpoint *m);
#endif
