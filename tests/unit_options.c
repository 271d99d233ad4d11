/* unit_options.c - the command line: what is accepted, what is refused and in which words, what help and docs/cli.md say; prompt lines. */
#include "base/err.h"
#include "cli/cmd.h"
#include "cli/foreign.h"
#include "cli/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_WORDS = 24 };

/* Splits a command line at '|' into argv; the copy lives until the next call. */
static int split(char **argv, const char *line)
{
    static char copy[4096];
    int         argc = 0;
    assert_true(strlen(line) < sizeof copy);
    strcpy(copy, line);
    for (char *word = strtok(copy, "|"); word; word = strtok(NULL, "|")) {
        assert_true(argc < MAX_WORDS);
        argv[argc++] = word;
    }
    return argc;
}

static int parse(const Command *command, void *config, const char *line)
{
    char *argv[MAX_WORDS];
    return options_parse(command, config, split(argv, line), argv);
}

static TrainConfig train_of(const char *line)
{
    TrainConfig config;
    if (parse(&train_command, &config, line) || train_config_check(&config)) fail_msg("%s: %s", line, err_text());
    return config;
}

static SampleConfig sample_of(const char *line)
{
    SampleConfig config;
    if (parse(&sample_command, &config, line) || sample_config_check(&config)) fail_msg("%s: %s", line, err_text());
    return config;
}

static void test_train_defaults(void **state)
{
    (void)state;
    TrainConfig c = train_of("--pretrained_model_name_or_path|m|--train_data_dir|d");
    assert_string_equal(c.pretrained_model_name_or_path, "m"), assert_string_equal(c.train_data_dir, "d");
    assert_string_equal(c.output_name, "lora"), assert_string_equal(c.output_dir, "."), assert_string_equal(c.set, "auto");
    assert_null(c.caption_extension), assert_null(c.network_weights), assert_null(c.resume);
    assert_int_equal(c.network_dim, 4), assert_true(c.network_alpha == 1), assert_int_equal(c.conv_dim, 0), assert_true(c.conv_alpha == 1);
    assert_int_equal(c.max_train_steps, 1600), assert_int_equal(c.max_train_epochs, 0);
    assert_int_equal(c.train_batch_size, 1), assert_int_equal(c.gradient_accumulation_steps, 1);
    assert_true(c.learning_rate == 1e-4 && c.unet_lr == 1e-4 && c.text_encoder_lr == 1e-4);
    assert_int_equal(c.lr_scheduler, LR_CONSTANT), assert_true(c.lr_warmup_steps == 0), assert_int_equal(c.optimizer_type, OPTIMIZER_ADAMW);
    assert_true(c.adam_beta1 == 0.9 && c.adam_beta2 == 0.999 && c.adam_epsilon == 1e-8 && c.weight_decay == 0.01 && c.max_grad_norm == 1);
    assert_int_equal(c.resolution[0], 0), assert_int_equal(c.resolution[1], 0), assert_int_equal(c.min_bucket_reso, 0);
    assert_int_equal(c.seed, 42), assert_int_equal(c.save_precision, T_F32), assert_int_equal(c.threads, 0);
    assert_false(c.enable_bucket || c.shuffle_caption || c.gradient_checkpointing || c.save_state || c.quiet || c.v_parameterization);
}

