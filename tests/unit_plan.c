/* `sdlora plan`: what it foretells is what a trainer then takes, to the byte; its page for the portrait job is the one in docs. */
#include "train/plan.h"
#include "ops/null_count.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 3; i++) job_picture("data/2_a", i, 16, 16);
    for (int i = 0; i < 4; i++) job_picture("data/3_b", i, 20, 24);
    return 0;
}

enum { PAGE = 1 << 14 };

/* The status of `sdlora plan` with these options, and, in text, what it prints. */
static int plan(char text[PAGE], const char *options)
{
    char       args[4096], *argv[JOB_WORDS];
    PlanConfig config;
    FILE      *out = fmemopen(text, PAGE, "w");
    int        words = job_words(argv, args, options);
    *text = 0;
    assert_non_null(out);
    int status = options_parse(&plan_command, &config, words, argv) || plan_config_check(&config) || plan_run(&config, out) ? -1 : 0;
    fclose(out);
    toml_close(config.train.config_file);
    return status;
}

/* The page, to be freed. */
static char *page(const char *options)
{
    char *text = malloc(PAGE);
    assert_non_null(text);
    if (plan(text, options)) fail_msg("%s: %s", options, err_text());
    return text;
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("\"%s\" is not in:\n%s", part, text);
}

/* The number behind this word at the start of a line. */
static size_t kind(const char *text, const char *word)
{
    char   line[64];
    size_t bytes = 0;
    snprintf(line, sizeof line, "\n  %s", word);
    const char *at = strstr(text, line);
    if (at) sscanf(at + strlen(line), "%zu", &bytes);
    return bytes;
}

/* ---- memory ---- */

static void check_memory(const char *options)
{
    char        args[4096], line[1024];
    Trainer     t;
    TrainReport report;
    TrainConfig config = job_train(args, options);
    if (trainer_open(&t, &config)) fail_msg("%s: %s", options, err_text());
    for (int k = 0; k < 3; k++)
        if (trainer_step(&t, &report)) fail_msg("%s", err_text());
    snprintf(line, sizeof line, "%s --model %s --train_data_dir @/data", options, config.pretrained_model_name_or_path);
    char         *text = page(line);
    const Arena  *arena = &t.pipeline.tape.arena;
    const Params *p = &t.lora.params;
    size_t        work = p->work.p == p->w.p ? 0 : type_size(p->work.type), weights = 0;
    const Weights *part[] = { &t.pipeline.model.clip.weights, &t.pipeline.model.unet.weights, &t.pipeline.model.vae.weights };
    for (int k = 0; k < 3; k++) weights += weights_bytes(part[k]);
    assert_int_equal(kind(text, "activations") + kind(text, "scratch") + kind(text, "before"), arena->peak_bottom);
    assert_int_equal(kind(text, "gradients"), arena->peak_top);
    assert_int_equal(kind(text, "weights"), weights);
    assert_int_equal(kind(text, "trainable"), p->count * (4 * type_size(p->w.type) + work));
    assert_true(kind(text, "activations") > 0 && kind(text, "host") > 0);
    free(text);
    trainer_close(&t);
}

static void bytes_are_exact(void **state)
{
    static const char *const options[] = { "", "--set ref64", "--set ref16", "--train_batch_size 3", "--gradient_checkpointing", "--conv_dim 3 --network_dim 9",
                                           "--network_train_unet_only", "--network_train_text_encoder_only", "--resolution 24,16 --train_batch_size 2",
                                           "--set ref16 --gradient_checkpointing --network_train_unet_only --resolution 32" };
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) check_memory(options[i]);
}

/* Pictures of the model's size that are not there are planned as those that are. */
static void counts_stand_for_pictures(void **state)
{
    char *there = page("--model golden/parity/a/model --train_data_dir @/data --resolution 16 --max_train_epochs 3 --train_batch_size 2 --rate 0.5");
    char *counted = page("--model golden/parity/a/model --images 3x2,4x3 --resolution 16 --max_train_epochs 3 --train_batch_size 2 --rate 0.5");
    (void)state;
    has(counted, "7 of 16x16: 3 shown 2 times, 4 shown 3 times: 18 samples an epoch\n");
    assert_string_equal(strstr(there, "\nLoRA"), strstr(counted, "\nLoRA"));
    has(there, "18 samples in 9 batches of up to 2: 9 steps\n");
    has(there, "the run      27 steps: 3 epochs\n");
    has(there, "at 0.5 steps/s 0 h 00 min: 54 s\n");
    free(there), free(counted);
}

/* ---- work ---- */

static double work(TapeMode mode, int n, const LoraRules *rules, StepCost *cost)
{
    assert_int_equal(step_cost(cost, &(ModelSource){ .path = "golden/tiny-sd" }, set_open("ref"), rules, n, 12, 8, 77, 1, mode), 0);
    return cost->forward + cost->backward;
}

