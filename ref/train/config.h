/* config.h - everything that decides a training run, under the names that kohya's scripts gave it.
 *
 * `sdlora train` fills it from the table in cli/option_table.c, where each field's default, range and explanation stand; train_config_check then makes it
 * whole. Texts belong to the command line and outlive the run. A text not given is NULL; 0 means "none" or "not given" unless said otherwise. */
#ifndef TRAIN_CONFIG_H
#define TRAIN_CONFIG_H
#include "base/type.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum { LR_CONSTANT, LR_CONSTANT_WITH_WARMUP, LR_LINEAR, LR_COSINE } LrScheduler;
typedef enum { OPTIMIZER_ADAMW } Optimizer;

typedef struct {
    /* model */
    const char *pretrained_model_name_or_path;          /* .safetensors or .ckpt file, or diffusers folder */
    bool        v_parameterization;                     /* the model predicts v, not noise */

    /* pictures */
    const char *train_data_dir;                         /* holds folders N_name: N repeats of each picture */
    int         resolution[2];                          /* width, height; 0, 0: the model's native size */
    bool        enable_bucket, bucket_no_upscale;
    int         min_bucket_reso, max_bucket_reso;       /* pixels; 0: half and twice sqrt(width height), as 256 and 1024 at 512 */
    int         bucket_reso_steps;                      /* pixels; 0: as small as the model allows */
    const char *caption_extension;                      /* NULL: .txt, then .caption */
    bool        shuffle_caption;
    int         keep_tokens;                            /* tags at the front that are neither shuffled nor dropped */
    double      caption_dropout_rate, caption_tag_dropout_rate;         /* 0..1, a picture; a tag */

    /* LoRA */
    int         network_dim, conv_dim;                  /* rank; of 3x3 convolutions, 0: those stay as they are */
    double      network_alpha, conv_alpha;
    bool        network_train_unet_only, network_train_text_encoder_only;
    const char *network_weights;                        /* a LoRA file to start from */

    /* training */
    int         max_train_steps, max_train_epochs;      /* epochs, where given, decide */
    int         train_batch_size, gradient_accumulation_steps;
    double      learning_rate, unet_lr, text_encoder_lr;                /* the last two: learning_rate where not given */
    LrScheduler lr_scheduler;
    double      lr_warmup_steps;                        /* from 1: steps; below 1: a share of all steps */
    Optimizer   optimizer_type;
    double      adam_beta1, adam_beta2, adam_epsilon, weight_decay;
    double      max_grad_norm;                          /* 0: no clipping */
    double      min_snr_gamma;                          /* 0: off */
    bool        gradient_checkpointing;
    int64_t     seed;

    /* saving */
    const char *output_dir, *output_name;
    int         save_every_n_steps, save_every_n_epochs;
    Type        save_precision;                         /* T_F32, T_F16 or T_BF16 */
    bool        save_state;
    const char *resume;                                 /* a state written by save_state */

    /* machine */
    const char *set;                                    /* name of a kernel set */
    int         threads;                                /* 0: one a processor */
    bool        quiet;
} TrainConfig;

/* Fills in what follows from other fields (unet_lr, text_encoder_lr) and refuses what contradicts itself: -1 and err(). Once, after parsing. */
int train_config_check(TrainConfig *config);

/* Steps of warm-up in a run of `steps` steps. */
int train_config_warmup(const TrainConfig *config, int steps);
#endif
