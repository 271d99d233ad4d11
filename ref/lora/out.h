/* out.h - a LoRA on its way into a file: modules with their tensors, metadata, and the layout that they are written in.
 *
 *   kohya         one file; an alpha a module, in the type of its matrices where that holds it, else f32, else f64; LoHa, LoKr and DoRA as LyCORIS names them
 *   diffusers     one file, unet.PATH.lora_A.weight; alphas other than the rank in the metadata, lora_adapter_metadata
 *   PEFT          a folder with the folders unet and text_encoder, each adapter_config.json and adapter_model.safetensors
 *   cloneofsimo   one file; only of modules that make whole blocks, with scale 1
 *
 * What the layout cannot hold is refused by the module's name. What has been written is read back and compared. */
#ifndef LORA_OUT_H
#define LORA_OUT_H
#include "lora/delta.h"
#include "lora/file.h"

typedef struct {
    int              is_unet, rank, conv;
    Name             path;
    LoraKind         kind;
    LoraMagnitude    magnitude;
    double           scale;
    SafetensorsEntry part[LORA_ROLES];                  /* data NULL: not there; no names; data are owned */
} LoraOutModule;

typedef struct {
    char *key, *value;
} LoraOutPair;

typedef struct {
    LoraOutModule    *module;
    int               modules, room;
    SafetensorsEntry *token;                            /* learned tokens; names and data are owned */
    int               tokens;
    LoraOutPair      *pair;
    int               pairs;
} LoraOut;

/* A module of a file, its tensors in their own type, or, keep 0, rounded to `type`. 0, or -1 and err(). */
int lora_out_copy(LoraOut *out, const LoraFileModule *m, int keep, Type type, const char *path);

/* A LoRA's matrices; conv: of a convolution, with this kernel. alpha = f->scale * f->rank. 0, or -1 and err(). */
int lora_out_factors(LoraOut *out, int is_unet, const char *path, const LoraFactors *f, int conv, int kernel, Type type);

int lora_out_tokens(LoraOut *out, const LoraFile *f, int keep, Type type);              /* its learned words; one that is there already is refused */

/* Metadata: all of a file but its hashes and what a layout adds; one of our own (value NULL: none). 0, or -1 and err(). */
int lora_out_meta_of(LoraOut *out, const LoraFile *f);
int lora_out_meta(LoraOut *out, const char *key, const char *value);

/* ss_network_dim and ss_network_alpha, "Dynamic" where modules differ, and ss_network_module. */
int lora_out_network(LoraOut *out);

int  lora_out_save(const LoraOut *out, const char *path, LoraLayout layout);            /* 0, or -1 and err() */
void lora_out_close(LoraOut *out);
#endif