static void test_train_values(void **state)
{
    (void)state;
    TrainConfig c = train_of("--model=m|--train-data-dir=d|--resolution|512,768|--network-rank|16|--learning_rate=2e-3|--text_encoder_lr|5e-4|"
                             "--lr-scheduler|COSINE|--lr_warmup_steps=5%|--save_precision|bf16|--shuffle-caption|--keep_tokens|1|"
                             "--output_name|a=b|--seed|4294967295");
    assert_int_equal(c.resolution[0], 512), assert_int_equal(c.resolution[1], 768);
    assert_int_equal(c.network_dim, 16), assert_true(c.learning_rate == 2e-3 && c.unet_lr == 2e-3 && c.text_encoder_lr == 5e-4);
    assert_int_equal(c.lr_scheduler, LR_COSINE), assert_true(c.lr_warmup_steps == 0.05), assert_int_equal(train_config_warmup(&c, 1000), 50);
    assert_int_equal(c.save_precision, T_BF16), assert_true(c.shuffle_caption), assert_int_equal(c.keep_tokens, 1);
    assert_string_equal(c.output_name, "a=b"), assert_true(c.seed == 4294967295);

    c = train_of("--model|m|--train_data_dir|d|--resolution|64|--network_args|conv_dim=16|conv-alpha=8|"
                 "--lr_scheduler|linear|--lr_warmup_steps|100|--unet_lr|0");
    assert_int_equal(c.resolution[0], 64), assert_int_equal(c.resolution[1], 64);
    assert_int_equal(c.conv_dim, 16), assert_true(c.conv_alpha == 8), assert_int_equal(train_config_warmup(&c, 1000), 100), assert_true(c.unet_lr == 0);

    c = train_of("--network_args=conv_dim=2|conv_alpha=3|--model|m|--train_data_dir|d|--lr_scheduler|constant-with-warmup|--lr_warmup_steps|0.1");
    assert_int_equal(c.conv_dim, 2), assert_true(c.conv_alpha == 3), assert_int_equal(c.lr_scheduler, LR_CONSTANT_WITH_WARMUP);
    assert_int_equal(train_config_warmup(&c, 55), 5);
    c.lr_warmup_steps = 1, assert_int_equal(train_config_warmup(&c, 55), 1);
}

static void test_sample_values(void **state)
{
    (void)state;
    SampleConfig c = sample_of("model|--prompt|a cat");
    assert_string_equal(c.model, "model"), assert_string_equal(c.prompt, "a cat"), assert_string_equal(c.negative_prompt, "");
    assert_int_equal(c.sampler_name, SAMPLER_DPMPP_2M), assert_int_equal(c.scheduler, SIGMAS_AUTOMATIC), assert_int_equal(c.steps, 20);
    assert_true(c.cfg_scale == 7);
    assert_true(c.seed == -1), assert_int_equal(c.width, 0), assert_int_equal(c.height, 0), assert_int_equal(c.batch_size, 1), assert_int_equal(c.n_iter, 1);
    assert_int_equal(c.lora.count, 0), assert_false(c.compare), assert_null(c.grid), assert_string_equal(c.output_dir, "out");

    c = sample_of("--ckpt|m|--prompt=x|--lora|a.safetensors|--lora=b:0.5|--compare|--seed|-1|--sampler|euler_a|--scheduler|Karras|--negative_prompt=");
    assert_int_equal(c.lora.count, 2), assert_string_equal(c.lora.item[0], "a.safetensors"), assert_string_equal(c.lora.item[1], "b:0.5");
    assert_int_equal(c.sampler_name, SAMPLER_EULER_A), assert_int_equal(c.scheduler, SIGMAS_KARRAS), assert_true(c.compare);

    static const struct { const char *name; SamplerKind kind; } samplers[] = {
        { "DDIM", SAMPLER_DDIM }, { "Euler", SAMPLER_EULER }, { "Euler a", SAMPLER_EULER_A }, { "DPM++ 2M", SAMPLER_DPMPP_2M },
        { "dpmpp_2m", SAMPLER_DPMPP_2M },
    };
    for (size_t k = 0; k < sizeof samplers / sizeof *samplers; k++) {
        char line[64];
        snprintf(line, sizeof line, "m|--prompt|x|--sampler_name|%s", samplers[k].name);
        assert_int_equal(sample_of(line).sampler_name, samplers[k].kind);
    }
}

/* Each line is refused, and the message holds each of the words. */
typedef struct { const char *line, *words[3]; } Refusal;

static void check_refused(const Refusal *r, int status)
{
    assert_int_equal(status, -1);
    for (int k = 0; k < 3 && r->words[k]; k++)
        if (!strstr(err_text(), r->words[k])) fail_msg("%s: \"%s\" is not in: %s", r->line, r->words[k], err_text());
}

