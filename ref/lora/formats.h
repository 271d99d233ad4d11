/* formats.h - LoRA files as others write them, read by module.
 *
 *   kohya      lora_unet_PATH, lora_te_PATH, every dot of PATH made an underscore;  .lora_down.weight  .lora_up.weight  .alpha
 *   PEFT       unet.PATH, text_encoder.PATH;                                        .lora_A.weight     .lora_B.weight
 *   diffusers  unet.PATH, text_encoder.PATH;       .lora.down.weight, .lora_linear_layer.down.weight and the same with up
 *
 * PATH is the module's in a diffusers checkpoint; that of a text encoder may lack text_model. at its front. Without an alpha it is what diffusers notes for
 * that half of the model in the metadata (lora_adapter_metadata), else the rank: scale 1. */
#ifndef LORA_FORMATS_H
#define LORA_FORMATS_H
#include "io/safetensors.h"
#include "nn/weights.h"

typedef enum { LORA_KOHYA, LORA_PEFT, LORA_DIFFUSERS } LoraLayout;

/* The layout of the file, by its first tensor: 0, or -1 and err(): not a LoRA that is known here. */
int         lora_layout(LoraLayout *layout, const Safetensors *file);
const char *lora_layout_name(LoraLayout layout);

/* Does the tensor of that name belong to the module? */
int lora_owns(LoraLayout layout, const char *tensor, const char *path, int is_unet);

/* A module of a file, in the contract's order: down (r,k,k,i), up (o,r). */
typedef struct {
    int     rank;
    double  alpha;
    double *down, *up;
} LoraFileModule;

/* 1: read, the caller frees it; 0: the file has nothing of this module; -1 and err(): half of it, or of another shape. */
int  lora_read(LoraFileModule *m, const Safetensors *file, LoraLayout layout, const Layer *layer, int part, int is_unet);
void lora_read_free(LoraFileModule *m);
#endif
