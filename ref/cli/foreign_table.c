/* foreign_table.c - the options of kohya's train_network.py and of accelerate (training); of the web UI, its API, diffusers and stable-diffusion.cpp
 * (sampling). Values at which an option is off come first: then nothing is said. */
#include "cli/foreign.h"

#define OFF(name, values) { name, 1, true, values, 0 }
#define PASS(name, words, why) { name, words, true, 0, why }
#define STOP(name, words, why) { name, words, false, 0, why }

#define ATTENTION "attention never stores its table of scores here"
#define TYPES "the kernel set decides in which types is computed: --set"
#define PROCESS "one process does it all: --threads, --device"
#define UPLOAD "nothing is sent anywhere: copy what lies in --output_dir"
#define FOLDERS "pictures are found by folders: --train_data_dir with a folder N_name for each concept, N its repeats, and captions beside the pictures"
#define LOSS "the loss is the mean square, which --min_snr_gamma may weigh by noise level"
#define NOISE "the noise is plain, or has an offset: --noise_offset 0.05"
#define OTHER_OPTIMIZER "AdamW is what there is: --optimizer_type AdamW, with a rate that suits it: --learning_rate 1e-4"

const Foreign training_elsewhere[] = {
    OFF("network_module", "networks.lora"),
    STOP("network_module", 1, "networks.lora is what is trained here; with --conv_dim also convolutions (LoCon)"),
    OFF("network_dropout", "0"),
    STOP("network_dropout", 1, "there is none; against learning by heart: a lower --network_dim, fewer steps, --caption_tag_dropout_rate"),
    OFF("scale_weight_norms", "0"),
    STOP("scale_weight_norms", 1, "weights are not held to a length; a lower rate does much the same: --learning_rate, --weight_decay"),
    STOP("dim_from_weights", 0, "give --network_dim as the file has it: `sdlora info FILE` tells"),
    STOP("base_weights*", SEVERAL_WORDS, "add them to the model first: sdlora merge --sd_model MODEL --models LORA --save_to NEW"),
    STOP("loraplus_*", 1, "A and B learn at one rate: --unet_lr, --text_encoder_lr"),
    STOP("block_lr*", 1, "the UNet's blocks learn at one rate: --unet_lr"),

    PASS("xformers", 0, ATTENTION), PASS("sdpa", 0, ATTENTION), PASS("mem_eff_attn", 0, ATTENTION), PASS("diffusers_xformers", 0, ATTENTION),
    OFF("mixed_precision", "no"), PASS("mixed_precision", 1, TYPES), PASS("full_fp16", 0, TYPES),
    PASS("full_bf16", 0, TYPES), PASS("fp8_base", 0, TYPES), PASS("no_half_vae", 0, TYPES),
    PASS("lowram", 0, "weights stay in the file's own type"), PASS("highvram", 0, "a run takes what the memory that is free allows"),
    PASS("cache_latents", 0, "pictures are encoded once, before the first step"), PASS("skip_cache_check", 0, "pictures are encoded once"),
    PASS("vae_batch_size", 1, "pictures are encoded one by one, once"),
    PASS("cache_text_encoder_outputs*", 0, "what a text encoder that is not trained says is kept"),
    PASS("max_data_loader_n_workers", 1, "a step does not wait for pictures: they are encoded before the first"),
    PASS("persistent_data_loader_workers", 0, "a step does not wait for pictures: they are encoded before the first"),
    PASS("num_cpu_threads_per_process", 1, PROCESS), PASS("num_processes", 1, PROCESS), PASS("num_machines", 1, PROCESS), PASS("gpu_ids", 1, PROCESS),
    OFF("dynamo_backend", "no"), PASS("dynamo_backend", 1, "it is compiled already"), PASS("dynamo_*", 1, "it is compiled already"),
    PASS("torch_compile", 0, "it is compiled already"), PASS("ddp_*", 0, PROCESS),
    STOP("deepspeed", 0, "a run is one process on one device"),
    PASS("tokenizer_cache_dir", 1, "the vocabulary lies with the model, or is given: --tokenizer"),
    PASS("disable_mmap_load_safetensors", 0, "files are mapped a tensor at a time"),

    STOP("reg_data_dir", 1, "put these pictures into --train_data_dir, as one folder more: 1_woman, say"),
    OFF("prior_loss_weight", "1"), PASS("prior_loss_weight", 1, "all pictures count once: how often, say the folders' numbers"),
    STOP("dataset_config", 1, FOLDERS), STOP("in_json", 1, FOLDERS), STOP("dataset_class", 1, FOLDERS), STOP("dataset_repeats", 1, FOLDERS),
    STOP("conditioning_data_dir", 1, "ControlNets are not trained here"),
    STOP("color_aug", 0, "pictures are encoded once, so colours stay; put copies of other colours beside them"),
    STOP("random_crop", 0, "pictures are cropped at the center; with --enable_bucket hardly anything is cut off"),
    OFF("face_crop_aug_range", "none"), STOP("face_crop_aug_range", 1, "crop the faces beforehand and put them beside the pictures"),
    STOP("masked_loss", 0, LOSS), STOP("alpha_mask", 0, LOSS),
    STOP("weighted_captions", 0, "captions are taken as they stand; take the weights out of them"),
    OFF("caption_separator", ","), STOP("caption_separator", 1, "tags are parted by commas"),
    STOP("keep_tokens_separator", 1, "give the number of tags that stay in front: --keep_tokens"),
    STOP("secondary_separator", 1, "tags are parted by commas"), STOP("enable_wildcard", 0, "a caption is its file's first line, as it stands"),
    STOP("caption_prefix", 1, "write it into the captions"), STOP("caption_suffix", 1, "write it into the captions"),
    OFF("caption_dropout_every_n_epochs", "0"), STOP("caption_dropout_every_n_epochs", 1, "give the share of all: --caption_dropout_rate"),
    OFF("token_warmup_step", "0"), STOP("token_warmup_step", 1, "tags are there from the first step on"), PASS("token_warmup_min", 1, 0),
    STOP("debug_dataset", 0, "--dry_run tells of every picture and caption what is wrong with it"),

    { "optimizer_type", 1, true, "AdamW8bit PagedAdamW8bit PagedAdamW PagedAdamW32bit",
      "AdamW it is, its moments in full: those of a LoRA take little memory" },
    PASS("use_8bit_adam", 0, "AdamW's moments are kept in full: those of a LoRA take little memory"),
    STOP("use_lion_optimizer", 0, OTHER_OPTIMIZER),
    { "optimizer_type", 1, false, "Prodigy DAdaptation DAdaptAdam DAdaptAdaGrad DAdaptAdan DAdaptLion DAdaptSGD DAdaptAdamPreprint prodigyopt.Prodigy",
      "it finds the rate by itself, AdamW is told: --optimizer_type AdamW --unet_lr 1e-4 --text_encoder_lr 5e-5 in place of rates of 1" },
    { "optimizer_type", 1, false, "Adafactor Lion Lion8bit PagedLion8bit SGDNesterov SGDNesterov8bit AdaFactor CAME", OTHER_OPTIMIZER },
    { "optimizer_args", SEVERAL_WORDS, false, 0, "AdamW's are options of their own: --weight_decay X, --adam_beta1 X, --adam_beta2 X, --adam_epsilon X" },
    { "lr_scheduler", 1, false, "adafactor piecewise_constant inverse_sqrt cosine_with_min_lr warmup_stable_decay rex",
      "cosine goes down to 0 as smoothly: --lr_scheduler cosine" },
    { "lr_scheduler", 1, false, "polynomial", "of power 1, kohya's default, it is linear: --lr_scheduler linear" }, OFF("lr_scheduler_power", "1"),
    STOP("lr_scheduler_power", 1, "linear and cosine are the ways down: --lr_scheduler"),
    STOP("lr_scheduler_type", 1, "schedules are built in: --lr_scheduler"), STOP("lr_scheduler_args", SEVERAL_WORDS, "schedules have no more arguments here"),
    OFF("lr_decay_steps", "0"), STOP("lr_decay_steps", 1, "schedules go down to the last step: --lr_scheduler cosine"),
    STOP("stop_text_encoder_training", 1, "give the text encoder a lower rate, or none: --text_encoder_lr, --network_train_unet_only"),
    PASS("noise_offset_type", 1, 0), OFF("multires_noise_iterations", "0"), STOP("multires_noise_iterations", 1, NOISE),
    PASS("multires_noise_discount", 1, 0),
    OFF("ip_noise_gamma", "0"), STOP("ip_noise_gamma", 1, NOISE), STOP("ip_noise_gamma_random_strength", 0, NOISE),
    OFF("min_timestep", "0"), STOP("min_timestep", 1, "all levels of noise are trained"),
    OFF("max_timestep", "1000"), STOP("max_timestep", 1, "all levels of noise are trained"),
    OFF("loss_type", "l2"), STOP("loss_type", 1, LOSS), PASS("huber_*", 1, 0),
    STOP("debiased_estimation_loss", 0, LOSS), STOP("scale_v_pred_loss_like_noise_pred", 0, LOSS), OFF("v_pred_like_loss", "0"),
    STOP("v_pred_like_loss", 1, LOSS), STOP("zero_terminal_snr", 0, "the noise levels are the model's own"),

    OFF("save_model_as", "safetensors"), STOP("save_model_as", 1, "a LoRA is written as .safetensors, which every program reads"),
    PASS("epoch", 1, "how long a run is, say --max_train_steps or --max_train_epochs"),
    STOP("save_n_epoch_ratio", 1, "give the epochs between: --save_every_n_epochs"),
    STOP("save_last_n_steps*", 1, "give the number of files to keep: --save_last_n"),
    STOP("save_last_n_epochs_state", 1, "states are kept as long as their LoRA: --save_last_n"),
    STOP("save_state_on_train_end", 0, "--save_state writes one at the end, too"),
    STOP("initial_epoch", 1, "a state knows where its run stood: --resume"), STOP("initial_step", 1, "a state knows where its run stood: --resume"),
    STOP("skip_until_initial_step", 0, "a state knows where its run stood: --resume"),
    STOP("output_config", 0, "the run's settings stand in the LoRA: `sdlora info FILE`"),
    PASS("log_prefix", 1, "events lie in logging_dir/output_name"), OFF("log_with", "tensorboard none"),
    STOP("log_with", 1, "there are log.csv, report.html and, with --logging_dir, TensorBoard's events"),
    PASS("log_tracker_*", 1, "events lie in logging_dir/output_name"), PASS("log_config", 0, "the run's settings stand in the LoRA and in report.html"),
    PASS("wandb_*", 1, UPLOAD), PASS("console_log_*", 0, "what is to be said goes to the terminal, and log.csv"),
    STOP("huggingface_*", 1, UPLOAD), STOP("async_upload", 0, UPLOAD), STOP("save_state_to_huggingface", 0, UPLOAD),
    STOP("resume_from_huggingface", 0, UPLOAD),
    { 0 }
};