#define TRAIN "--model|m|--train_data_dir|d|"

static void test_train_refused(void **state)
{
    (void)state;
    static const Refusal cases[] = {
        { "--train_data_dir|d", { "--pretrained_model_name_or_path", "required" } },
        { "--model|m", { "--train_data_dir", "required" } },
        { TRAIN "--netwrok_dim|4", { "--netwrok_dim: no such option", "nearest is --network_dim", "sdlora help train" } },
        { TRAIN "--qqqqqq", { "--qqqqqq: no such option", "none is near" } },
        { TRAIN "--=3", { "no such option" } },
        { TRAIN "--network_dim|0", { "--network_dim", "from 1 to 1024", "not \"0\"" } },
        { TRAIN "--network_dim|1025", { "not \"1025\"" } },
        { TRAIN "--network_dim|4.5", { "a whole number" } },
        { TRAIN "--network_dim|4x", { "not \"4x\"" } },
        { TRAIN "--network_dim=", { "not \"\"" } },
        { TRAIN "--network_dim| 4", { "not \" 4\"" } },
        { TRAIN "--network_dim|99999999999999999999", { "--network_dim" } },
        { TRAIN "--network_dim|4|--network-rank|8", { "--network_dim", "given twice", "as 8" } },
        { TRAIN "--network_dim", { "--network_dim", "N was expected" } },
        { TRAIN "--network_dim|--quiet", { "--network_dim", "N was expected" } },
        { TRAIN "--quiet=1", { "--quiet", "takes no value" } },
        { TRAIN "--quiet|--quiet", { "--quiet", "given twice" } },
        { TRAIN "--learning_rate|nan", { "--learning_rate", "a number from 0 to 10", "not \"nan\"" } },
        { TRAIN "--learning_rate|inf", { "not \"inf\"" } },
        { TRAIN "--learning_rate|1e999", { "not \"1e999\"" } },
        { TRAIN "--learning_rate|-1", { "not \"-1\"" } },
        { TRAIN "--lr_scheduler|cosin", { "one of constant, constant_with_warmup, linear, cosine, cosine_with_restarts", "not \"cosin\"" } },
        { TRAIN "--lr_scheduler|", { "--lr_scheduler", "was expected" } },
        { TRAIN "--lr_warmup_steps|100%", { "--lr_warmup_steps", "100%" } },
        { TRAIN "--lr_warmup_steps|1.5", { "not \"1.5\"" } },
        { TRAIN "--resolution|512*512", { "WIDTH,HEIGHT", "not \"512*512\"" } },
        { TRAIN "--resolution|512x", { "not \"512x\"" } },
        { TRAIN "--text_encoder_lr|1e-4|5e-5", { "--text_encoder_lr: one value was expected, or the same again, not 5e-5" } },
        { TRAIN "-network_dim|8", { "-network_dim: no such option; --network_dim is" } },
        { TRAIN "--resolution|512,", { "not \"512,\"" } },
        { TRAIN "--resolution|512,4", { "from 8 to 4096" } },
        { TRAIN "--network_args|rank=4", { "--network_args", "conv_dim, conv_alpha", "not \"rank=4\"" } },
        { TRAIN "--network_args|conv_dim", { "not \"conv_dim\"" } },
        { TRAIN "--network_args", { "--network_args", "KEY=VALUE" } },
        { TRAIN "--conv_dim|4|--network_args|conv_dim=4", { "--conv_dim", "given twice" } },
        { TRAIN "stray", { "\"stray\"", "no option" } },
        { TRAIN "--network_train_unet_only|--network_train_text_encoder_only", { "--network_train_unet_only", "nothing is left" } },
        { TRAIN "--network_train_unet_only|--unet_lr|0", { "--learning_rate", "above 0" } },
        { TRAIN "--enable_bucket|--min_bucket_reso|512|--max_bucket_reso|256", { "256", "not 512" } },
        { TRAIN "--noise_offset_random_strength", { "--noise_offset_random_strength", "--noise_offset alone" } },
        { TRAIN "--adaptive_noise_scale|0.1", { "--adaptive_noise_scale", "--noise_offset alone" } },
        { TRAIN "--output_name|a/b", { "--output_name", "\"a/b\"", "--output_dir" } },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        TrainConfig config;
        err("nothing was refused");
        check_refused(&cases[k], parse(&train_command, &config, cases[k].line) ? -1 : train_config_check(&config));
    }
}

