/* step.h - the heart of training: one batch forward, its loss, and back to the gradients of the adapters. */
#ifndef TRAIN_STEP_H
#define TRAIN_STEP_H
#include "lora/lora.h"

/* A batch in host memory, images (n,h,w,c). */
typedef struct {
    int            n, h, w, c, tokens, chunks;          /* a caption is so many chunks of so many tokens, and of chunk_tokens states (nn_chunks) */
    const int32_t *ids;                                 /* (n chunks,tokens) */
    const void    *text;                                /* (n,chunk_tokens,width), type act: the text's states, where the text encoder is frozen; or NULL */
    const double  *x, *target;                          /* noisy latents; what the model should say of them */
    const double  *sines;                               /* (n,channels[0]): unet_time */
    const double  *weight;                              /* (n): of each image's loss */
} StepBatch;

/* Adds to the gradients of lora's block the gradient of share * sum over n of loss[n], loss[n] = weight[n] * mean |model(x) - target|^2, and downloads it.
 * mode: TAPE_TRAIN, TAPE_CHECKPOINT_FF or TAPE_CHECKPOINT, the same bits. 0, or -1 and err(). */
int step_pass(Tape *t, const Checkpoint *model, const Lora *lora, const StepBatch *b, TapeMode mode, double share, double *loss);

/* What training takes, found by replaying it on a set that only counts: the same allocations are made, so the bytes are exact. */
typedef struct {
    size_t weights, trainable;                          /* frozen numbers; parameters, moments, gradients and the copy of parameters that the ops read */
    size_t activations, scratch;                        /* the arena's bottom at its highest: these two together */
    size_t gradients;                                   /* the arena's top at its highest */
    size_t before;                                      /* the arena's bottom while pictures, and captions of a frozen text encoder, are encoded */
    size_t blocks;                                      /* what the weights take of a set whose memory costs as soon as it is taken */
    double forward, backward, update;                   /* FLOPs: of a batch up to its loss, of the way back, blocks that run again included; of an update */
} StepCost;
size_t step_arena(const StepCost *cost);                /* bytes of the tape's memory: the bottom at its highest and the top at its highest */
size_t step_memory(const StepCost *cost);               /* bytes of the set's memory that a run touches, all in all */

/* *cost = what training on n latents of h x w takes on the set `like`. Of the model, a folder, file or built-in, only shapes are read. 0, or -1 and err(). */
int step_cost(StepCost *cost, const ModelSource *source, const Set *like, const LoraRules *rules, int n, int h, int w, int tokens, int chunks,
              TapeMode mode);
#endif
