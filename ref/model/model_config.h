/* model_config.h - what a Stable Diffusion model is, without its numbers: the sizes of its three nets and its noise schedule.
 *
 * A diffusers folder tells it in JSON files. A single file of weights does not: the models that people have in such files are built in, under the names
 *
 *     sd15        Stable Diffusion 1.1 to 1.5: noise, 512
 *     sd20-base   2.0-base: OpenCLIP's text encoder, linear projections, heads of 64 channels; noise, 512      sd21-base   2.1-base: the same
 *     sd20        2.0: as sd20-base, but v (Salimans & Ho 2022), 768                                           sd21        2.1: the same
 */
#ifndef MODEL_MODEL_CONFIG_H
#define MODEL_MODEL_CONFIG_H
#include "model/clip.h"
#include "model/unet.h"
#include "model/vae.h"

/* scheduler/scheduler_config.json, as numbers for diffusion/schedule.h. */
typedef struct {
    double beta_start, beta_end;
    int    scaled_linear, timesteps, v_prediction, steps_offset;
} SchedulerConfig;

typedef struct {
    ClipConfig      clip;
    UnetConfig      unet;
    VaeConfig       vae;
    SchedulerConfig scheduler;
    int             native_w, native_h;                 /* pixels: what it was trained at */
    int             pad;                                /* the token that fills a prompt up; -1: the tokenizer's own files say it */
} ModelConfig;

/* The files that say it all, in the order of their names in a diffusers folder. */
typedef enum { CONFIG_INDEX, CONFIG_SCHEDULER, CONFIG_TEXT, CONFIG_UNET, CONFIG_VAE, CONFIGS } ConfigFile;
extern const char *const config_files[CONFIGS];         /* "model_index.json", "scheduler/scheduler_config.json", ... */

const ModelConfig *model_config_named(const char *name);                        /* NULL: no such name, no err() */
const char        *model_config_name(const ModelConfig *config);                /* of a built-in model; NULL: it is none */

/* From the files of a folder; from their texts (path: for messages). 0, or -1 and err(): file, key, what was expected. */
int model_config_read(ModelConfig *config, const char *folder);
int model_config_parse(ModelConfig *config, const char *const text[CONFIGS], const char *path);

/* The text of a file, as diffusers and transformers write it; malloc'd. NULL and err(): no memory. */
char *model_config_text(const ModelConfig *config, ConfigFile file);

/* Do the nets fit one another? 0, or -1 and err(), which begins with `where`. */
int model_config_check(const ModelConfig *config, const char *where);
#endif
