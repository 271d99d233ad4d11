/* option_table.c - every option of every command: where it goes, its default and range, and what a newcomer should know about it. */
#include "cli/cmd.h"
#include "cli/foreign.h"
#include "cli/options.h"
#include "diffusion/sample_config.h"
#include "train/config.h"
#include "train/plan.h"

#define ROWS(rows) (int)(sizeof(rows) / sizeof *(rows))

/* As the web UI calls them; then kohya's, k-diffusion's and ComfyUI's names, and one that the web UI had: karras is what DPM++ 2M takes by itself. */
static const Choice samplers[] = {
    { "DDIM", SAMPLER_DDIM },       { "Euler", SAMPLER_EULER },        { "Euler a", SAMPLER_EULER_A },          { "DPM++ 2M", SAMPLER_DPMPP_2M },
    { "k_euler", SAMPLER_EULER },   { "k_euler_a", SAMPLER_EULER_A },  { "euler_ancestral", SAMPLER_EULER_A },  { "k_euler_ancestral", SAMPLER_EULER_A },
    { "k_dpmpp_2m", SAMPLER_DPMPP_2M }, { "dpmsolver++", SAMPLER_DPMPP_2M }, { "DPM++ 2M Karras", SAMPLER_DPMPP_2M }, { 0 }
};

/* Where a model comes from besides its path: the same for every command that takes one. */
#define MODEL_OPTIONS                                                                                                                                          \
    { AT(vae), .kind = OPT_TEXT, .word = "PATH", .help = "The autoencoder from elsewhere",                                                                     \
      .more = "A file of it alone or of a whole model, or a folder of either in the diffusers layout." },                                                      \
    { AT(text_encoder), .kind = OPT_TEXT, .word = "PATH", .help = "The text encoder from elsewhere", .more = "As --vae." },                                    \
    { AT(tokenizer), .kind = OPT_TEXT, .word = "DIR", .unset = "the model's", .help = "The folder of vocab.json and merges.txt",                               \
      .more = "A single file has none. Without this option it is looked for beside the file and where `make install` puts what `make clip-vocab` fetches; "    \
              "all of Stable Diffusion 1.x and 2.x have the same vocabulary." },                                                                               \
    { AT(ema), .kind = OPT_FLAG, .help = "Take the averaged UNet (model_ema) of a single file",                                                                \
      .more = "Large training checkpoints hold the UNet twice: as the last step left it, which is what the web UI takes and so is this, and averaged over "    \
              "many steps." },                                                                                                                                 \
    { AT(v2), .kind = OPT_FLAG, .help = "A single file is Stable Diffusion 2.x",                                                                               \
      .more = "Such a file does not say whether it predicts noise or v: --v2 alone is noise, as in 2.0-base and 2.1-base. A folder says it itself." },         \
    { AT(v_parameterization), .kind = OPT_FLAG, .help = "The model predicts v instead of noise",                                                               \
      .more = "True of Stable Diffusion 2.x at 768 and of a few fine-tunes, whose authors say so; of no common 1.x model. A diffusers folder says it "         \
              "itself." },                                                                                                                                     \
    { AT(clip_skip), .kind = OPT_INT, .low = 1, .high = 12, .unset = "1", .help = "Which of the text encoder's layers is read, counted from the last",         \
      .more = "2 for models that were trained so, as most that draw anime, in training and in drawing; 1 for all others. Counted as the web UI and kohya's "   \
              "scripts count; the last norm follows in any case. LoRA modules of the layers left out are in the file and learn nothing. Not for Stable "       \
              "Diffusion 2.x, whose text encoder lacks its last layer already." }

/* ---- train ---- */

#define AT(field) .name = #field, .offset = offsetof(TrainConfig, field)

static const Choice schedulers[] = {
    { "constant", LR_CONSTANT }, { "constant_with_warmup", LR_CONSTANT_WITH_WARMUP }, { "linear", LR_LINEAR }, { "cosine", LR_COSINE },
    { "cosine_with_restarts", LR_COSINE_WITH_RESTARTS }, { 0 }
};
static const Choice token_lengths[] = { { "75", 75 }, { "150", 150 }, { "225", 225 }, { 0 } };
static const Choice optimizers[] = { { "AdamW", OPTIMIZER_ADAMW }, { 0 } };
static const Choice precisions[] = { { "float", T_F32 }, { "fp16", T_F16 }, { "bf16", T_BF16 }, { 0 } };
static const Choice network_keys[] = { { "conv_dim", 0 }, { "conv_alpha", 0 }, { 0 } };

