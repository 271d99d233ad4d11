/* unit_config_file.c - --config_file: options from a TOML file, the command line above it, and what is refused in which words; the files of docs/examples. */
#include "base/err.h"
#include "cli/options.h"
#include "tmp.h"
#include "train/config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Options from `text` as a settings file, under the words after it, ended by NULL. */
static int parse(TrainConfig *config, const char *text, char *const *words)
{
    char       *argv[16] = { "--config_file", (char *)tmp_path("s.toml") };
    int         argc = 2;
    const char *path = argv[1];
    assert_int_equal(file_write(path, text, strlen(text)), 0);
    while (*words) argv[argc++] = *words++;
    err("nothing was refused");
    return options_parse(&train_command, config, argc, argv);
}
#define WORDS(...) (char *const[]){ __VA_ARGS__, NULL }

static void test_values(void **state)
{
    TrainConfig c;
    (void)state;
    static const char text[] = "model = 'm'\n[pictures]\ntrain-data-dir = \"d\"\nresolution = [512, 768]\nshuffle_caption = true\nenable_bucket = false\n"
                               "alpha_background = [0, 0, 255]\ncaption_tag_dropout_rate = 0.25\n"
                               "[training.rates]\nlearning_rate = 1e-3\nunet_lr = 1\nlr_scheduler = 'cosine'\nlr_warmup_steps = \"5%\"\nseed = 4_294_967_295\n"
                               "[lora]\nnetwork_dim = 0x10\nnetwork_args = [ 'conv_dim=8',\n 'conv_alpha=4' ]\n[saving]\noutput_name = 'a \"b\"'\n";
    if (parse(&c, text, WORDS("--quiet"))) fail_msg("%s", err_text());
    assert_string_equal(c.pretrained_model_name_or_path, "m"), assert_string_equal(c.train_data_dir, "d"), assert_string_equal(c.output_name, "a \"b\"");
    assert_true(c.resolution[0] == 512 && c.resolution[1] == 768 && c.shuffle_caption && !c.enable_bucket && c.quiet && c.alpha_background == 255);
    assert_true(c.learning_rate == 1e-3 && c.unet_lr == 1 && c.text_encoder_lr == -1 && c.lr_warmup_steps == 0.05 && c.seed == 4294967295);
    assert_true(c.network_dim == 16 && c.conv_dim == 8 && c.conv_alpha == 4 && c.network_alpha == 1 && c.lr_scheduler == LR_COSINE);
    assert_true(c.caption_tag_dropout_rate == 0.25 && c.max_train_steps == 1600);
    toml_close(c.config_file);

    if (parse(&c, "resolution = 64\nconv_dim = 4\n", WORDS("--model", "m", "--train_data_dir", "d"))) fail_msg("%s", err_text());
    assert_true(c.resolution[0] == 64 && c.resolution[1] == 64 && c.conv_dim == 4);
    toml_close(c.config_file);
}

/* As other programs write it: what is off, empty or needless there is no obstacle. */
static void test_foreign(void **state)
{
    TrainConfig c;
    (void)state;
    static const char text[] = "model = 'm'\ntrain_data_dir = 'd'\nresolution = '512,768'\nvae = ''\nresume = ''\nreg_data_dir = ''\noptimizer_args = []\n"
                               "network_module = 'networks.lora'\nnetwork_args = []\nnoise_offset = 0.0\nmasked_loss = false\nclip_skip = 1\nxformers = true\n"
                               "optimizer_type = 'AdamW8bit'\nlr_scheduler_num_cycles = 1\ntext_encoder_lr = [5e-5, 5e-5]\n"
                               "bucket_reso_steps = 64\nepoch = 1\nsample_prompts = 'p.txt'\ndynamo_backend = 'no'\nmax_token_length = 75\nnetwork_dim = 8\n";
    if (parse(&c, text, WORDS("--quiet"))) fail_msg("%s", err_text());
    assert_true(c.resolution[0] == 512 && c.resolution[1] == 768 && !c.vae && !c.resume && c.network_dim == 8 && c.optimizer_type == OPTIMIZER_ADAMW);
    assert_true(c.text_encoder_lr == 5e-5);
    toml_close(c.config_file);
}