/* Twice the batch, twice the work; checkpointing runs the blocks, nearly all of the forward pass, once more; a frozen text encoder is not in it. */
static void work_adds_up(void **state)
{
    const LoraRules all = { 4, 0, 4, 1, 1, 1 }, unet = { 4, 0, 4, 1, 1, 0 };
    StepCost        one, two, again, less;
    (void)state;
    double a = work(TAPE_TRAIN, 1, &all, &one), b = work(TAPE_TRAIN, 2, &all, &two), c = work(TAPE_CHECKPOINT, 1, &all, &again);
    work(TAPE_TRAIN, 1, &unet, &less);
    if (!(fabs(b / a - 2) < 0.01)) fail_msg("two images: %g times one", b / a);
    if (!(again.forward == one.forward && c - a > 0.9 * one.forward && c - a < one.forward)) fail_msg("again: %g of %g", c - a, one.forward);
    assert_true(one.backward > one.forward && one.backward < 2.2 * one.forward);
    assert_true(less.backward < one.backward && less.update < one.update && less.forward < one.forward);
    assert_true(one.update == two.update && one.update > 0);
}

/* ---- the pages ---- */

/* As its first line says it was made. */
static void the_portrait_plan_is_the_one_in_docs(void **state)
{
    static const char prompt[] = "$ sdlora plan ";
    char             *want = file_read("docs/examples/portrait-2080.plan.txt", 1 << 16, NULL), options[512] = "";
    (void)state;
    assert_non_null(want);
    assert_int_equal(strncmp(want, prompt, strlen(prompt)), 0);
    char *end = strchr(want, '\n');
    snprintf(options, sizeof options, "%.*s", (int)(end - want) - (int)strlen(prompt), want + strlen(prompt));
    char *got = page(options);
    assert_string_equal(got, end + 1);
    has(got, "the run      177500 steps: 50 epochs\n");
    has(got, "fits         8GB: yes");
    free(want), free(got);
}

/* The numbers of diffusers' and transformers' own models: golden/... of the built-in configurations are held against these in unit_checkpoint. */
static void says_what_fits(void **state)
{
    char *text = page("--model sd15 --resolution 512,768 --gradient_checkpointing --vram 24GB");
    (void)state;
    has(text, "fits         24GB: yes");
    has(text, "264 modules: 192 in the UNet, 72 in the text encoder\n");
    has(text, ": activations f32, frozen weights f16 as they are stored, parameters f32\n");
    assert_null(strstr(text, "an epoch"));               /* no pictures, no steps */
    free(text);
    text = page("--model sd15 --clip_skip 2");
    has(text, "texts are read from layer 11 of the text encoder's 12: clip skip 2\n");
    has(text, "             6 of these behind the layer that is read");
    free(text);
    text = page("--model sd15 --resolution 512,768 --vram 2048MB");
    has(text, "fits         2048MB: no");
    free(text);
    text = page("--model golden/parity/a/model --vram 1 --set ref16");
    has(text, "ref16: activations f16, frozen weights f16, parameters f32\n");
    has(text, "fits         1GB: yes");
    free(text);
}

static void refusals(void **state)
{
    static const struct { const char *options, *text; } cases[] = {
        { "", "--model: a folder, or sd15" },
        { "--model sd16", "is not enough); --model sd15 needs no files" },
        { "--model sd15 --train_data_dir @/nothing", "--images 96x10,259x10 needs none" },
        { "--model sd15 --vram much", "--vram: a card's memory was expected" },
        { "--model golden/tiny-sd --clip_skip 3", "--clip_skip 3: at most 2 was expected, the layers of this model's text encoder" },
        { "--model sd15 --vram 0GB", "--vram" },
        { "--model sd15 --vram 8TB", "--vram" },
        { "--model sd15 --images 96", "96: pictures x repeats" },
        { "--model sd15 --images 96x", "pictures x repeats" },
        { "--model sd15 --images 0x10", "pictures x repeats" },
        { "--model sd15 --images 96x10,", "pictures x repeats" },
        { "--model sd15 --images 96x10;3x1", "pictures x repeats" },
        { "--model sd15 --images -1x10", "pictures x repeats" },
        { "--model sd15 --images 99999999x1", "pictures x repeats" },
        { "--model sd15 --images 1000000x1000000", "samples in an epoch" },
        { "--model sd15 --images 1x1 --resolution 100", "multiples of 64" },
        { "--model sd15 --set none", "none: no such kernel set" },
        { "--model sd15 --rate 0", "--rate" },
        { "--model sd15 --network_dmi 4", "nearest is --network_dim" },
        { "--model sd15 --network_train_unet_only --network_train_text_encoder_only", "nothing is left to train" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[PAGE];
        if (plan(text, cases[i].options) == 0) fail_msg("%s: not refused:\n%s", cases[i].options, text);
        has(err_text(), cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(bytes_are_exact), cmocka_unit_test(counts_stand_for_pictures), cmocka_unit_test(work_adds_up),
                                        cmocka_unit_test(the_portrait_plan_is_the_one_in_docs), cmocka_unit_test(says_what_fits), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