static const Option train_options[] = {
    { .group = "Model" },
    { AT(pretrained_model_name_or_path), .alias = "model", .kind = OPT_TEXT, .word = "PATH", .required = true,
      .help = "The Stable Diffusion 1.x or 2.x model to teach",
      .more = "A single file (.safetensors, .ckpt), or a folder in the diffusers layout: the one that holds model_index.json. It is read, never changed: "
              "what is learned goes into a small file of its own, the LoRA." },
    MODEL_OPTIONS,

    { .group = "Pictures" },
    { AT(train_data_dir), .kind = OPT_TEXT, .word = "DIR", .required = true, .help = "The folder that holds folders N_name of pictures",
      .more = "N is the number of times each picture of that folder is shown in an epoch. Use it to balance folders: 3_face with 100 pictures and 1_body "
              "with 300 weigh the same. Beside picture.png lies its caption, picture.txt; without one the caption is the folder's name after N_." },
    { AT(resolution), .kind = OPT_SIZE, .low = MIN_SIDE, .high = MAX_SIDE, .unset = "the model's own", .help = "Size of the pictures in training",
      .more = "Pictures are scaled until they cover it, then cropped at the center. Twice the sides cost more than four times the work and memory." },
    { AT(enable_bucket), .kind = OPT_FLAG, .help = "Train on several shapes, each picture on the nearest one",
      .more = "Instead of cropping portraits and landscapes alike, sort them into shapes (buckets) of about the same number of pixels as --resolution. A "
              "batch holds pictures of one bucket." },
    { AT(min_bucket_reso), .kind = OPT_INT, .low = MIN_SIDE, .high = MAX_SIDE, .unset = "256 at 512", .help = "Shortest side of a bucket",
      .more = "The default is half the side of a square of as many pixels as --resolution, and no more than its shorter side." },
    { AT(max_bucket_reso), .kind = OPT_INT, .low = MIN_SIDE, .high = MAX_SIDE, .unset = "1024 at 512", .help = "Longest side of a bucket",
      .more = "The default is twice the side of a square of as many pixels as --resolution, and no less than its longer side." },
    { AT(bucket_reso_steps), .kind = OPT_INT, .low = MIN_SIDE, .high = MAX_SIDE, .unset = "the model's own, 64",
      .help = "Sides of buckets are multiples of this" },
    { AT(bucket_no_upscale), .kind = OPT_FLAG, .help = "Small pictures get small buckets and are not enlarged" },
    { AT(alpha_background), .kind = OPT_COLOUR, .value = "white", .help = "The colour behind transparent pictures",
      .more = "A model knows no transparency. Name the colour in the captions (\"white background\"), so that it is not taken for a part of the subject." },
    { AT(caption_extension), .kind = OPT_TEXT, .word = ".EXT", .unset = ".txt, then .caption", .help = "How the names of caption files end" },
    { AT(shuffle_caption), .kind = OPT_FLAG, .help = "Put a caption's tags into a new order each time",
      .more = "For captions of tags with commas between them. It teaches each tag for itself: without it the first words of captions learn the most. "
              "Give --keep_tokens 1 with it, so that the word that calls your subject stays in front." },
    { AT(keep_tokens), .kind = OPT_INT, .value = "0", .low = 0, .high = 255, .help = "Tags at the front that are neither shuffled nor dropped" },
    { AT(max_token_length), .kind = OPT_CHOICE, .value = "75", .choices = token_lengths, .help = "Tokens that are read of a caption",
      .more = "The text encoder reads 75 at a time. More are read in chunks, as kohya's scripts do it, and the UNet sees them all; a step takes longer. "
              "--dry_run tells which captions are too long." },
    { AT(caption_dropout_rate), .kind = OPT_REAL, .value = "0", .low = 0, .high = 1, .help = "Share of pictures shown without a caption",
      .more = "0.05 to 0.1 keeps the model able to draw with no prompt, on which classifier-free guidance (--cfg_scale) builds." },
    { AT(caption_tag_dropout_rate), .kind = OPT_REAL, .value = "0", .low = 0, .high = 1, .help = "Share of tags left out, each for itself",
      .more = "What a left-out tag named is then learned by the tags that stay, above all by the word that calls your subject." },
    { AT(flip_aug), .kind = OPT_FLAG, .help = "Mirror each picture half of the time",
      .more = "Not for a subject whose sides differ: a parting, a badge, two colours of hair." },
    { AT(cache_latents_to_disk), .kind = OPT_FLAG, .help = "Keep encoded pictures in train_data_dir/.latents",
      .more = "The next run starts sooner. Files are named by a hash of the picture's pixels and the autoencoder, so they are never out of date." },

    { .group = "LoRA" },
    { AT(network_dim), .alias = "network_rank", .kind = OPT_INT, .value = "4", .low = 1, .high = 1024, .help = "Rank: how much a layer can learn",
      .more = "A layer of i inputs and o outputs gains rank x (i + o) numbers. 4 to 16 is enough for a person or a character, 32 to 128 for a style; the "
              "file grows in proportion, and a large rank learns the pictures' accidents more easily." },
    { AT(network_alpha), .kind = OPT_REAL, .value = "1", .low = 0.001, .high = 4096, .help = "What is learned counts alpha/rank times",
      .more = "A layer computes W x + alpha/rank B A x, and A and B are trained. Half the alpha is about half the learning rate. Alpha equal to the rank "
              "counts once; the default, 1, asks for a higher rate as the rank grows." },
    { AT(conv_dim), .kind = OPT_INT, .value = "0", .low = 0, .high = 1024, .help = "Rank for 3x3 convolutions; 0 leaves them alone",
      .more = "Attention layers decide what goes where; convolutions draw. Colours, textures and line work that the model has never seen come sooner "
              "with them (LoCon); the file grows, and a step takes longer." },
    { AT(conv_alpha), .kind = OPT_REAL, .value = "1", .low = 0.001, .high = 4096, .help = "The alpha that goes with conv_dim" },
    { .name = "network_args", .kind = OPT_PAIRS, .choices = network_keys, .help = "Another way to give some of these",
      .more = "As in kohya's scripts: --network_args conv_dim=16 conv_alpha=8." },
    { AT(network_train_unet_only), .kind = OPT_FLAG, .help = "Leave the text encoder as it is",
      .more = "The text encoder reads prompts, the UNet draws. A step takes less time, and prompts keep their meaning." },
    { AT(network_train_text_encoder_only), .kind = OPT_FLAG, .help = "Leave the UNet as it is" },
    { AT(network_weights), .kind = OPT_TEXT, .word = "FILE", .help = "Start from the weights of this LoRA",
      .more = "Only the numbers of the LoRA are taken over; steps and the optimizer's moments begin anew. To go on exactly where a run stopped: --resume." },

    { .group = "Training" },
    { AT(max_train_steps), .kind = OPT_INT, .value = "1600", .low = 1, .high = 10000000, .help = "Updates of the LoRA" },
    { AT(max_train_epochs), .kind = OPT_INT, .low = 1, .high = 1000000, .help = "Passes over all pictures, in place of steps" },
    { AT(train_batch_size), .kind = OPT_INT, .value = "1", .low = 1, .high = 1024, .help = "Pictures in memory at once",
      .more = "A larger batch makes steadier steps and needs more memory. Twice the batch needs half the steps for the same number of pictures." },
    { AT(gradient_accumulation_steps), .kind = OPT_INT, .value = "1", .low = 1, .high = 4096, .help = "Batches before each update",
      .more = "A step then learns from train_batch_size x gradient_accumulation_steps pictures in the memory of one batch." },
    { AT(learning_rate), .kind = OPT_REAL, .value = "1e-4", .low = 0, .high = 10, .help = "How far a step goes",
      .more = "Too low, and the subject does not appear; too high, and pictures turn to noise or all look like the training pictures. Try 1e-4 to 1e-3." },
    { AT(unet_lr), .kind = OPT_REAL, .value = "-1", .low = 0, .high = 10, .unset = "learning_rate", .help = "The UNet's own rate" },
    { AT(text_encoder_lr), .kind = OPT_REAL, .several = true, .value = "-1", .low = 0, .high = 10, .unset = "learning_rate",
      .help = "The text encoder's own rate",
      .more = "Half the UNet's rate is a common choice: the text encoder forgets sooner." },
    { AT(lr_scheduler), .kind = OPT_CHOICE, .value = "constant", .choices = schedulers, .help = "How the rate goes over the run",
      .more = "linear and cosine end at 0, so that the last steps settle; the run's length is then part of the recipe. cosine_with_restarts does so "
              "lr_scheduler_num_cycles times, beginning anew at the full rate. All but constant rise from 0 over lr_warmup_steps." },
    { AT(lr_scheduler_num_cycles), .kind = OPT_INT, .value = "1", .low = 1, .high = 1000, .help = "How often cosine_with_restarts goes down" },
    { AT(lr_warmup_steps), .kind = OPT_SHARE, .value = "0", .low = 0, .high = 10000000, .help = "Steps until the rate is full, or their share of all",
      .more = "Adam's first steps are all of full length, whichever way; a warm-up of some 20 to 100 steps keeps them small." },
    { AT(optimizer_type), .kind = OPT_CHOICE, .value = "AdamW", .choices = optimizers, .help = "How steps follow from gradients" },
    { AT(adam_beta1), .kind = OPT_REAL, .value = "0.9", .low = 0, .high = 0.999999, .help = "Memory of the mean gradient" },
    { AT(adam_beta2), .kind = OPT_REAL, .value = "0.999", .low = 0, .high = 0.999999, .help = "Memory of its square" },
    { AT(adam_epsilon), .kind = OPT_REAL, .value = "1e-8", .low = 0, .high = 1, .help = "Keeps AdamW from dividing by 0" },
    { AT(weight_decay), .kind = OPT_REAL, .value = "0.01", .low = 0, .high = 10, .help = "Weights shrink by rate x this each step" },
    { AT(max_grad_norm), .kind = OPT_REAL, .value = "1", .low = 0, .high = 1000000, .help = "Longer gradients are shortened to this; 0: never" },
    { AT(min_snr_gamma), .kind = OPT_REAL, .value = "0", .low = 0, .high = 1000, .help = "Weigh nearly clean pictures less; 5 is usual, 0: off",
      .more = "Where little noise was added, telling it apart says little about the subject. min-SNR (Hang et al. 2023) weighs those steps by gamma/SNR, "
              "and training settles sooner." },
    { AT(noise_offset), .kind = OPT_REAL, .value = "0", .low = 0, .high = 10, .help = "Also move the noise of a channel as a whole; 0.05 to 0.1 is usual",
      .more = "Plain noise leaves a picture's mean brightness nearly as it is, and so the model learns to keep it. With an offset it learns to draw what is "
              "very dark or very bright; too much of it, and pictures become so unasked." },
    { AT(noise_offset_random_strength), .kind = OPT_FLAG, .help = "A random share of noise_offset for each batch, from none to all" },
    { AT(adaptive_noise_scale), .kind = OPT_REAL, .value = "0", .low = -1, .high = 1, .help = "Add this times the latent's mean to noise_offset",
      .more = "Of the mean of each channel the absolute value counts, and the sum is never below 0." },
    { AT(gradient_checkpointing), .kind = OPT_FLAG, .help = "Less memory, about a third more time",
      .more = "Keeps what enters a block instead of everything inside it, and computes the rest again when its gradient is due. The result is the same "
              "to the last bit. Without it a run chooses by the memory that is free: nothing is computed again, or feed-forward layers alone, which "
              "takes a fourteenth more work, or all blocks; its first lines say which." },
    { AT(seed), .kind = OPT_LONG, .value = "42", .low = 0, .high = (double)MAX_SEED, .help = "The same seed gives the same LoRA" },

    { .group = "Saving" },
    { AT(output_dir), .kind = OPT_TEXT, .value = ".", .word = "DIR", .help = "Folder of the results" },
    { AT(output_name), .kind = OPT_TEXT, .value = "lora", .word = "NAME", .help = "The LoRA is written to NAME.safetensors" },
    { AT(save_every_n_steps), .kind = OPT_INT, .low = 1, .high = 10000000, .help = "Also write the LoRA every N steps",
      .more = "The last LoRA is not always the best. Compare a few with `sdlora sample`." },
    { AT(save_every_n_epochs), .kind = OPT_INT, .low = 1, .high = 1000000, .help = "Also write the LoRA every N epochs" },
    { AT(save_last_n), .alias = "save_last_n_epochs", .kind = OPT_INT, .low = 1, .high = 1000000, .unset = "all", .help = "Keep only the last N of those" },
    { AT(save_precision), .kind = OPT_CHOICE, .value = "float", .choices = precisions, .help = "Numbers in the file",
      .more = "fp16 halves the file, and pictures stay the same to the eye." },
    { AT(save_state), .kind = OPT_FLAG, .help = "Also write what --resume needs" },
    { AT(resume), .kind = OPT_TEXT, .word = "FILE", .help = "Go on from a state of --save_state",
      .more = "The run goes on as if it had never stopped, to the last bit, when the other options are the same." },

    { .group = "Metadata" },
    { AT(metadata_title), .kind = OPT_TEXT, .unset = "output_name", .help = "Title in the file, as other programs show it",
      .more = "Beside these texts the file says how it was trained: every setting, the names of the folders, and how often each tag occurs." },
    { AT(metadata_author), .kind = OPT_TEXT, .help = "Who made it" },
    { AT(metadata_description), .kind = OPT_TEXT, .help = "What it is" },
    { AT(metadata_license), .kind = OPT_TEXT, .help = "What others may do with it" },
    { AT(metadata_tags), .kind = OPT_TEXT, .help = "What to find it under, with commas between" },
    { AT(metadata_usage), .alias = "metadata_usage_hint", .kind = OPT_TEXT, .help = "How to use it: the word that calls the subject" },
    { AT(training_comment), .kind = OPT_TEXT, .help = "A note on the run" },
    { AT(no_metadata), .kind = OPT_FLAG, .help = "Leave out settings, folders and tags",
      .more = "What stays is what programs need to use the file, and the texts above." },

    { .group = "Watching" },
    { AT(overwrite), .kind = OPT_FLAG, .help = "Replace a LoRA of that name" },
    { AT(no_report), .kind = OPT_FLAG, .help = "Write no report.html",
      .more = "The report, in output_dir, is one page to open in a browser while training or later: settings, pictures, loss by noise, what each layer has "
              "learned, samples by epoch. It takes no more than a fiftieth of the time." },
    { AT(sample_prompts), .kind = OPT_TEXT, .word = "FILE", .help = "Draw these prompts while training, one a line",
      .more = "As in kohya's scripts, a line may go on with its own options: --n negative prompt, --w width, --h height, --d seed, --s steps, --l cfg_scale. "
              "Pictures go to output_dir/sample; --sample_every_n_epochs says when. Drawing changes nothing in what is learned." },
    { AT(sample_every_n_epochs), .kind = OPT_INT, .low = 1, .high = 1000000, .help = "Draw at the end of every Nth epoch" },
    { AT(sample_every_n_steps), .kind = OPT_INT, .low = 1, .high = 10000000, .help = "Draw every N steps" },
    { AT(sample_at_first), .kind = OPT_FLAG, .help = "Also draw before the first step" },
    { AT(sample_sampler), .kind = OPT_CHOICE, .value = "DDIM", .choices = samplers, .help = "How they are drawn" },
    { AT(logging_dir), .kind = OPT_TEXT, .word = "DIR", .help = "Also log for TensorBoard, in DIR/NAME" },
    { AT(dump), .kind = OPT_TEXT, .word = "DIR", .help = "Write all that is computed in the first steps to DIR",
      .more = "A file a step, for study and for comparing with other programs: what was drawn, the text states, the noisy latents, the UNet's blocks, the "
              "loss, the gradients, the LoRA before and after. Names and shapes: docs/formats.md. The run stays the same to the last bit." },
    { AT(dump_steps), .kind = OPT_INT, .value = "1", .low = 1, .high = 10000, .help = "Steps of which --dump writes a file" },
    { AT(trace), .kind = OPT_TEXT, .word = "FILE", .help = "Time every operation: FILE.txt has tables, FILE.svg a flame graph",
      .more = "By operation and by module, sorted by time, with GFLOP/s and GB/s; the graph is for a browser, where boxes tell more under the mouse. Try it "
              "with --max_train_steps 20." },
    { AT(shadow), .kind = OPT_TEXT, .word = "SET", .help = "Run each operation on this set as well, and stop at the first that differs",
      .more = "Beyond what rounding explains, that is, on the very numbers of the run; the message names operation, module and element. SET must hold what "
              "--set computes with: --set ref16 --shadow ref64. It is slow: some seconds a step on the demo's model, hours on SD 1.5." },

    { .group = "Settings" },
    { AT(config_file), .alias = "config", .kind = OPT_SETTINGS, .help = "Take options from this TOML file",
      .more = "A line an option: network_dim = 16, output_name = \"mochi\", shuffle_caption = true, resolution = [512, 768]. Lines may be grouped "
              "under [names]. What the command line says wins. docs/examples has two such files." },

    { .group = "Machine" },
    { AT(set), .kind = OPT_TEXT, .value = "auto", .word = "NAME", .help = "Who computes: auto, cuda, cpu, ref (float), ref64 (double) or ref16 (f16 between)",
      .more = "A kernel set is one implementation of all arithmetic. cpu is the fast one, by the best instructions that the processor has (cpu-avx512, "
              "cpu-avx2, cpu-neon, cpu-base name them; cpu-exact does without the convolutions' shortcut, which rounds more); auto is the fastest that runs "
              "here. cuda is an NVIDIA card, in a program built with it: `sdlora devices` says what there is. ref is the reference; ref64 is the same in "
              "double precision, twice as slow, and there to compare with. ref16 rounds what it stores to f16, as graphics cards do, and shows what that "
              "does to a training. A state says which set made it; a run that is resumed on another goes on, but not to the same bits." },
    { AT(device), .alias = "device_id", .kind = OPT_INT, .value = "0", .low = 0, .high = 1000, .help = "Which card, where there are several",
      .more = "`sdlora devices` numbers them." },
    { AT(threads), .kind = OPT_INT, .value = "0", .low = 0, .high = 1024, .unset = "one a processor", .help = "Threads; the result does not depend on them" },
    { AT(quiet), .kind = OPT_FLAG, .help = "Print no progress" },
    { AT(dry_run), .kind = OPT_FLAG, .help = "Say what the run would do and all that is wrong with it, and stop",
      .more = "Reads every picture and caption and the model's configuration, but none of its weights: pictures that cannot be read, captions that are too "
              "long, buckets and what is cut off, steps, memory, and what will be written. Exit status 0: nothing is wrong." },
#undef AT

    /* from here on of `plan`, whose configuration begins with that of `train` */
#define AT(field) .name = #field, .offset = offsetof(PlanConfig, field)
    { .group = "What is not there yet" },
    { AT(images), .kind = OPT_TEXT, .word = "NxR,...", .unset = "those of --train_data_dir", .help = "Pictures x repeats of each concept, as in 96x10,259x10",
      .more = "They stand for pictures of the size of --resolution, in place of --train_data_dir." },
    { .group = "Machine" },
    { AT(vram), .kind = OPT_TEXT, .word = "SIZE", .value = "8GB", .help = "A card's memory: does it hold the run?" },
    { AT(rate), .kind = OPT_REAL, .low = 0.000001, .high = 1000000, .unset = "no time is told", .help = "Steps a second: how long does it take?" },
#undef AT
};
enum { PLAN_ROWS = 5 };                                 /* the last of them, headings included */

