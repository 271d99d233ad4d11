/* config.c - the agreement of a training run's options, and what follows from them. */
#include "train/config.h"
#include "base/err.h"
#include <stdio.h>
#include <string.h>

static void pass_over(const char *option, const char *why) { fprintf(stderr, "sdlora: --%s: passed over: %s\n", option, why); }

/* What kohya's scripts take and do not use: files of settings that its GUI wrote are full of it. */
static void drop_unused(TrainConfig *c)
{
    static const char buckets[] = "it is for --enable_bucket";
    if (!c->enable_bucket) {
        if (c->min_bucket_reso) pass_over("min_bucket_reso", buckets);
        if (c->max_bucket_reso) pass_over("max_bucket_reso", buckets);
        if (c->bucket_reso_steps) pass_over("bucket_reso_steps", buckets);
        if (c->bucket_no_upscale) pass_over("bucket_no_upscale", buckets);
        c->min_bucket_reso = c->max_bucket_reso = c->bucket_reso_steps = 0, c->bucket_no_upscale = false;
    }
    if (c->lr_scheduler == LR_CONSTANT && c->lr_warmup_steps > 0) {
        pass_over("lr_warmup_steps", "--lr_scheduler constant has no warm-up; constant_with_warmup has");
        c->lr_warmup_steps = 0;
    }
    if (c->lr_scheduler != LR_COSINE_WITH_RESTARTS && c->lr_scheduler_num_cycles > 1) {
        pass_over("lr_scheduler_num_cycles", "it is for --lr_scheduler cosine_with_restarts");
        c->lr_scheduler_num_cycles = 1;
    }
    if (c->sample_prompts && !c->sample_every_n_steps && !c->sample_every_n_epochs && !c->sample_at_first) {
        pass_over("sample_prompts", "nothing is drawn without --sample_every_n_epochs, --sample_every_n_steps or --sample_at_first");
        c->sample_prompts = NULL;
    }
}

int train_config_check(TrainConfig *config)
{
    TrainConfig *c = config;
    if (c->unet_lr < 0) c->unet_lr = c->learning_rate;
    if (c->text_encoder_lr < 0) c->text_encoder_lr = c->learning_rate;

    if (c->network_train_unet_only && c->network_train_text_encoder_only)
        return err("--network_train_unet_only: --network_train_text_encoder_only was given as well; nothing is left to train");
    double unet = c->network_train_text_encoder_only ? 0 : c->unet_lr, text = c->network_train_unet_only ? 0 : c->text_encoder_lr;
    if (unet == 0 && text == 0) return err("--learning_rate: a rate above 0 was expected for something that is trained");

    drop_unused(c);
    if (c->min_bucket_reso && c->max_bucket_reso && c->min_bucket_reso > c->max_bucket_reso)
        return err("--min_bucket_reso: at most --max_bucket_reso, %d, was expected, not %d", c->max_bucket_reso, c->min_bucket_reso);

    if (c->noise_offset == 0 && (c->noise_offset_random_strength || c->adaptive_noise_scale != 0))
        return err("--%s: has a meaning with --noise_offset alone", c->noise_offset_random_strength ? "noise_offset_random_strength" : "adaptive_noise_scale");
    bool drawn = c->sample_every_n_steps || c->sample_every_n_epochs || c->sample_at_first;
    if (drawn && !c->sample_prompts) return err("--sample_prompts: a file of prompts was expected, for pictures were asked for");
    if (!*c->output_name || strchr(c->output_name, '/'))
        return err("--output_name: a name without '/' was expected, not \"%s\"; the folder is --output_dir", c->output_name);
    return 0;
}

int train_config_chunks(const TrainConfig *config) { return config->max_token_length / 75; }

int train_config_warmup(const TrainConfig *config, int steps)
{
    double warmup = config->lr_warmup_steps;
    return (int)(warmup < 1 ? warmup * steps : warmup);
}

ModelSource train_config_source(const TrainConfig *c)
{
    return (ModelSource){ c->pretrained_model_name_or_path, c->vae, c->text_encoder, c->tokenizer, c->ema, c->v2, c->v_parameterization, c->clip_skip };
}
