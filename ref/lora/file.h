/* file.h - a LoRA file of any layout, taken apart into modules; nothing of a model is needed for that.
 *
 * A path is a safetensors file or one of torch.save's (.bin, .pt), or a folder of PEFT: adapter_config.json and adapter_model.safetensors or .bin, in it or in
 * its folders unet and text_encoder. cloneofsimo's .pt is a list, up and down by turns, of one half of the model: NAME.text_encoder.pt or NAME.pt.
 * What a module adds to a weight stands in lora/delta.h. Its strength:
 *
 *     alpha   the tensor; without one what PEFT's configuration notes for the module, in adapter_config.json or as diffusers flattens it into the metadata
 *             (lora_adapter_metadata); else, and where it is 0, the rank
 *     scale   alpha / rank, with PEFT's rslora alpha / sqrt(rank); of a LoKr of whole matrices 1, in PEFT's layout what the noted rank gives
 *
 * Tensors that belong to no module are counted, not refused: the caller knows whether that is wrong (lora_file_check). */
#ifndef LORA_FILE_H
#define LORA_FILE_H
#include "io/tensor_file.h"
#include "lora/module.h"

typedef struct {
    char                    *path;
    const Safetensors       *tensors[2];                /* the files'; of `file`, or borrowed where lora_file_of made this */
    TensorFile               file[2];
    int                      files;
    LoraLayout               layout;                    /* LORA_NONE: no module was found */
    LoraFileModule          *module;                    /* in the order of the file */
    int                      modules;
    int                      others;                    /* tensors of no module, learned tokens aside */
    const SafetensorsEntry  *other;                     /* the first of them */
    const SafetensorsEntry **token;                     /* learned tokens: vectors (c) or (n,c) */
    int                      tokens;
} LoraFile;

/* A file in a sum of several, and how much of it. */
typedef struct {
    const char *path;
    double      ratio;
} LoraTerm;

/* 0, or -1 and err(): the file, a module without its other half, shapes that do not fit each other; nothing is left to close. */
int  lora_file_open(LoraFile *f, const char *path);
int  lora_file_of(LoraFile *f, const Safetensors *tensors);  /* the same of an open file, which stays the caller's */
void lora_file_close(LoraFile *f);

/* Refuses a file without modules, saying what it is if that is known, and, unless unmatched tensors are allowed, one with tensors that no module has. */
int lora_file_check(const LoraFile *f, int unmatched);

const LoraFileModule *lora_file_find(const LoraFile *f, int is_unet, const char *path);         /* NULL: not there */

/* A learned token without what its layout puts around it: "<s1>". */
Name lora_token_name(const SafetensorsEntry *token);

/* Of the file's metadata, NULL: not there. */
const char *lora_file_meta(const LoraFile *f, const char *key);
#endif
