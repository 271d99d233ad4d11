/* step.h - the heart of training: one batch forward, its loss, and back to the gradients of the adapters. */
#ifndef TRAIN_STEP_H
#define TRAIN_STEP_H
#include "lora/lora.h"

/* A batch in host memory, images (n,h,w,c). */
typedef struct {
    int            n, h, w, c, tokens;
    const int32_t *ids;                                 /* (n,tokens) */
    const void    *text;                                /* (n,tokens,width), type act: the text's states, where the text encoder is frozen; or NULL */
    const double  *x, *target;                          /* noisy latents; what the model should say of them */
    const double  *sines;                               /* (n,channels[0]): unet_time */
    const double  *weight;                              /* (n): of each image's loss */
} StepBatch;

/* Adds to the gradients of lora's block the gradient of share * sum over n of loss[n], loss[n] = weight[n] * mean |model(x) - target|^2, and downloads it.
 * mode: TAPE_TRAIN or TAPE_CHECKPOINT, the same bits. 0, or -1 and err(). */
int step_pass(Tape *t, const Checkpoint *model, const Lora *lora, const StepBatch *b, TapeMode mode, double share, double *loss);

/* Bytes that training steps like b will touch, found by replaying one without computing: exact, for the replay makes the same allocations. */
typedef struct {
    size_t weights, trainable, activations, gradients;
} StepMemory;
size_t step_memory_total(const StepMemory *m);

/* model: a folder; like: the set that will run. 0, or -1 and err(). */
int step_memory(StepMemory *m, const char *model, const Set *like, const LoraRules *rules, int n, int h, int w, int tokens, TapeMode mode);
#endif
