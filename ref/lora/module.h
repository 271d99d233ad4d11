/* module.h - one module of a LoRA file: its tensors, checked against each other, and what they say about its shape.
 *
 *   plain   down (r,i,k,k)  up (o,r)                    LoRA, LoCon; with a core mid (p,q,k,k): down (q,i), up (o,p)
 *   LoHa    w1_a (o,r)  w1_b (r,i k k)  w2_a  w2_b      with cores t1, t2 (r,r,k,k): w1_a (r,o), w1_b (r,i), and so w2
 *   LoKr    w1 (a,b)  w2 (c,d,k,k), o = a c, i = b d    either as factors: w1_a (a,r) w1_b (r,b), w2_a (c,r) w2_b (r,d k k); with a core t2 (r,r,k,k):
 *                                                       w2_a (r,c), w2_b (r,d)
 *
 * Trailing ones of a shape may be there or not. */
#ifndef LORA_MODULE_H
#define LORA_MODULE_H
#include "io/safetensors.h"
#include "lora/names.h"

typedef enum { LORA_PLAIN, LORA_LOHA, LORA_LOKR } LoraKind;
typedef enum { MAGNITUDE_NONE, MAGNITUDE_OUT, MAGNITUDE_IN } LoraMagnitude;

typedef struct {
    char                   *key;                        /* the tensors' name in the file without its ending */
    LoraLayout              layout;
    LoraKind                kind;
    int                     is_unet, place;             /* place: cloneofsimo's N until the path is found, else -1 */
    Name                    path;                       /* of the module in a diffusers checkpoint; "" while it has only a place */
    const SafetensorsEntry *part[LORA_ROLES];           /* NULL: not there */
    int                     rank;                       /* 0: a LoKr of two whole matrices has none */
    int                     o, columns;                 /* it adds to a weight (o,i,k,k), columns = i k k */
    int                     kernel;                     /* k; 0: the file does not tell it from i */
    LoraMagnitude           magnitude;                  /* DoRA: a norm for each output, or for each input */
    double                  alpha, scale;               /* lora/file.h */
} LoraFileModule;

/* Sets kind, rank, o, columns, kernel, magnitude from the parts. 0, or -1 and err(): a part is missing, shapes do not fit each other. */
int lora_module_check(LoraFileModule *m, const char *path);

/* The words a user has for it: "LoRA", "LoCon", "LoCon, Tucker", "LoHa", "LoKr", each with ", DoRA" where it has magnitudes. */
Name lora_kind_name(const LoraFileModule *m);
#endif