const Command train_command = {
    .name = "train", .summary = "teaches a Stable Diffusion model a subject or a style, as a LoRA",
    .usage = "--pretrained_model_name_or_path PATH --train_data_dir DIR [options]",
    .options = train_options, .count = ROWS(train_options) - PLAN_ROWS, .foreign = training_elsewhere, .size = sizeof(TrainConfig),
    .lesson = "Example\n"
              "  pictures/10_mochi holds 20 pictures; a caption reads \"mochi, smile, forest\".\n"
              "    sdlora train --model model.safetensors --train_data_dir pictures --output_name mochi \\\n"
              "        --network_dim 16 --network_alpha 8 --shuffle_caption --keep_tokens 1 \\\n"
              "        --train_batch_size 2 --max_train_epochs 10 --lr_scheduler cosine --lr_warmup_steps 5%\n"
              "\n"
              "How many steps is that?\n"
              "  An epoch shows each picture as often as its folder's number says, and a step takes a batch:\n"
              "    pictures x repeats x epochs / batch = 20 x 10 x 10 / 2 = 1000 steps.\n"
              "  With gradient_accumulation_steps a step takes that many batches.\n"
              "\n"
              "How strong is the LoRA?\n"
              "  A layer W becomes W + alpha/rank x B A: here 8/16, so what B A learns counts half. With twice the\n"
              "  rank and the same alpha it would count a quarter: raise alpha, or the learning rate, with it.\n"
};