static void test_sample_refused(void **state)
{
    (void)state;
    static const Refusal cases[] = {
        { "--prompt|x", { "--model", "required" } },
        { "m", { "--prompt", "--from_file" } },
        { "m|--prompt|x|--from_file|f", { "--prompt", "--from_file" } },
        { "m|n|--prompt|x", { "\"n\"" } },
        { "-m|m|--prompt|x", { "-m: no such option" } },
        { "m|--model|n|--prompt|x", { "--model", "given twice" } },
        { "m|--prompt|x|--compare", { "--compare", "--lora" } },
        { "m|--prompt|x|-width=96", { "-width=96: no such option; --width is (In pixels)" } },
        { "m|--prompt|x|--sampler|k_dpm_2", { "expected, not \"k_dpm_2\"", "one of DDIM, Euler, Euler a, DPM++ 2M was" } },
        { "m|--prompt|x|--sampler|DPM++ 2", { "DDIM, Euler, Euler a, DPM++ 2M" } },
        { "m|--prompt|x|--seed|-2", { "--seed", "-1 to 4294967295" } },
        { "m|--prompt|x|--step|4", { "nearest is --steps" } },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        SampleConfig config;
        err("nothing was refused");
        check_refused(&cases[k], parse(&sample_command, &config, cases[k].line) ? -1 : sample_config_check(&config));
    }
    char line[512] = "m|--prompt|x";
    for (int k = 0; k <= MAX_TEXTS; k++) strcat(line, "|--lora=a");
    char        *argv[MAX_WORDS];
    SampleConfig config;
    assert_int_equal(options_parse(&sample_command, &config, split(argv, line), argv), -1);
    assert_non_null(strstr(err_text(), "16 times at most"));

    static char long_prompt[MAX_PROMPT + 1];
    memset(long_prompt, 'x', MAX_PROMPT);
    config = sample_of("m|--prompt|x");
    config.prompt = long_prompt;
    assert_int_equal(sample_config_check(&config), -1);
}

