/* info.h - what a LoRA file holds, without the model that it is for: its layout, its modules, and how strongly each of them acts.
 *
 * A module is a pair down A (r,i,k,k) or (r,i), up B (o,r), and an alpha, of any of the layouts below. What it adds to the model's weight is s B A with
 * s = alpha / r; the norms are of that, exact for any r, though B A itself is never made:
 *     |s B A|_F^2 = s^2 tr(B^T B A A^T), a sum over two (r,r) matrices;  the largest singular value is the root of the largest eigenvalue of their product. */
#ifndef LORA_INFO_H
#define LORA_INFO_H
#include "io/safetensors.h"

typedef enum { LAYOUT_NONE, LAYOUT_KOHYA, LAYOUT_DIFFUSERS, LAYOUT_PEFT, LAYOUT_CLONEOFSIMO, LAYOUTS } InfoLayout;
typedef enum { KIND_TEXT, KIND_ATTENTION, KIND_FEED_FORWARD, KIND_CONV, KIND_OTHER, KINDS } ModuleKind;

typedef struct {
    char                   *key;                        /* the tensors' name without its ending */
    ModuleKind              kind;
    const SafetensorsEntry *down, *up, *alpha;          /* alpha NULL: it is the rank, the scale is 1 */
    int                     rank;
    double                  scale;                      /* alpha / rank */
    size_t                  params;                     /* numbers in down and up */
    size_t                  bad;                        /* of them, how many are infinite or not a number; the norms are NAN then */
    int                     dead;                       /* up is all 0: the module does nothing */
    double                  norm, largest;              /* Frobenius norm, largest singular value of s B A */
} InfoModule;

typedef struct {
    InfoLayout  layout;
    InfoModule *module;                                 /* in the order of their keys' bytes */
    int         modules, others;                        /* others: tensors that belong to none */
    const SafetensorsEntry *other;                      /* the first of them */
} LoraInfo;

/* Reads all of the file's modules. One that is in no known layout is not an error: layout is LAYOUT_NONE and there are no modules. 0, or -1 and err(): a
 * module without its other half, shapes that do not fit, no memory; nothing is left to close. The info is valid while the file is open. */
int  lora_info_open(LoraInfo *info, const Safetensors *file);
void lora_info_close(LoraInfo *info);

const char *info_layout_name(InfoLayout layout);             /* "kohya", "diffusers", ... */
const char *info_kind_name(ModuleKind kind);                 /* "text encoder", "attention", ... */
#endif
