/* info.h - what a LoRA file holds, without the model that it is for: its modules, and how strongly each of them acts.
 *
 * The norms are of what a module adds to the model's weight (lora/delta.h), DoRA's magnitudes aside: Frobenius' and the largest singular value.
 * Of a LoRA s B A they are exact for any r, though B A itself is never made: |s B A|_F^2 = s^2 tr(B^T B A A^T), a sum over two (r,r) matrices, and the
 * largest singular value is the root of the largest eigenvalue of their product. Of a LoHa or LoKr the whole of it is made. */
#ifndef LORA_INFO_H
#define LORA_INFO_H
#include "lora/file.h"

typedef enum { KIND_TEXT, KIND_ATTENTION, KIND_FEED_FORWARD, KIND_CONV, KIND_OTHER, KINDS } ModuleKind;

typedef struct {
    const LoraFileModule *file;                         /* key, rank, scale, ... */
    ModuleKind            kind;
    size_t                params;                       /* numbers in its tensors, alpha aside */
    size_t                bad;                          /* of them, how many are infinite or not a number; the norms are NAN then */
    int                   dead;                         /* it adds nothing */
    double                norm, largest;
} InfoModule;

typedef struct {
    LoraFile    file;
    InfoModule *module;                                 /* file.modules of them */
} LoraInfo;

/* Reads all of the file's modules. One that is in no known layout is not an error: there are no modules. 0, or -1 and err(): a module without its other
 * half, shapes that do not fit, no memory; nothing is left to close. The info is valid while the file is open. */
int  lora_info_open(LoraInfo *info, const Safetensors *file);
int  lora_info_path(LoraInfo *info, const char *path);  /* the same of a path, which may be a folder of PEFT */
void lora_info_close(LoraInfo *info);

const char *info_kind_name(ModuleKind kind);            /* "text encoder", "attention", ... */
#endif