/* Of other programs: what changes nothing here is passed over with its words, what would is refused, and no row hides an option or a later row. */
static void test_foreign(void **state)
{
    (void)state;
    TrainConfig c = train_of(TRAIN "--network_module=networks.lora|--xformers|--cache_latents|--mixed_precision|fp16|--clip-skip=2|"
                                   "--multires_noise_iterations|0|--noise_offset|0.0|--save_model_as|safetensors|"
                                   "--max_token_length=225|--optimizer_type|adamw8bit|--network_dim|8");
    assert_int_equal(c.optimizer_type, OPTIMIZER_ADAMW), assert_int_equal(c.network_dim, 8), assert_int_equal(train_config_source(&c).clip_skip, 2);
    assert_int_equal(train_config_chunks(&c), 3);
    c = train_of(TRAIN "--lr_scheduler|cosine_with_restarts|--lr_scheduler_num_cycles|3");
    assert_int_equal(c.lr_scheduler, LR_COSINE_WITH_RESTARTS), assert_int_equal(c.lr_scheduler_num_cycles, 3);

    static const Refusal train[] = {
        { TRAIN "--network_module|lycoris.kohya", { "--network_module lycoris.kohya: not here", "networks.lora" } },
        { TRAIN "--reg_data_dir=reg|--quiet", { "--reg_data_dir reg: not here", "--train_data_dir" } },
        { TRAIN "--optimizer_type|Prodigy", { "--optimizer_type Prodigy", "--unet_lr 1e-4" } },
        { TRAIN "--optimizer_args|decouple=True|use_bias_correction=True", { "--optimizer_args decouple=True", "--weight_decay" } },
        { TRAIN "--multires_noise_iterations|6|--seed|1", { "--multires_noise_iterations 6", "--noise_offset" } },
        { TRAIN "--xformers|--netwrok_dim|4", { "nearest is --network_dim" } },
        { TRAIN "--clip_skip", { "--clip_skip: N was expected" } },
        { TRAIN "--clip_skip|0", { "--clip_skip", "from 1 to 12" } },
    };
    for (size_t k = 0; k < sizeof train / sizeof *train; k++) check_refused(&train[k], parse(&train_command, &c, train[k].line));
    static const Refusal sample[] = {
        { "m|--prompt|x|--H|96", { "--H 96: not here", "--height" } },
        { "m|--prompt|x|--guidance-scale=3", { "--cfg_scale" } },
        { "m|--prompt|x|--hr_upscaler|Latent", { "--hr_upscaler Latent", "--width" } },
    };
    SampleConfig s;
    for (size_t k = 0; k < sizeof sample / sizeof *sample; k++) check_refused(&sample[k], parse(&sample_command, &s, sample[k].line));
    assert_null(options_find(&train_command, "xformers")), assert_non_null(strstr(err_text(), "is no option here: attention"));

    const Command *const commands[] = { &train_command, &sample_command };
    for (int n = 0; n < 2; n++)
        for (const Foreign *row = commands[n]->foreign; row->name; row++) {
            bool last = true;                           /* of its name: then it is about every value */
            for (const Foreign *later = row + 1; later->name; later++) last = last && strcmp(later->name, row->name);
            for (int k = 0; k < commands[n]->count; k++) {
                const Option *option = &commands[n]->options[k];
                bool          ours = option->name && (!strcmp(option->name, row->name) || (option->alias && !strcmp(option->alias, row->name)));
                if (ours) last = false, assert_true(option->kind == OPT_CHOICE && row->values);
            }
            if (last == !!row->values) fail_msg("--%s: %s", row->name, row->values ? "its last row is not about every value" : "a row behind it is never met");
        }
}

/* What would have no effect is off, as it is not given: a state, a report and the metadata say so, too. */
static void test_unused(void **state)
{
    (void)state;
    TrainConfig c = train_of(TRAIN "--min_bucket_reso|512|--max_bucket_reso|256|--bucket_reso_steps|64|--bucket_no_upscale|--lr_warmup_steps|10%|"
                                   "--lr_scheduler_num_cycles|3|--sample_prompts|p.txt");
    assert_true(!c.sample_prompts && !c.min_bucket_reso && !c.max_bucket_reso && !c.bucket_reso_steps && !c.bucket_no_upscale);
    assert_true(c.lr_warmup_steps == 0 && c.lr_scheduler_num_cycles == 1);
    c = train_of(TRAIN "--enable_bucket|--min_bucket_reso|256|--max_bucket_reso|512|--bucket_reso_steps|64|--bucket_no_upscale|--lr_warmup_steps|10%|"
                       "--lr_scheduler_num_cycles|3|--lr_scheduler|cosine_with_restarts|--sample_prompts|p.txt|--sample_at_first");
    assert_true(c.sample_prompts && c.min_bucket_reso == 256 && c.max_bucket_reso == 512 && c.bucket_reso_steps == 64 && c.bucket_no_upscale);
    assert_true(c.lr_warmup_steps == 0.1 && c.lr_scheduler_num_cycles == 3);
}