/* ---- plan ---- */

const Command plan_command = {
    .name = "plan", .summary = "tells what a training would take: memory by kind, work, steps, time",
    .usage = "--model MODEL [--images NxR,...] [options of train]",
    .options = train_options, .count = ROWS(train_options), .foreign = training_elsewhere, .shared = ROWS(train_options) - PLAN_ROWS,
    .size = sizeof(PlanConfig),
    .lesson = "All options of train are options of plan, and a settings file of train is one of plan; neither the\n"
              "pictures nor the model need be there. MODEL is a folder, or sd15, sd20-base, sd20, sd21-base, sd21.\n"
              "\n"
              "Examples\n"
              "  Does Stable Diffusion 1.5 at 512x768, rank 32, fit a card of 8 GB, and with what?\n"
              "    sdlora plan --model sd15 --set ref16 --resolution 512,768 --network_dim 32 --gradient_checkpointing\n"
              "  A whole job, on a machine that does 2.53 steps a second:\n"
              "    sdlora plan --config docs/examples/portrait-2080.toml --model sd15 --images 96x10,259x10 \\\n"
              "        --set ref16 --rate 2.53\n"
};

/* ---- sample ---- */

#define AT(field) .name = #field, .offset = offsetof(SampleConfig, field)

static const Choice noise_schedules[] = {
    { "automatic", SIGMAS_AUTOMATIC }, { "uniform", SIGMAS_UNIFORM }, { "karras", SIGMAS_KARRAS }, { "exponential", SIGMAS_EXPONENTIAL }, { 0 }
};