/* What the command line says wins, whichever way either of them says it. */
static void test_command_line_wins(void **state)
{
    TrainConfig c;
    (void)state;
    if (parse(&c, "model = 'm'\ntrain_data_dir = 'd'\nnetwork_dim = 4\nnetwork_args = ['conv_dim=4', 'conv_alpha=2']\nshuffle_caption = false\n",
              WORDS("--network_rank", "32", "--conv_dim=16", "--shuffle_caption", "--model", "other")))
        fail_msg("%s", err_text());
    assert_true(c.network_dim == 32 && c.conv_dim == 16 && c.conv_alpha == 2 && c.shuffle_caption);
    assert_string_equal(c.pretrained_model_name_or_path, "other");
    toml_close(c.config_file);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *words[2];
    } cases[] = {
        { "\nnetwrok_dim = 4\n", { "s.toml:2: netwrok_dim: no such option", "nearest is --network_dim" } },
        { "qqqqqq = true\n", { "s.toml:1: qqqqqq: no such option", "none is near" } },
        { "pretrained_model_name_or_path = 'm'\ntrain_data_dir = 'd'\nxformers = true\nreg_data_dir = 'reg'\n", { "s.toml:4: reg_data_dir reg: not here" } },
        { "optimizer_type = 'Prodigy'\n", { "s.toml:1: optimizer_type Prodigy: not here" } },
        { "optimizer_args = ['decouple=True']\n", { "s.toml:1: optimizer_args decouple=True: not here" } },
        { "[a]\n[b]\nnetwork_dim = 0\n", { "s.toml:3: network_dim: a whole number from 1 to 1024", "not \"0\"" } },
        { "network_dim = 4.0\n", { "s.toml:1: network_dim: a whole number", "not \"4.0\"" } },
        { "network_dim = true\n", { "network_dim: a whole number", "not \"true\"" } },
        { "network_dim = [4]\n", { "network_dim: one value was expected, not an array" } },
        { "learning_rate = inf\n", { "learning_rate: a number from 0 to 10", "not \"inf\"" } },
        { "output_name = 2080\n", { "output_name: a text in quotation marks was expected, not 2080" } },
        { "lr_scheduler = 'cosin'\n", { "lr_scheduler: one of constant, ", "not \"cosin\"" } },
        { "shuffle_caption = 1\n", { "shuffle_caption: true or false was expected, not \"1\"" } },
        { "shuffle_caption = 'true'\n", { "shuffle_caption: true or false" } },
        { "resolution = [512]\nresolution = 1\n", { "s.toml:2: resolution: given twice, first in line 1" } },
        { "resolution = [1, 2, 3]\n", { "resolution: WIDTH,HEIGHT", "not \"1,2,3\"" } },
        { "[a]\nkeep_tokens = 1\n[b]\nkeep_tokens = 2\n", { "s.toml:4: keep_tokens: given twice, the second time as 2" } },
        { "network_rank = 4\nnetwork_dim = 4\n", { "s.toml:2: network_dim: given twice" } },
        { "conv_dim = 4\nnetwork_args = ['conv_dim=4']\n", { "s.toml:2: conv_dim: given twice" } },
        { "network_args = [1]\n", { "s.toml:1: network_args: an array of strings" } },
        { "network_args = ['rank=1']\n", { "network_args: KEY=VALUE", "not \"rank=1\"" } },
        { "config_file = 'x'\n", { "s.toml:1: config_file: a settings file names no other one" } },
        { "output_name = mochi\n", { "s.toml:1: output_name: expected a string in quotation marks" } },
        { "train_data_dir = 'd'\n", { "--pretrained_model_name_or_path: is required" } },
    };
    TrainConfig c;
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        assert_int_equal(parse(&c, cases[k].text, WORDS("--quiet")), -1);
        for (int w = 0; w < 2 && cases[k].words[w]; w++)
            if (!strstr(err_text(), cases[k].words[w])) fail_msg("%s: \"%s\" is not in: %s", cases[k].text, cases[k].words[w], err_text());
    }
    char *argv[] = { "--config_file", "/nowhere/s.toml" };
    assert_int_equal(options_parse(&train_command, &c, 2, argv), -1);
    assert_non_null(strstr(err_text(), "/nowhere/s.toml: No such file"));
}

static TrainConfig example_of(char *path)
{
    TrainConfig c;
    char       *argv[] = { "--config_file", path };
    if (options_parse(&train_command, &c, 2, argv) || train_config_check(&c)) fail_msg("%s", err_text());
    return c;
}

static void test_examples(void **state)
{
    (void)state;
    TrainConfig c = example_of("docs/examples/portrait-2080.toml");
    assert_true(c.resolution[0] == 512 && c.resolution[1] == 768 && c.train_batch_size == 1 && c.max_train_epochs == 50 && c.gradient_checkpointing);
    assert_false(is_dir(c.pretrained_model_name_or_path) || is_file(c.pretrained_model_name_or_path));
    toml_close(c.config_file);
    c = example_of("docs/examples/demo.toml");
    assert_true(is_dir(c.pretrained_model_name_or_path) && is_dir(c.train_data_dir));
    assert_true(c.network_dim == 16 && c.conv_dim == 16 && c.max_train_steps == 800 && c.unet_lr == 1e-3 && c.text_encoder_lr == 5e-4);
    toml_close(c.config_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, tmp_open, tmp_close),  cmocka_unit_test_setup_teardown(test_command_line_wins, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_refused, tmp_open, tmp_close), cmocka_unit_test_setup_teardown(test_foreign, tmp_open, tmp_close),
        cmocka_unit_test(test_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
