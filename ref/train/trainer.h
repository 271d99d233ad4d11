/* trainer.h - one training run in memory: model, adapters, pictures and the plan of steps; and the step itself.
 *
 * A step takes gradient_accumulation_steps batches (fewer at an epoch's end), each
 *     x_t = sqrt(ac_t) x_0 + sqrt(1 - ac_t) e,   loss = mean over the batch of w_t |model(x_t, t, caption) - target|^2      (Ho et al. 2020)
 * adds up their gradients with respect to the adapters, and updates those once. Everything random is a function of (seed, epoch, place in the epoch), so a run
 * can stop after any step and go on to the same bits. */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H
#include "data/latents.h"
#include "data/text_states.h"
#include "nn/dump.h"
#include "train/config.h"
#include "train/loss_scale.h"
#include "train/step.h"

typedef struct {
    int step, epoch, batch;                             /* steps done; epoch, from 0, and batch in it that come next */
} TrainPosition;

enum { BANDS = 4 };                                     /* of the noise: timesteps 0 to 249, 250 to 499, ... of 1000 */

typedef struct {
    double loss;                                        /* mean over the step's batches */
    double band_loss[BANDS];                            /* the same by band: sum over its samples; their number */
    int    band_samples[BANDS];
    double norm;                                        /* L2 of all gradients, before clipping; NAN where the step was skipped (loss_scale.h) */
    double lr_text, lr_unet;                            /* 0: that half is not trained */
} TrainReport;

typedef struct {
    const TrainConfig *config;
    Set               *trace, *shadow;                  /* of the run's set, where asked for (ops/trace.h, check/shadow.h); NULL: not */
    Pipeline           pipeline;
    Concepts           concepts;
    Buckets            buckets;
    BucketFit         *fit;                             /* one a picture */
    int               *repeats;                         /* one a picture */
    Latents            latents;
    TextStates         texts;                           /* where the text encoder is frozen */
    Lora               lora;
    int                w, h;                            /* resolution asked for, or the model's own */
    int                epoch_batches, epoch_steps, steps, epochs;           /* the plan; the last epoch may be cut short by `steps` */
    TapeMode           mode;
    StepCost           cost;                            /* what the largest batch takes under it */
    LossScale          loss_scale;
    TrainPosition      at;
    Batches            batches;                         /* of epoch `batches_epoch`; -1: none */
    int                batches_epoch;
    double            *latent, *noise, *x, *target, *weight, *loss, *sines; /* host memory of one batch */
    int32_t           *timestep, *ids;
    void              *text;                            /* (train_batch_size,tokens,width); NULL where the text encoder is trained */
    Dump              *dump;                            /* where the step sets its values aside; NULL: nowhere */
} Trainer;

int  trainer_open(Trainer *t, const TrainConfig *config);       /* 0, or -1 and err(); nothing is left to close */
void trainer_close(Trainer *t);

/* Parts of trainer_open. t holds the configuration, the pictures and the model, of which a description is enough. 0, or -1 and err().
 *   trainer_plan     what the run will do: buckets, batches, steps. Pictures that fit no bucket are left out; where problems is NULL the first ends it
 *   trainer_measure  then what the largest batch takes under this mode: t->mode, t->cost
 *   trainer_fit      the same under the mode that the options say, or else the first that memory suffices for: without checkpointing, of feed-forward layers,
 *                    of blocks. -1, too, where the set has memory of its own and none will do. loaded: the weights lie in it already */
int       trainer_plan(Trainer *t, Problems *problems);
int       trainer_measure(Trainer *t, TapeMode mode);
int       trainer_fit(Trainer *t, int loaded);
LoraRules trainer_lora_rules(const TrainConfig *config);

/* One step from t->at, which moves on. -1 and err(): the loss or a gradient is not finite (the weights are as before the step), or no memory. */
int trainer_step(Trainer *t, TrainReport *report);
#endif