static const Choice emphases[] = {
    { "original", EMPHASIS_ORIGINAL }, { "no_norm", EMPHASIS_NO_NORM }, { "ignore", EMPHASIS_IGNORE }, { "none", EMPHASIS_NONE }, { 0 }
};

static const Option sample_options[] = {
    { .group = "Model" },
    { AT(model), .alias = "ckpt", .kind = OPT_TEXT, .word = "PATH", .required = true, .positional = true, .help = "The Stable Diffusion 1.x or 2.x model",
      .more = "A single file (.safetensors, .ckpt), or a folder in the diffusers layout: the one that holds model_index.json. It may be given without "
              "--model, as the first word." },
    MODEL_OPTIONS,
    { AT(lora), .kind = OPT_LIST, .word = "FILE[:WEIGHT]", .help = "Add a LoRA; may be repeated",
      .more = "What the LoRA changes counts WEIGHT times: 1 is as trained, 0.6 weaker, 0 not at all. Several add up. LoRA, LoCon, LoHa, LoKr and DoRA in "
              "the layouts of kohya's scripts, diffusers, PEFT (a folder) and cloneofsimo; `sdlora info FILE` says what a file is. "
              "Words that the file has learned, such as <s1>, work in prompts, whatever the WEIGHT." },
    { AT(embeddings), .alias = "embeddings_dir", .kind = OPT_LIST, .word = "PATH", .help = "Words of textual inversion for the prompts; may be repeated",
      .more = "A file (.pt, .bin, .safetensors), or a folder of them, as the web UI's `embeddings`. A file's name without its ending is the word: with "
              "EasyNegative.safetensors, EasyNegative in a prompt or a negative prompt, or ComfyUI's embedding:EasyNegative. Only files whose word a prompt "
              "has are read. Of two files with one word the first counts." },
    { AT(allow_unmatched), .kind = OPT_FLAG, .help = "Pass over tensors of a LoRA that have no place in this model",
      .more = "Without it they are an error: a LoRA that is for another model would do nothing, or half of what it should." },

    { .group = "Prompt" },
    { AT(prompt), .kind = OPT_TEXT, .help = "What to draw",
      .more = "As the web UI reads it: (word) counts 1.1 times, (word:1.3) 1.3 times, [word] 1/1.1 times; [from:to:0.5] changes half-way, [a|b] at each step; "
              "a AND b:0.7 adds up two prompts; \\( and \\[ are brackets of the text. It may be of any length: the text encoder sees it in chunks of 75 "
              "tokens, and BREAK begins a new one. LoRAs are given as --lora, not as <lora:...>." },
    { AT(negative_prompt), .kind = OPT_TEXT, .value = "", .help = "What to keep away from" },
    { AT(from_file), .kind = OPT_TEXT, .word = "FILE", .help = "One prompt a line, in place of --prompt",
      .more = "A line may go on with its own options, as in kohya's scripts: --n negative prompt, --w width, --h height, --d seed, --s steps, --l "
              "cfg_scale. Empty lines and lines that begin with # are left out." },
    { AT(emphasis), .kind = OPT_CHOICE, .value = "original", .choices = emphases, .help = "How brackets in prompts are read",
      .more = "The web UI's setting of that name. no_norm: weights change the mean of the text states, too; ignore: everything counts alike; none: "
              "brackets, BREAK and all else are text." },

    { .group = "Picture" },
    { AT(width), .kind = OPT_INT, .low = MIN_SIDE, .high = MAX_SIDE, .unset = "the model's own", .help = "In pixels",
      .more = "A model draws best near the size it was trained at, 512 for SD 1.x; far above, subjects come twice." },
    { AT(height), .kind = OPT_INT, .low = MIN_SIDE, .high = MAX_SIDE, .unset = "the model's own", .help = "In pixels" },
    { AT(seed), .kind = OPT_LONG, .value = "-1", .low = -1, .high = (double)MAX_SEED, .unset = "-1: a new one",
      .help = "Of the first picture; the next has the next",
      .more = "The seed decides the noise that a picture begins as; a new one is printed. The same seed, prompt and options give the same picture." },
    { AT(n_iter), .kind = OPT_INT, .value = "1", .low = 1, .high = 10000, .help = "Pictures of each prompt" },
    { AT(batch_size), .kind = OPT_INT, .value = "1", .low = 1, .high = 256, .help = "Pictures computed together",
      .more = "More at once is faster and takes more memory. A picture is the same to the eye: sums run in another order, which moves about one of its bytes "
              "in 15,000, by 1." },

    { .group = "Sampler" },
    { AT(sampler_name), .alias = "sampler", .kind = OPT_CHOICE, .value = "DPM++ 2M", .choices = samplers, .help = "The way from noise to picture",
      .more = "DPM++ 2M is good from 15 steps; Euler and DDIM are the plain ones; Euler a adds noise as it goes and changes the picture with the number "
              "of steps. Names of kohya's scripts and ComfyUI are taken, too: k_euler_a, dpmsolver++, dpmpp_2m." },
    { AT(scheduler), .kind = OPT_CHOICE, .value = "automatic", .choices = noise_schedules, .help = "Where the steps lie",
      .more = "automatic is karras for DPM++ 2M and uniform for Euler, as in the web UI; DDIM has steps of its own." },
    { AT(steps), .kind = OPT_INT, .value = "20", .low = 1, .high = MAX_STEPS, .help = "Steps; each is one pass of the UNet over two pictures" },
    { AT(cfg_scale), .kind = OPT_REAL, .value = "7", .low = 0, .high = MAX_CFG, .help = "How closely to follow the prompt",
      .more = "Each step goes from what the model draws for the negative prompt towards what it draws for the prompt, cfg_scale times as far. 1 is the "
              "prompt alone, at half the work; above 12 or so colours burn." },

    { .group = "Output" },
    { AT(output_dir), .kind = OPT_TEXT, .value = "out", .word = "DIR", .help = "Pictures are written to DIR/00000.png and so on",
      .more = "Where DIR has pictures, numbers go on behind theirs. Each holds its prompt and options in the text chunk `parameters`, where the web UI looks "
              "for them." },
    { AT(compare), .kind = OPT_FLAG, .help = "Draw each without the LoRAs, too, side by side" },
    { AT(grid), .kind = OPT_TEXT, .word = "FILE", .help = "Also write the pictures into one PNG, with their prompts" },
    { AT(grid_rows), .kind = OPT_INT, .low = 1, .high = 1000, .unset = "all", .help = "Prompts in the grid, from the first" },

    { .group = "Machine" },
    { AT(set), .kind = OPT_TEXT, .value = "auto", .word = "NAME", .help = "Who computes: auto, cuda, cpu, ref (float), ref64 (double) or ref16 (f16 between)" },
    { AT(device), .alias = "device_id", .kind = OPT_INT, .value = "0", .low = 0, .high = 1000, .help = "Which card, where there are several",
      .more = "`sdlora devices` numbers them." },
    { AT(threads), .kind = OPT_INT, .value = "0", .low = 0, .high = 1024, .unset = "one a processor", .help = "Threads; the result does not depend on them" },
    { AT(dump), .kind = OPT_TEXT, .word = "DIR", .help = "Write all that is computed to DIR",
      .more = "A file a batch: text states, noise, and of each step what goes into the UNet, what comes out, and the picture it believes in. Names and "
              "shapes: docs/formats.md. The pictures stay the same." },
    { AT(trace), .kind = OPT_TEXT, .word = "FILE", .help = "Time every operation: FILE.txt has tables, FILE.svg a flame graph" },
};

