/* Stopping and going on: a run that was cut in two ends in the same bits as one that was not; states that do not fit are refused. */
#include "train/state.h"
#include "io/hash.h"
#include "io/safetensors.h"
#include "train/run.h"
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

/* @/data: 7 samples an epoch, in two sizes. */
static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 2; i++) job_picture("data/2_a", i, 16, 16);
    for (int i = 0; i < 3; i++) job_picture("data/1_b", i, 32, 8);
    job_picture("other/2_a", 0, 16, 16);
    return 0;
}

/* `sdlora train` with these options, on so many threads. */
static int run(const char *options, int threads)
{
    char        text[4096];
    TrainConfig config = job_train(text, options);
    int         before = omp_get_max_threads();
    omp_set_num_threads(threads);
    int status = train_run(&config);
    omp_set_num_threads(before);
    return status;
}

static void run_well(const char *options, int threads)
{
    if (run(options, threads)) fail_msg("%s: %s", options, err_text());
}

static void assert_same_tensors(const char *a, const char *b)
{
    Safetensors *x = safetensors_open(a), *y = safetensors_open(b);
    if (!x || !y) fail_msg("%s", err_text());
    assert_int_equal(x->count, y->count);
    assert_true(x->count > 0 && x->bytes == y->bytes);
    for (int i = 0; i < x->count; i++) assert_string_equal(x->entry[i].name, y->entry[i].name);
    assert_memory_equal(x->data, y->data, x->bytes);
    safetensors_close(x), safetensors_close(y);
}

/* What the files say under these keys is the same. */
static void assert_same_metadata(const char *a, const char *b, const char *const *key)
{
    Safetensors *x = safetensors_open(a), *y = safetensors_open(b);
    if (!x || !y) fail_msg("%s", err_text());
    for (; *key; key++) {
        const char *left = safetensors_meta(x, *key), *right = safetensors_meta(y, *key);
        if (!left || !right) fail_msg("%s: %s: there is none", left ? b : a, *key);
        assert_string_equal(left, right);
    }
    safetensors_close(x), safetensors_close(y);
}

/* Every column of two lines is the same to the letter, but the seconds, and the average, which goes on from the losses as printed, to six digits. */
static void assert_same_line(char *left, char *right)
{
    enum { AVERAGE = 3, SECONDS = 7 };
    for (int column = 0; left || right; column++) {
        assert_true(left && right);
        const char *a = strsep(&left, ","), *b = strsep(&right, ",");
        if (column == SECONDS) continue;
        if (column != AVERAGE) assert_string_equal(a, b);
        else if (!(fabs(atof(a) - atof(b)) <= 1.01e-5 * atof(a))) fail_msg("average %s, want %s", b, a);
    }
}

static void assert_same_log(const char *a, const char *b, int steps)
{
    char *x = file_read(a, 1 << 20, NULL), *y = file_read(b, 1 << 20, NULL), *left, *right, *end[2];
    assert_true(x && y);
    left = strtok_r(x, "\n", &end[0]), right = strtok_r(y, "\n", &end[1]);
    assert_string_equal(left, right);
    for (int k = 1; k <= steps; k++) {
        left = strtok_r(NULL, "\n", &end[0]), right = strtok_r(NULL, "\n", &end[1]);
        assert_true(left && right);
        assert_int_equal(atoi(left), k);
        assert_same_line(left, right);
    }
    assert_true(!strtok_r(NULL, "\n", &end[0]) && !strtok_r(NULL, "\n", &end[1]));
    free(x), free(y);
}

/* ---- going on ---- */

/* Ten steps at once on one thread, and the same in two parts, the second on two threads and with checkpointing. */
static void check_resume(const char *options, int cut)
{
    static const char *const of_lora[] = { "ss_steps", "ss_epoch", "sshs_model_hash", NULL };
    static const char *const of_state[] = { "step", "epoch", "batch", "pictures", NULL };
    char                     line[1024];
    snprintf(line, sizeof line, "%s --output_dir @/whole --save_state --max_train_steps 10", options);
    run_well(line, 1);
    snprintf(line, sizeof line, "%s --output_dir @/parts --save_state --max_train_steps %d", options, cut);
    run_well(line, 1);
    snprintf(line, sizeof line, "%s --output_dir @/parts --save_state --max_train_steps 10 --resume @/parts/lora-state --gradient_checkpointing", options);
    run_well(line, 2);
    assert_same_tensors(tmp_path("whole/lora.safetensors"), tmp_path("parts/lora.safetensors"));
    assert_same_metadata(tmp_path("whole/lora.safetensors"), tmp_path("parts/lora.safetensors"), of_lora);
    assert_same_tensors(tmp_path("whole/lora-state/state.safetensors"), tmp_path("parts/lora-state/state.safetensors"));
    assert_same_metadata(tmp_path("whole/lora-state/state.safetensors"), tmp_path("parts/lora-state/state.safetensors"), of_state);
    assert_same_log(tmp_path("whole/log.csv"), tmp_path("parts/log.csv"), 10);
    assert_int_equal(tmp_remove(tmp_path("whole")), 0);
    assert_int_equal(tmp_remove(tmp_path("parts")), 0);
}