#define HERE(name, words, option) STOP(name, words, "the name is " option)
#define FROM_PICTURE "pictures begin as noise alone, and are drawn in their full size: --width, --height"
#define LORA "give the file, and how often it counts: --lora FILE:0.8"

const Foreign sampling_elsewhere[] = {
    HERE("outdir", 1, "--output_dir"), HERE("output", 1, "--output_dir"), HERE("outdir_samples", 1, "--output_dir"),
    HERE("w", 1, "--width"), HERE("h", 1, "--height"), HERE("size", 1, "--width and --height"), HERE("resolution", 1, "--width and --height"),
    HERE("n", 1, "--negative_prompt"), HERE("scale", 1, "--cfg_scale"), HERE("guidance_scale", 1, "--cfg_scale"), HERE("cfg", 1, "--cfg_scale"),
    HERE("num_inference_steps", 1, "--steps"), HERE("ddim_steps", 1, "--steps"), HERE("sampling_steps", 1, "--steps"),
    HERE("batch_count", 1, "--n_iter"), HERE("num_images_per_prompt", 1, "--n_iter"), HERE("images_per_prompt", 1, "--n_iter"),
    HERE("n_samples", 1, "--n_iter"),
    HERE("sampling_method", 1, "--sampler"), HERE("sample_method", 1, "--sampler"), HERE("schedule", 1, "--scheduler"),
    HERE("schedule_type", 1, "--scheduler"), HERE("pretrained_model_name_or_path", 1, "--model"), HERE("diffusion_model", 1, "--model"),
    HERE("prompt_file", 1, "--from_file"), HERE("sample_prompts", 1, "--from_file"), HERE("prompts", 1, "--prompt, or --from_file with a file of prompts"),
    STOP("network_module", SEVERAL_WORDS, LORA), STOP("network_weights", SEVERAL_WORDS, LORA), STOP("network_mul", SEVERAL_WORDS, LORA),
    STOP("lora_model_dir", 1, LORA), STOP("lora_weight", 1, LORA), STOP("lora_scale", 1, LORA),

    OFF("eta", "0"), STOP("eta", 1, "DDIM adds no noise, Euler a its own: --sampler \"Euler a\""),
    STOP("init_img", 1, FROM_PICTURE), STOP("init_image", 1, FROM_PICTURE), STOP("img2img", 0, FROM_PICTURE), STOP("image_path", 1, FROM_PICTURE),
    STOP("image", 1, FROM_PICTURE), STOP("mask*", 1, FROM_PICTURE), STOP("strength", 1, FROM_PICTURE), STOP("denoising_strength", 1, FROM_PICTURE),
    STOP("enable_hr", 0, FROM_PICTURE), STOP("hr_*", 1, FROM_PICTURE), STOP("highres_fix*", 1, FROM_PICTURE), STOP("hires_*", 1, FROM_PICTURE),
    STOP("upscale*", 1, FROM_PICTURE), STOP("restore_faces", 0, "faces are drawn once; a larger --height or --width helps them"),
    STOP("tiling", 0, "edges are drawn as in training: with zeros beyond them"), STOP("styles", SEVERAL_WORDS, "write the words into --prompt"),
    STOP("subseed*", 1, "--seed alone decides the noise"), STOP("variation_seed*", 1, "--seed alone decides the noise"),
    STOP("control*", 1, "ControlNets are not read here"), STOP("refiner*", 1, "one model draws all steps"),
    PASS("xformers", 0, ATTENTION), PASS("sdpa", 0, ATTENTION), PASS("opt_sdp_attention", 0, ATTENTION), PASS("diffusion_fa", 0, ATTENTION),
    PASS("fp16", 0, TYPES), PASS("bf16", 0, TYPES), PASS("half", 0, TYPES), PASS("no_half", 0, TYPES), PASS("no_half_vae", 0, TYPES), PASS("dtype", 1, TYPES),
    PASS("precision", 1, TYPES), PASS("medvram", 0, "memory is taken as it is needed"), PASS("lowvram", 0, "memory is taken as it is needed"),
    PASS("vae_tiling", 0, "a picture is decoded as one"), PASS("vae_batch_size", 1, "pictures are decoded one by one"),
    OFF("rng", "cpu"), STOP("rng", 1, "noise is torch's CPU stream, the web UI's setting RNG: CPU"),
    PASS("no_preview", 0, "pictures are shown when they are done"), PASS("skip_grid", 0, "a grid is made where --grid asks for one"),
    { 0 }
};