const Command sample_command = {
    .name = "sample", .summary = "draws pictures, with LoRAs or without",
    .usage = "MODEL --prompt TEXT [options]",
    .options = sample_options, .count = ROWS(sample_options), .foreign = sampling_elsewhere, .size = sizeof(SampleConfig),
    .lesson = "Examples\n"
              "  Four pictures with a LoRA at 0.8 of its strength:\n"
              "    sdlora sample model.safetensors --lora mochi.safetensors:0.8 --prompt \"mochi, smile, forest\" \\\n"
              "        --negative_prompt \"blurry\" --seed 1 --n_iter 4\n"
              "  What did the LoRA learn? The same noise without it and with it, prompts beside the pictures:\n"
              "    sdlora sample model.safetensors --lora mochi.safetensors --from_file prompts.txt \\\n"
              "        --compare --grid compare.png\n"
};
#undef AT

/* ---- info ---- */

#define AT(field) .name = #field, .offset = offsetof(InfoConfig, field)

static const Option info_options[] = {
    { .group = "What to look at" },
    { AT(file), .kind = OPT_TEXT, .word = "FILE", .required = true, .positional = true, .help = "A LoRA, a model, a state, a dump or a picture",
      .more = "A LoRA of kohya's, diffusers', PEFT's or cloneofsimo's layout; a model as a folder or a single file. It may be given without --file, as the "
              "first word." },
    { AT(verbose), .kind = OPT_FLAG, .help = "Also every module or tensor, all tags and all metadata" },
    { AT(json), .kind = OPT_FLAG, .help = "Everything, as JSON for programs" },
};
#undef AT

