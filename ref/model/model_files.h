/* model_files.h - a checkpoint on disk as named tensors, whatever its layout, and the way back to disk.
 *
 * Read are: a diffusers folder, its parts plain, as .fp16., in shards with an index, as .bin; and a single file with the original names (ldm_names.h), as
 * safetensors, .ckpt, .pt or .bin. Tensors appear under today's diffusers names, a Safetensors a part, as if each part were a safetensors file:
 *
 *     ModelSource source = { .path = "model.ckpt" };
 *     ModelFiles *f = model_files_open(&source);
 *     const SafetensorsEntry *e = safetensors_find(f->part[MODEL_UNET], "conv_in.weight");
 *
 * Data stay in the mapped files and are valid until model_files_close. To change a model: copy a part's entries, point some at new data (and types), and give
 * model_files_write the copy. Models that are not Stable Diffusion 1.x or 2.x are refused by name. */
#ifndef MODEL_MODEL_FILES_H
#define MODEL_MODEL_FILES_H
#include "io/file.h"
#include "model/ldm_names.h"
#include "model/model_config.h"

/* Where a model comes from, as the command line says it. NULL: not given. */
typedef struct {
    const char *path;                                   /* a folder or a file */
    const char *vae, *text_encoder;                     /* these parts from elsewhere: a folder, of a part or of a model, or a file */
    const char *tokenizer;                              /* a folder with vocab.json and merges.txt */
    int         ema;                                    /* take the averaged copies of the U-Net (model_ema.) in a single file */
    int         v2, v_parameterization;                 /* what a single file does not say: SD 2.x; its U-Net predicts v */
    int         clip_skip;                              /* the layer whose text states it was trained on (model/clip.h); 0: the last */
} ModelSource;

typedef enum { MODEL_FOLDER, MODEL_FILE } ModelLayout;

typedef struct {
    const char        *path;
    ModelLayout        layout;
    const Safetensors *part[MODEL_PARTS];               /* under diffusers names; NULL: the part is not there */
    const Safetensors *rest;                            /* of a single file: what belongs to no part, under its own names */
    int                ema;                             /* how many of rest are averaged copies */
    ModelConfig        config;
    char               tokenizer[PATH_SIZE];            /* the folder of vocab.json and merges.txt; "": none in the model */
} ModelFiles;

const char *model_part_name(ModelPart part);            /* "text encoder", ... */

ModelFiles *model_files_open(const ModelSource *source);                        /* NULL and err() */
void        model_files_close(ModelFiles *f);           /* f may be NULL */

/* Is the part there? 0, or -1 and err(): what was looked for, and how to give it. */
int model_files_need(const ModelFiles *f, ModelPart part);

/* What is to be written. */
typedef struct {
    const Safetensors     *part[MODEL_PARTS];           /* NULL: not written */
    const Safetensors     *rest;                        /* a single file's further tensors; NULL: none */
    const ModelConfig     *config;
    const char            *tokenizer;                   /* a folder, copied into a diffusers folder; NULL or "": none */
    const SafetensorsPair *pair;                        /* metadata of a single file */
    int                    pairs;
} ModelContent;

/* Writes a diffusers folder, or a single safetensors file, floating-point tensors as `type` (T_COUNT: each as it is), then reads it back and compares every
 * tensor. A single file says in its metadata what shapes do not, where the model is not a built-in one; averaged copies (model_ema.) are left out: they would
 * not fit a changed model. 0, or -1 and err(). */
int model_files_write(const char *path, ModelLayout layout, Type type, const ModelContent *content);

/* The whole way: what source holds, in the other layout or the same. type as above. */
int model_files_convert(const char *path, ModelLayout layout, Type type, const ModelSource *source);
#endif
