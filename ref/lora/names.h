/* names.h - what the tensors of LoRA files are called: which module they belong to, and what of it they are.
 *
 *   kohya         lora_unet_PATH, lora_te_PATH, every dot of PATH made an underscore; .lora_down.weight, .lora_up.weight, .alpha, ...; LyCORIS: the same
 *   PEFT          unet.PATH, text_encoder.PATH, base_model.model.PATH or PATH alone;  .lora_A.weight, .lora_B.weight, .hada_w1_a, .lokr_w1, ...
 *   diffusers     the same;  .lora.down.weight, .lora_linear_layer.down.weight, and, before 2024, .processor.to_q_lora.down.weight
 *   cloneofsimo   unet:N:down, text_encoder:N:down, N a place and no name: lora/positional.h finds the PATH
 *
 * PATH is the module's in a diffusers checkpoint. A path of the text encoder is given with text_model. at its front, whether the file has it or not. */
#ifndef LORA_NAMES_H
#define LORA_NAMES_H
#include "nn/weights.h"

typedef enum { LORA_NONE, LORA_KOHYA, LORA_DIFFUSERS, LORA_PEFT, LORA_CLONEOFSIMO, LORA_LAYOUTS } LoraLayout;

/* The tensors that a module can have (lora/delta.h says what they mean). */
typedef enum {
    LORA_DOWN, LORA_UP, LORA_MID,                                                                        /* LoRA, LoCon; mid: Tucker's core */
    LORA_HADA_W1A, LORA_HADA_W1B, LORA_HADA_W2A, LORA_HADA_W2B, LORA_HADA_T1, LORA_HADA_T2,              /* LoHa */
    LORA_LOKR_W1, LORA_LOKR_W1A, LORA_LOKR_W1B, LORA_LOKR_W2, LORA_LOKR_W2A, LORA_LOKR_W2B, LORA_LOKR_T2, /* LoKr */
    LORA_ALPHA, LORA_MAGNITUDE,                                                                          /* of any; magnitude: DoRA's */
    LORA_ROLES
} LoraRole;

typedef struct {
    LoraLayout layout;
    LoraRole   role;
    int        is_unet, place;                          /* place: cloneofsimo's N, else -1 */
    size_t     stem;                                    /* bytes of the tensor's name before the ending */
    Name       path;                                    /* "down_blocks.0.attentions.0.proj_in"; "" where there is a place */
} LoraName;

/* 1: *out says what the tensor is; 0: no name of any layout. */
int lora_name_parse(LoraName *out, const char *tensor);

/* The name of a module's tensor. Diffusers' is PEFT's with unet. or text_encoder. before it, as diffusers writes now. */
Name lora_name(LoraLayout layout, int is_unet, const char *path, LoraRole role);
Name lora_key(int is_unet, const char *path);           /* kohya's name of a module: "lora_unet_down_blocks_0_attentions_0_proj_in" */

const char *lora_layout_name(LoraLayout layout);        /* "kohya", ... */
const char *lora_role_ending(LoraLayout layout, LoraRole role);         /* ".lora_down.weight" */

/* What a tensor of that name belongs to that is no LoRA known here, in words: "OFT", "a LoRA for SDXL", ...; NULL: nothing is known about it. */
const char *lora_foreign(const char *tensor);
#endif