static void a_resumed_run_ends_in_the_same_bits(void **state)
{
    (void)state;
    check_resume("", 3);                                                        /* inside the first epoch, across its end */
    check_resume("--enable_bucket --train_batch_size 2 --shuffle_caption --caption_dropout_rate 0.3 --min_snr_gamma 5", 4);  /* at an epoch's end */
    check_resume("--gradient_accumulation_steps 3 --conv_dim 2 --seed 7 --noise_offset 0.1 --noise_offset_random_strength --clip_skip 2", 5);
    check_resume("--network_train_text_encoder_only --lr_scheduler constant_with_warmup --lr_warmup_steps 6", 9);
    check_resume("--set ref64 --network_train_unet_only", 1);
}

/* Of the states that a run leaves on its way, each leads to the same end, under a falling rate too; --save_every_n_epochs writes at an epoch's end. */
static void states_on_the_way(void **state)
{
    (void)state;
    static const char *const marks[] = { "-step00000004", "-000001", "-step00000008" };
    static const char common[] = "--save_state --max_train_steps 10 --lr_scheduler cosine --lr_warmup_steps 20%";
    char              line[1024], name[64];
    snprintf(line, sizeof line, "%s --output_dir @/whole --save_every_n_steps 4 --save_every_n_epochs 1", common);
    run_well(line, 2);
    for (int k = 0; k < 3; k++) {
        snprintf(name, sizeof name, "whole/lora%s.safetensors", marks[k]);
        assert_true(is_file(tmp_path(name)));
        snprintf(line, sizeof line, "%s --output_dir @/parts --resume @/whole/lora%s-state/state.safetensors", common, marks[k]);
        run_well(line, 1);
        assert_same_tensors(tmp_path("whole/lora.safetensors"), tmp_path("parts/lora.safetensors"));
        assert_same_tensors(tmp_path("whole/lora-state/state.safetensors"), tmp_path("parts/lora-state/state.safetensors"));
        assert_int_equal(tmp_remove(tmp_path("parts")), 0);
    }
    assert_int_equal(tmp_remove(tmp_path("whole")), 0);
}

/* A file that cannot be written, behind a step that was good: what was learned is saved, the message says where, and the run goes on from there. */
static void nothing_learned_is_lost(void **state)
{
    (void)state;
    static const char common[] = "--max_train_steps 6 --sample_prompts @/prompts.txt --sample_every_n_steps 4";
    char line[256], *at = NULL;
    assert_int_equal(file_write(tmp_path("prompts.txt"), "thing --s 1\n", 12), 0);
    snprintf(line, sizeof line, "%s --output_dir @/whole", common);
    run_well(line, 1);
    assert_int_equal(dir_make(tmp_path("parts")), 0);
    assert_int_equal(file_write(tmp_path("parts/sample"), "", 0), 0);           /* no folder for previews */
    snprintf(line, sizeof line, "%s --output_dir @/parts", common);
    assert_int_equal(run(line, 1), -1);
    if (!strstr(err_text(), "parts/sample") || !(at = strstr(err_text(), ": saved in "))) fail_msg("%s", err_text());
    assert_string_equal(at + strlen(": saved in "), tmp_path("parts/lora-step00000004.safetensors"));
    assert_true(is_file(tmp_path("parts/lora-step00000004.safetensors")));
    assert_int_equal(unlink(tmp_path("parts/sample")), 0);
    snprintf(line, sizeof line, "%s --output_dir @/parts --resume @/parts/lora-step00000004-state", common);
    run_well(line, 1);
    assert_same_tensors(tmp_path("whole/lora.safetensors"), tmp_path("parts/lora.safetensors"));
    assert_int_equal(tmp_remove(tmp_path("whole")), 0);
    assert_int_equal(tmp_remove(tmp_path("parts")), 0);

    assert_int_equal(dir_make(tmp_path("parts/lora-step00000003.safetensors")), 0);        /* where the LoRA itself has no place it is said once */
    assert_int_equal(run("--output_dir @/parts --max_train_steps 6 --save_every_n_steps 3", 1), -1);
    if (!strstr(err_text(), "lora-step00000003.safetensors") || strstr(err_text(), "(and")) fail_msg("%s", err_text());
    assert_int_equal(tmp_remove(tmp_path("parts")), 0);
}

