/* lora.h - low-rank adapters on a Stable Diffusion model (Hu et al. 2021; conventions and names: kohya's).
 *
 * Each chosen module W (o,i) of the model gets A (r,i), "down", and B (o,r), "up": W + alpha/r B A. A starts uniform in +-1/sqrt(i k k) (He et al. 2015 with
 * a = sqrt 5), B at 0, so that training starts from the model itself.
 *
 *   by default   every linear and 1x1 convolution inside the U-Net's transformers; q, k, v, out, fc1, fc2 of the text encoder
 *   conv_dim     also the residual blocks' and samplers' 3x3 convolutions, at this rank, and the residual blocks' other layers, at the linear rank (LoCon)
 *
 * A module's key in a file is lora_unet_ or lora_te_ and its path with every dot made an underscore. */
#ifndef LORA_LORA_H
#define LORA_LORA_H
#include "lora/file.h"
#include "model/checkpoint.h"
#include "nn/param.h"

typedef struct {
    int    dim, conv_dim;                               /* ranks; conv_dim 0: the convolutions stay as they are */
    double alpha, conv_alpha;
    int    unet, text;                                  /* which halves of the model */
} LoraRules;

typedef struct {
    char   *key;                                        /* "lora_unet_mid_block_attentions_0_proj_in" */
    Layer  *layer;
    int     part, is_unet;
    Adapter adapter;
} LoraModule;

typedef struct {
    LoraModule *module;
    int         modules;
    Params      params;
    int         text_group, unet_group;                 /* learning-rate groups; -1: no such modules. Behind text_group, where clip skip leaves out layers,
                                                         * comes the group of their modules, at rate 0: no gradient reaches them, and kohya's AdamW, too,
                                                         * leaves them as they began. They are in the file, as in kohya's */
} Lora;

/* Puts adapters on the model's layers, all 0. They stay until lora_detach, which must come before checkpoint_close. 0, or -1 and err(), and then there is
 * nothing to detach. */
int  lora_attach(Lora *lora, Checkpoint *model, const LoraRules *rules);
void lora_detach(Lora *lora);
int  lora_init(Lora *lora, uint64_t seed);              /* A random, B as it is: 0. 0, or -1 and err() */

/* Takes the numbers from a LoRA file of any layout (lora/file.h); ranks, alphas and modules must be the same. On -1 and err() nothing has changed. */
int lora_load(Lora *lora, const char *path);

/* Writes a file in kohya's layout with these metadata, sshs_model_hash and sshs_legacy_hash. The target is replaced whole or not at all. */
int lora_save(const Lora *lora, const char *path, Type precision, const SafetensorsPair *pair, int pairs);

/* Puts files on a model that is not trained. What a file has of low rank, LoRA and LoCon, stays beside a weight that lies in memory narrower than act, as
 * adapters do in training: to merge it would be to widen the weight. That is worth it where it is at most a quarter of the weight's own work, the files' ranks
 * together. All else is merged as lora_merge does, the files one after the other. lora_detach takes the adapters away, not what was merged. */
int lora_put(Lora *lora, Checkpoint *model, const LoraTerm *term, int terms, int unmatched);

/* The model's weights += weight * what the file's modules add to them (lora/delta.h), of any kind, rank and alpha; each is rounded once. Several files add
 * up, one after the other: DoRA takes the weights as it finds them. A tensor of the file without a place in the model is refused, before anything is
 * changed, unless `unmatched` are allowed; one of another shape always is. A changed weight is of type act from then on, however narrow the file has it. */
int lora_merge(Checkpoint *model, const char *path, double weight, int unmatched);
#endif
