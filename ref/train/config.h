/* config.h - everything that decides a training run, under the names that kohya's scripts gave it.
 *
 * `sdlora train` fills it from the table in cli/option_table.c, where each field's default, range and explanation stand; train_config_check then makes it
 * whole. Texts belong to the command line, or to config_file, and outlive the run. A text not given is NULL; 0 means "none" or "not given" unless said
 * otherwise. */
#ifndef TRAIN_CONFIG_H
#define TRAIN_CONFIG_H
#include "base/type.h"
#include "diffusion/sampler.h"
#include "io/toml.h"
#include "model/model_files.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum { LR_CONSTANT, LR_CONSTANT_WITH_WARMUP, LR_LINEAR, LR_COSINE, LR_COSINE_WITH_RESTARTS } LrScheduler;
typedef enum { OPTIMIZER_ADAMW } Optimizer;

/* An option and its value in words, for people: the run's report shows them. */
typedef struct {
    const char *group, *name, *value;
    bool        given;                                  /* differs from the default */
} Setting;

typedef struct {
    /* model */
    const char *pretrained_model_name_or_path;          /* a folder in the diffusers layout, or a single file */
    const char *vae, *text_encoder;                     /* these parts from elsewhere; NULL: the model's own */
    const char *tokenizer;                              /* the folder of vocab.json and merges.txt; NULL: the model's own */
    bool        ema;                                    /* a single file's averaged U-Net */
    bool        v2, v_parameterization;                 /* what a single file does not say: SD 2.x; it predicts v, not noise */

    int         clip_skip;                              /* the layer of the text encoder that is read, from the last; 0: not given, 1 */

    /* pictures */
    const char *train_data_dir;                         /* holds folders N_name: N repeats of each picture */
    int         resolution[2];                          /* width, height; 0, 0: the model's native size */
    bool        enable_bucket, bucket_no_upscale;
    int         min_bucket_reso, max_bucket_reso;       /* pixels; 0: half and twice sqrt(width height), as 256 and 1024 at 512 */
    int         bucket_reso_steps;                      /* pixels; 0: as small as the model allows */
    const char *caption_extension;                      /* NULL: .txt, then .caption */
    bool        shuffle_caption;
    int         keep_tokens;                            /* tags at the front that are neither shuffled nor dropped */
    int         max_token_length;                       /* 75, 150 or 225: what is read of a caption, in chunks of 75 */
    double      caption_dropout_rate, caption_tag_dropout_rate;         /* 0..1, a picture; a tag */
    int         alpha_background;                       /* the colour behind what is transparent, 0xRRGGBB */
    bool        flip_aug;                               /* each picture mirrored half of the time */
    bool        cache_latents_to_disk;                  /* in train_data_dir/.latents */

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
    int         lr_scheduler_num_cycles;                /* of LR_COSINE_WITH_RESTARTS */
    double      lr_warmup_steps;                        /* from 1: steps; below 1: a share of all steps */
    Optimizer   optimizer_type;
    double      adam_beta1, adam_beta2, adam_epsilon, weight_decay;
    double      max_grad_norm;                          /* 0: no clipping */
    double      min_snr_gamma;                          /* 0: off */
    double      noise_offset;                           /* standard deviation of what is added to a channel's noise as a whole; 0: off */
    bool        noise_offset_random_strength;           /* each batch takes a share of it, uniform in 0..1 */
    double      adaptive_noise_scale;                   /* it grows by this times |mean of the channel's latent| */
    bool        gradient_checkpointing;
    int64_t     seed;

    /* saving */
    const char *output_dir, *output_name;
    int         save_every_n_steps, save_every_n_epochs;
    int         save_last_n;                            /* of those; 0: all are kept */
    Type        save_precision;                         /* T_F32, T_F16 or T_BF16 */
    bool        save_state;
    const char *resume;                                 /* a state written by save_state */

    /* what the file says of itself */
    const char *metadata_title, *metadata_author, *metadata_description, *metadata_license, *metadata_tags, *metadata_usage;
    const char *training_comment;
    bool        no_metadata;                            /* only what readers need */

    /* watching */
    const char *sample_prompts;                         /* a file of prompt lines, drawn while training */
    int         sample_every_n_steps, sample_every_n_epochs;
    bool        sample_at_first;
    SamplerKind sample_sampler;
    const char *logging_dir;                            /* TensorBoard's files go to a folder in it */
    bool        overwrite;                              /* a LoRA of that name may be replaced */
    bool        no_report;                              /* no report.html */
    const char *dump;                                   /* a folder for everything that is computed in the first dump_steps steps */
    int         dump_steps;
    const char *trace;                                  /* where the time of each operation goes: TRACE.svg, TRACE.txt */
    const char *shadow;                                 /* name of a set that runs beside this one and is compared */

    /* machine */
    const char *set;                                    /* name of a kernel set */
    int         device;                                 /* of that set, where it has several */
    int         threads;                                /* 0: one a processor */
    bool        quiet;
    bool        dry_run;                                /* say what the run would do, and all that is wrong with it */
    Toml       *config_file;                            /* the options' texts may lie in it: toml_close when they are not needed any more; NULL: none */

    const Setting *setting;                             /* all of the above, as the command line has it; may be NULL */
    int         settings;
} TrainConfig;

/* Fills in what follows from other fields (unet_lr, text_encoder_lr) and refuses what contradicts itself: -1 and err(). What other fields leave without
 * effect (bucket sizes, warm-up, cycles) is put back to its default, with a line on stderr. Once, after parsing. */
int train_config_check(TrainConfig *config);

/* Where its model comes from. */
ModelSource train_config_source(const TrainConfig *config);

/* In how many chunks a caption is read (nn/func.h). */
int train_config_chunks(const TrainConfig *config);

/* Steps of warm-up in a run of `steps` steps. */
int train_config_warmup(const TrainConfig *config, int steps);
#endif
