/* The options of the commands that turn files into files: convert, merge, resize, extract. */
#include "base/type.h"
#include "cli/cmd.h"
#include "cli/options.h"

#define ROWS(rows) (int)(sizeof(rows) / sizeof *(rows))

static const Choice precisions[] = { { "as it is", T_COUNT }, { "float", T_F32 }, { "fp16", T_F16 }, { "bf16", T_BF16 }, { 0 } };
static const Choice layouts[] = { { "auto", TO_AUTO },       { "kohya", TO_KOHYA },             { "diffusers", TO_DIFFUSERS },
                                  { "peft", TO_PEFT },       { "cloneofsimo", TO_CLONEOFSIMO }, { "ldm", TO_LDM },
                                  { 0 } };
static const Choice methods[] = { { "none", KEEP_RANK }, { "sv_ratio", KEEP_RATIO }, { "sv_fro", KEEP_FRO }, { "sv_cumulative", KEEP_CUMULATIVE }, { 0 } };

static const char about_precision[] = "New numbers are worked out in double and rounded once.";
static const char about_v2[] = "A single file does not say it; a diffusers folder does.";

/* ---- convert ---- */

#define AT(field) .name = #field, .offset = offsetof(ConvertConfig, field)

static const Option convert_options[] = {
    { .group = "Files" },
    { AT(from), .alias = "model", .kind = OPT_TEXT, .word = "IN", .required = true, .positional = true, .help = "A LoRA or a model, in any layout",
      .more = "A LoRA of kohya's scripts, LyCORIS, diffusers, PEFT (a folder) or cloneofsimo; a model as a diffusers folder or a single file." },
    { AT(save_to), .kind = OPT_TEXT, .word = "OUT", .required = true, .positional = true, .help = "What is written: a file, or a folder" },
    { AT(to), .kind = OPT_CHOICE, .value = "auto", .choices = layouts, .help = "The layout",
      .more = "auto: a name that ends in .safetensors is a LoRA of kohya's or a single-file model, any other a folder of PEFT's or of diffusers'. ldm is the "
              "single file of a model. What a layout cannot hold, such as LoHa outside kohya's, is refused." },
    { AT(save_precision), .kind = OPT_CHOICE, .value = "as it is", .choices = precisions, .help = "Numbers in the file" },
    { AT(strip), .kind = OPT_FLAG, .help = "Leave out the metadata of a LoRA",
      .more = "They tell what a LoRA was trained on: folders, captions' tags, comments. Hashes of the numbers stay the same." },
    { .group = "What a single-file model does not say" },
    { AT(v2), .kind = OPT_FLAG, .help = "It is Stable Diffusion 2.x" },
    { AT(v_parameterization), .kind = OPT_FLAG, .help = "It predicts v instead of noise", .more = about_v2 },
    { AT(ema), .kind = OPT_FLAG, .help = "Take its averaged copies (model_ema.)" },
};
#undef AT

const Command convert_command = {
    .name = "convert", .summary = "writes a LoRA or a model in another layout",
    .usage = "IN OUT [--to LAYOUT] [options]",
    .options = convert_options, .count = ROWS(convert_options), .size = sizeof(ConvertConfig),
    .lesson = "Examples\n"
              "    sdlora convert pytorch_lora_weights.safetensors mochi.safetensors          for the web UI\n"
              "    sdlora convert mochi.safetensors mochi-diffusers.safetensors --to diffusers\n"
              "    sdlora convert model.safetensors model-folder --to diffusers --save_precision fp16\n"
              "  Without --save_precision no number changes; what is written is read back and compared.\n"
};

/* ---- merge ---- */

#define AT(field) .name = #field, .offset = offsetof(MergeConfig, field)

static const Option merge_options[] = {
    { .group = "Files" },
    { AT(models), .kind = OPT_LIST, .several = true, .word = "FILE ...", .required = true, .help = "The LoRAs" },
    { AT(ratios), .kind = OPT_LIST, .several = true, .word = "X ...", .unset = "1 each", .help = "How often each counts, in their order",
      .more = "A ratio counts once: at 0.5 a LoRA does half of what it does. (kohya's merge_lora.py lets it count twice, and mixes the LoRAs' halves.)" },
    { AT(sd_model), .kind = OPT_TEXT, .word = "PATH", .unset = "the LoRAs become one", .help = "Add them to this model's weights" },
    { AT(save_to), .kind = OPT_TEXT, .word = "OUT", .required = true, .help = "What is written",
      .more = "Of LoRAs a file; of a model a single file if the name ends in .safetensors, else a diffusers folder." },
    { AT(save_precision), .kind = OPT_CHOICE, .value = "as it is", .choices = precisions, .unset = "float; of a model, as it is",
      .help = "Numbers in the file", .more = about_precision },
    { AT(no_metadata), .alias = "strip", .kind = OPT_FLAG, .help = "Leave out the metadata" },
    { .group = "Rank of the one LoRA" },
    { AT(new_rank), .alias = "dim", .kind = OPT_INT, .low = 1, .high = 8192, .unset = "the sum of the ranks, exact", .help = "Cut it to this rank",
      .more = "The sum of LoRAs has the sum of their ranks. The nearest LoRA of a lower rank is found by singular values; each line of the report says how "
              "much of the norm is left." },
    { AT(new_conv_rank), .alias = "conv_dim", .kind = OPT_INT, .low = 1, .high = 8192, .unset = "the same", .help = "The rank of convolutions" },
    { AT(quiet), .kind = OPT_FLAG, .help = "No report" },
    { .group = "The model" },
    { AT(allow_unmatched), .kind = OPT_FLAG, .help = "Pass over tensors of a LoRA that have no place in this model" },
    { AT(v2), .kind = OPT_FLAG, .help = "A single file is Stable Diffusion 2.x" },
    { AT(v_parameterization), .kind = OPT_FLAG, .help = "A single file predicts v instead of noise", .more = about_v2 },
    { AT(ema), .kind = OPT_FLAG, .help = "Take its averaged copies (model_ema.)" },
};
#undef AT