/* Names that other programs have for the same. */
static void test_other_names(void **state)
{
    (void)state;
    static const struct { const char *name; SamplerKind kind; } samplers[] = {
        { "ddim", SAMPLER_DDIM },       { "k_euler", SAMPLER_EULER },         { "euler_a", SAMPLER_EULER_A },       { "k_euler_a", SAMPLER_EULER_A },
        { "Euler", SAMPLER_EULER },     { "euler_ancestral", SAMPLER_EULER_A }, { "dpmsolver++", SAMPLER_DPMPP_2M }, { "dpmpp_2m", SAMPLER_DPMPP_2M },
        { "dpm++2m", SAMPLER_DPMPP_2M }, { "k_dpmpp_2m", SAMPLER_DPMPP_2M },   { "DPM++ 2M Karras", SAMPLER_DPMPP_2M },
    };
    char line[256];
    for (size_t k = 0; k < sizeof samplers / sizeof *samplers; k++) {
        snprintf(line, sizeof line, "m|--prompt|x|--sampler|%s", samplers[k].name);
        assert_int_equal(sample_of(line).sampler_name, samplers[k].kind);
        snprintf(line, sizeof line, TRAIN "--sample_sampler|%s", samplers[k].name);
        assert_int_equal(train_of(line).sample_sampler, samplers[k].kind);
    }
    TrainConfig c = train_of(TRAIN "--resolution|512x768|--text_encoder_lr|5e-5|0.00005|--seed|1");
    assert_true(c.resolution[0] == 512 && c.resolution[1] == 768 && c.text_encoder_lr == 5e-5 && c.seed == 1);
}

/* Two rows never share a place, and every number's range is a range. */
static void test_table(void **state)
{
    (void)state;
    const Command *const commands[] = { &train_command, &sample_command };
    for (int n = 0; n < 2; n++)
        for (int a = 0; a < commands[n]->count; a++) {
            const Option *row = &commands[n]->options[a];
            assert_true(!row->group == !!row->name);
            if (!row->name) continue;
            assert_non_null(row->help);
            assert_true(row->offset < commands[n]->size);
            assert_true(row->high >= row->low || row->kind == OPT_FLAG);
            for (int b = 0; b < a; b++) {
                const Option *other = &commands[n]->options[b];
                if (!other->name) continue;
                assert_string_not_equal(row->name, other->name);
                if (row->kind != OPT_PAIRS && other->kind != OPT_PAIRS) assert_true(row->offset != other->offset);
            }
        }
}

static void test_help(void **state)
{
    (void)state;
    const Command *const commands[] = { &train_command, &sample_command };
    for (int n = 0; n < 2; n++) {
        char  *text;
        size_t size;
        FILE  *out = open_memstream(&text, &size);
        options_help(out, commands[n]);
        fclose(out);
        for (int k = 0; k < commands[n]->count; k++) {
            char name[64];
            if (!commands[n]->options[k].name) continue;
            snprintf(name, sizeof name, "\n  --%s", commands[n]->options[k].name);
            if (!strstr(text, name)) fail_msg("the help of %s does not name %s", commands[n]->name, name);
        }
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
            if (strlen(line) > 100 || line[strlen(line) - 1] == ' ') fail_msg("too long, or ends with a space: %s", line);
        free(text);
    }
}

static void test_help_about(void **state)
{
    (void)state;
    static const struct { const char *line, *says; } cases[] = {
        { "train", "--network_dim" }, { "sample", "--cfg_scale" }, { "train|network-alpha", "alpha/rank" }, { "sample|--seed", "noise" },
    };
    static const Refusal refused[] = {
        { "tran", { "train, plan, sample, info, convert, merge, resize, extract, selftest or devices" } },
        { "train|netwrk_dim", { "nearest is --network_dim" } },
        { "train|seed|more", { "\"more\"" } },
    };
    char *argv[MAX_WORDS], *text;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        size_t size;
        FILE  *out = open_memstream(&text, &size);
        assert_int_equal(help_about(out, split(argv, cases[k].line), argv), 0);
        fclose(out);
        assert_non_null(strstr(text, cases[k].says));
        free(text);
    }
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) check_refused(&refused[k], help_about(stdout, split(argv, refused[k].line), argv));
}

static void test_docs(void **state)
{
    (void)state;
    char  *want, got[65536];
    size_t size;
    FILE  *out = open_memstream(&want, &size);
    help_docs(out);
    fclose(out);
    FILE  *file = fopen("docs/cli.md", "rb");
    size_t read = file ? fread(got, 1, sizeof got, file) : 0;
    if (file) fclose(file);
    if (read != size || memcmp(got, want, size)) fail_msg("docs/cli.md is not what `./sdlora docs >docs/cli.md` writes");
    free(want);
}