const Command info_command = {
    .name = "info", .summary = "says what a LoRA, a model or a picture holds",
    .usage = "FILE [--verbose] [--json]",
    .options = info_options, .count = ROWS(info_options), .size = sizeof(InfoConfig),
    .lesson = "What the numbers of a LoRA mean\n"
              "  A module adds alpha/rank x B A to a weight. norm is the length of what it adds (Frobenius), largest\n"
              "  the most by which it can stretch an input. A module whose B is all 0 is dead: it does nothing.\n"
              "  The hashes are those by which web UIs and model sites know the file.\n"
};

/* ---- selftest ---- */

#define AT(field) .name = #field, .offset = offsetof(SelftestConfig, field)

static const Option selftest_options[] = {
    { .group = "What to test" },
    { AT(set), .kind = OPT_TEXT, .value = "ref", .word = "NAME", .help = "The kernel set" },
    { AT(against), .kind = OPT_TEXT, .word = "NAME", .unset = "ref64", .help = "A second set, on the same numbers; with --bench: that is timed as well" },
    { AT(op), .kind = OPT_TEXT, .word = "NAME", .unset = "all", .help = "One operation alone" },
    { AT(seed), .kind = OPT_INT, .value = "1", .low = 0, .high = 1000000000, .help = "Other seeds make other calls" },
    { AT(cases), .kind = OPT_INT, .value = "40", .low = 1, .high = 1000000, .help = "Random calls of each operation" },
    { .name = "case", .offset = offsetof(SelftestConfig, number), .kind = OPT_INT, .value = "-1", .low = 0, .high = 1000000, .unset = "all",
      .help = "One call alone, as the line under a failure says" },
    { AT(full), .kind = OPT_FLAG, .help = "The calls of SD 1.5 at 512x768 in place of random ones: half an hour" },
    { AT(tiles), .kind = OPT_FLAG, .help = "Small calls that reach every tile and vector path of a set, in place of random ones" },

    { .group = "How" },
    { AT(repeat), .kind = OPT_FLAG, .help = "Do not compare, only repeat: are the bits the same with 1, 2 and 5 threads?" },
    { AT(bench), .kind = OPT_FLAG, .help = "Time the calls of SD 1.5: best of several, GFLOP/s, GB/s" },
    { AT(device), .alias = "device_id", .kind = OPT_INT, .value = "0", .low = 0, .high = 1000, .help = "Which card, where there are several",
      .more = "`sdlora devices` numbers them." },
    { AT(threads), .kind = OPT_INT, .value = "0", .low = 0, .high = 1024, .unset = "one a processor", .help = "Threads of --bench" },
    { AT(list), .kind = OPT_FLAG, .help = "Name the operations and the calls of --full" },
};
#undef AT

const Command selftest_command = {
    .name = "selftest", .summary = "tests this machine's arithmetic, operation by operation",
    .usage = "[--set NAME] [--op NAME] [options]",
    .options = selftest_options, .count = ROWS(selftest_options), .size = sizeof(SelftestConfig),
    .lesson = "What it does\n"
              "  Each operation is called with random shapes and numbers and must come out as it is defined, within\n"
              "  what rounding may do to these numbers; give the same bits with any number of threads; write nothing\n"
              "  but its results; and refuse calls that mean nothing. docs/numerics.md derives the bounds.\n"
              "  A line that begins with \"ok\" is an operation; a failure says with which options it is repeated.\n"
};

/* ---- devices ---- */

const Command devices_command = {
    .name = "devices", .summary = "lists the kernel sets, whether they run here, and the cards",
    .usage = "", .size = sizeof(char),
    .lesson = "Paste what it prints where you ask for help with a card; docs/gpu.md says what else.\n"
};

const Command *const all_commands[] = { &train_command, &plan_command, &sample_command, &info_command, &convert_command, &merge_command, &resize_command,
                                       &extract_command, &selftest_command, &devices_command, NULL };