const Command merge_command = {
    .name = "merge", .summary = "adds LoRAs to a model, or makes one of several",
    .usage = "--models FILE ... [--ratios X ...] --save_to OUT [--sd_model PATH] [options]",
    .options = merge_options, .count = ROWS(merge_options), .size = sizeof(MergeConfig),
    .lesson = "Examples\n"
              "    sdlora merge --models a.safetensors b.safetensors --ratios 0.7 0.5 --save_to both.safetensors\n"
              "    sdlora merge --sd_model model.safetensors --models a.safetensors --save_to model-a.safetensors\n"
              "  A model that is stored in fp16 rounds what is added to it; a LoRA beside it does not.\n"
};

/* ---- resize ---- */

#define AT(field) .name = #field, .offset = offsetof(ResizeConfig, field)

static const Option resize_options[] = {
    { .group = "Files" },
    { AT(model), .kind = OPT_TEXT, .word = "FILE", .required = true, .positional = true, .help = "The LoRA" },
    { AT(save_to), .kind = OPT_TEXT, .word = "OUT", .required = true, .help = "What is written" },
    { AT(save_precision), .kind = OPT_CHOICE, .value = "float", .choices = precisions + 1, .help = "Numbers in the file", .more = about_precision },
    { AT(no_metadata), .alias = "strip", .kind = OPT_FLAG, .help = "Leave out the metadata" },
    { .group = "Rank" },
    { AT(new_rank), .alias = "dim", .kind = OPT_INT, .value = "4", .low = 1, .high = 8192, .help = "The rank; with a method, the highest" },
    { AT(new_conv_rank), .alias = "conv_dim", .kind = OPT_INT, .low = 1, .high = 8192, .unset = "the same", .help = "The rank of convolutions" },
    { AT(dynamic_method), .kind = OPT_CHOICE, .value = "none", .choices = methods, .help = "Choose the rank for each module",
      .more = "sv_ratio keeps singular values above the largest / PARAM; sv_fro as many as hold PARAM of the Frobenius norm; sv_cumulative as many as hold "
              "PARAM of their sum. As in kohya's resize_lora.py, one more is kept." },
    { AT(dynamic_param), .kind = OPT_REAL, .low = 0, .high = 1000000, .word = "PARAM", .help = "0.9 for sv_fro and sv_cumulative, 10 for sv_ratio, ..." },
    { AT(quiet), .kind = OPT_FLAG, .help = "No report" },
};
#undef AT

const Command resize_command = {
    .name = "resize", .summary = "gives a LoRA another rank",
    .usage = "FILE --save_to OUT [--new_rank N] [options]",
    .options = resize_options, .count = ROWS(resize_options), .size = sizeof(ResizeConfig),
    .lesson = "Example\n"
              "    sdlora resize big.safetensors --save_to small.safetensors --new_rank 32 --dynamic_method sv_fro --dynamic_param 0.95\n"
              "  The report says of each module how much of its norm is left. alpha / rank stays as it was.\n"
};

/* ---- extract ---- */

#define AT(field) .name = #field, .offset = offsetof(ExtractConfig, field)

static const Option extract_options[] = {
    { .group = "Files" },
    { AT(model_org), .kind = OPT_TEXT, .word = "PATH", .required = true, .help = "The model that the other was tuned from" },
    { AT(model_tuned), .kind = OPT_TEXT, .word = "PATH", .required = true, .help = "The tuned model" },
    { AT(save_to), .kind = OPT_TEXT, .word = "OUT", .required = true, .help = "The LoRA that is written" },
    { AT(save_precision), .kind = OPT_CHOICE, .value = "float", .choices = precisions + 1, .help = "Numbers in the file", .more = about_precision },
    { AT(no_metadata), .alias = "strip", .kind = OPT_FLAG, .help = "Leave out the metadata" },
    { .group = "Rank" },
    { AT(dim), .alias = "new_rank", .kind = OPT_INT, .value = "4", .low = 1, .high = 1024, .help = "The rank" },
    { AT(conv_dim), .kind = OPT_INT, .low = 1, .high = 1024, .unset = "they are left out", .help = "The rank of convolutions" },
    { AT(clamp_quantile), .kind = OPT_REAL, .value = "1", .low = 0.5, .high = 1, .help = "Cut values beyond this quantile to it",
      .more = "kohya's script has 0.99 here, which makes the error larger." },
    { AT(min_diff), .kind = OPT_REAL, .value = "0.01", .low = 0, .high = 1000, .help = "Leave out a text encoder that differs by no more" },
    { AT(quiet), .kind = OPT_FLAG, .help = "No report" },
    { .group = "What single files do not say" },
    { AT(v2), .kind = OPT_FLAG, .help = "They are Stable Diffusion 2.x" },
    { AT(v_parameterization), .kind = OPT_FLAG, .help = "They predict v instead of noise", .more = about_v2 },
};
#undef AT

const Command extract_command = {
    .name = "extract", .summary = "makes a LoRA of what a tuned model has learned",
    .usage = "--model_org PATH --model_tuned PATH --save_to OUT [--dim N] [options]",
    .options = extract_options, .count = ROWS(extract_options), .size = sizeof(ExtractConfig),
    .lesson = "Example\n"
              "    sdlora extract --model_org base.safetensors --model_tuned tuned.safetensors --save_to tuned-lora.safetensors --dim 32\n"
              "  The report says of each module how far the LoRA is from the difference, relative to it.\n"
};