static void test_prompt_line(void **state)
{
    (void)state;
    SampleConfig config = sample_of("m|--from_file|f|--negative_prompt|bad|--width|64|--height|96");
    PromptLine   line = prompt_line_of(&config);
    assert_int_equal(prompt_line_parse(&line, "mochi, face, forest --d 1000\n", "f", 1), 1);
    assert_string_equal(line.prompt, "mochi, face, forest"), assert_string_equal(line.negative_prompt, "bad");
    assert_true(line.seed == 1000 && line.width == 64 && line.height == 96 && line.steps == 20 && line.cfg_scale == 7);

    assert_int_equal(prompt_line_parse(&line, "  a--b, c  --n low, bad  --w 512 --h 768 --s 30 --l 7.5 --d 7 \r\n", "f", 2), 1);
    assert_string_equal(line.prompt, "a--b, c"), assert_string_equal(line.negative_prompt, "low, bad");
    assert_true(line.seed == 7 && line.width == 512 && line.height == 768 && line.steps == 30 && line.cfg_scale == 7.5);

    assert_int_equal(prompt_line_parse(&line, "--s 5", "f", 3), 1);
    assert_string_equal(line.prompt, "a--b, c"), assert_int_equal(line.steps, 5);
    assert_int_equal(prompt_line_parse(&line, "# a comment", "f", 4), 0);
    assert_int_equal(prompt_line_parse(&line, " \n", "f", 5), 0);

    static const Refusal refused[] = {
        { "x --g 3", { "f:9", "--g 3", "--n, --w, --h, --d, --s, --l" } }, { "x --w", { "--w" } }, { "x --w 7", { "width", "from 8 to 4096", "\"7\"" } },
        { "x --s 1.5", { "steps", "a whole number" } }, { "x --l nan", { "cfg_scale", "\"nan\"" } }, { "x --d 1 --d 2", { "--d", "given twice" } },
        { "x --", { "f:9" } }, { "x --seed 4", { "--seed 4" } }, { "x --d -1", { "seed" } },
    };
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) check_refused(&refused[k], prompt_line_parse(&line, refused[k].line, "f", 9));
    static char text[MAX_PROMPT + 8];
    memset(text, 'x', MAX_PROMPT);
    assert_int_equal(prompt_line_parse(&line, text, "f", 9), -1);
    text[MAX_PROMPT - 1] = 0;
    assert_int_equal(prompt_line_parse(&line, text, "f", 9), 1);
}

static void test_lora_argument(void **state)
{
    (void)state;
    static const struct { const char *text, *path; double weight; } cases[] = {
        { "a.safetensors", "a.safetensors", 1 }, { "a:0.5", "a", 0.5 }, { "b:c:-1", "b:c", -1 }, { "b:c", "b:c", 1 }, { "b:", "b:", 1 },
        { "a:nan", "a:nan", 1 },
    };
    char   path[32];
    double weight;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        assert_int_equal(lora_argument(path, sizeof path, &weight, cases[k].text), 0);
        assert_string_equal(path, cases[k].path);
        assert_true(weight == cases[k].weight);
    }
    assert_int_equal(lora_argument(path, sizeof path, &weight, ":0.5"), -1);
    assert_int_equal(lora_argument(path, sizeof path, &weight, ""), -1);
    assert_int_equal(lora_argument(path, sizeof path, &weight, "12345678901234567890123456789012"), -1);
    assert_int_equal(lora_argument(path, sizeof path, &weight, "1234567890123456789012345678901"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_defaults), cmocka_unit_test(test_train_values), cmocka_unit_test(test_sample_values),
        cmocka_unit_test(test_train_refused),  cmocka_unit_test(test_sample_refused), cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_unused),         cmocka_unit_test(test_other_names),   cmocka_unit_test(test_table),
        cmocka_unit_test(test_help),           cmocka_unit_test(test_help_about),   cmocka_unit_test(test_docs),
        cmocka_unit_test(test_prompt_line),    cmocka_unit_test(test_lora_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