/* ---- states that do not fit ---- */

static void check_refused(const char *options, const char *text)
{
    char line[1024];
    snprintf(line, sizeof line, "--output_dir @/on %s%s", options, strstr(options, "max_train_steps") ? "" : " --max_train_steps 9");
    assert_int_equal(run(line, 1), -1);
    if (!strstr(err_text(), text) || strchr(err_text(), '\n')) fail_msg("%s: \"%s\" does not say \"%s\"", options, err_text(), text);
    assert_false(is_file(tmp_path("on/lora.safetensors")));
}

static void another_run_is_refused(void **state)
{
    (void)state;
    static const struct { const char *options, *key; } cases[] = {
        { "--seed 8", "seed" },
        { "--set ref64", "set" },
        { "--resolution 20,16", "resolution" },
        { "--enable_bucket", "buckets" },
        { "--network_dim 5", "network_dim" },
        { "--network_alpha 2", "network_alpha" },
        { "--conv_dim 2", "conv_dim" },
        { "--network_train_unet_only", "modules" },
        { "--train_batch_size 2", "train_batch_size" },
        { "--gradient_accumulation_steps 2", "gradient_accumulation_steps" },
        { "--unet_lr 2e-4", "unet_lr" },
        { "--text_encoder_lr 2e-4", "text_encoder_lr" },
        { "--lr_scheduler cosine", "lr_scheduler" },
        { "--adam_beta2 0.99", "adam" },
        { "--max_grad_norm 0", "max_grad_norm" },
        { "--min_snr_gamma 5", "min_snr_gamma" },
        { "--clip_skip 2", "clip_skip" },
        { "--noise_offset 0.1", "noise_offset" },
        { "--v_parameterization", "prediction" },
        { "--shuffle_caption", "shuffle_caption" },
        { "--keep_tokens 1", "keep_tokens" },
        { "--max_token_length 150", "max_token_length" },
        { "--caption_dropout_rate 0.1", "caption_dropout_rate" },
        { "--caption_tag_dropout_rate 0.1", "caption_tag_dropout_rate" },
        { "--caption_extension .none", "pictures" },
        { "--train_data_dir @/other", "pictures" },
        { "--vae @/vae", "vae" },
        { "--text_encoder @/text_encoder", "text_encoder" },
    };
    char line[256];
    job_part(tmp_path("vae"), "vae", "diffusion_pytorch_model.safetensors", "encoder.conv_in.weight", 0.3);
    job_part(tmp_path("text_encoder"), "text_encoder", "model.safetensors", "text_model.final_layer_norm.weight", 0.9);
    run_well("--output_dir @/of --save_state --max_train_steps 2", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(line, sizeof line, "--resume @/of/lora-state %s", cases[i].options);
        char text[128];
        snprintf(text, sizeof text, "state.safetensors: %s: this is the state of another run", cases[i].key);
        check_refused(line, text);
    }
}

static void a_damaged_state_is_refused(void **state)
{
    (void)state;
    size_t size;
    char  *data = file_read(tmp_path("of/lora-state/state.safetensors"), 1 << 26, &size);
    assert_non_null(data);
    assert_int_equal(file_write(tmp_path("cut.safetensors"), data, size - 1), 0);
    check_refused("--resume @/cut.safetensors", "cut.safetensors");
    assert_int_equal(file_write(tmp_path("cut.safetensors"), data, 100), 0);
    check_refused("--resume @/cut.safetensors", "cut.safetensors");
    free(data);
    check_refused("--resume @/nothing", "nothing");
    check_refused("--resume @/of", "state.safetensors");
    check_refused("--resume @/of/lora.safetensors", "expected a training state");
    check_refused("--resume @/of/lora-state --max_train_steps 2", "nothing is left of 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resumed_run_ends_in_the_same_bits),
        cmocka_unit_test(states_on_the_way),
        cmocka_unit_test(nothing_learned_is_lost),
        cmocka_unit_test(another_run_is_refused),
        cmocka_unit_test(a_damaged_state_is_refused),
    };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
