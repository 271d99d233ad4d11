/* What a LoRA file says of itself: Python's spelling, kohya's keys, tags, hashes; equal runs give equal bytes where time stands still. */
#include "train/metadata.h"
#include "io/hash.h"
#include "train/run.h"
#include "train/tags.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 3; i++) job_picture("data/2_a", i, 16, 16);
    for (int i = 0; i < 2; i++) job_picture("data/3_b", i, 32, 8);
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
    return 0;
}

static int close_folder(void **state)
{
    unsetenv("SOURCE_DATE_EPOCH");
    return tmp_close(state);
}

/* ---- Python's spelling ---- */

static uint64_t hex_number(const char *text)
{
    unsigned long long x;
    assert_int_equal(sscanf(text, "%16llx", &x), 1);
    return x;
}

static void check_string(const char *hex, const char *want)
{
    char   text[256] = "", *got = NULL;
    size_t size;
    for (int i = 0; hex[0] != '-' && hex[2 * i] && hex[2 * i] != ' '; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        text[i] = (char)byte;
    }
    FILE *out = open_memstream(&got, &size);
    assert_non_null(out);
    python_string(out, text);
    fclose(out);
    assert_string_equal(got, want);
    free(got);
}

static void test_python(void **state)
{
    FILE *golden = fopen("golden/metadata.txt", "r");
    char  line[1024], text[32];
    int   floats = 0, strings = 0;
    (void)state;
    assert_non_null(golden);
    while (fgets(line, sizeof line, golden)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "float ", 6) == 0) {
            uint64_t bits = hex_number(line + 6);
            double   x;
            memcpy(&x, &bits, sizeof x);
            python_float(text, x);
            assert_string_equal(text, strchr(line + 6, ' ') + 1);
            floats++;
        } else if (strncmp(line, "string ", 7) == 0) {
            check_string(line + 7, strchr(line + 7, ' ') + 1);
            strings++;
        }
    }
    fclose(golden);
    assert_true(floats > 50 && strings > 4);
}

/* Kohya's rules: cut at commas, strip (a no-break and an ideographic space as well), lower case, in order of appearance, no empty tags. */
static void test_tags(void **state)
{
    Picture  picture[3] = { { .caption = (char *)"Mochi,  Red Hat ,, b" }, { .caption = (char *)"b,mochi, \302\240\303\234ber\343\200\200" },
                            { .caption = (char *)"  " } };
    Concept  concept[2] = { { .folder = (char *)"2_a\"b", .first = 0, .count = 2 }, { .folder = (char *)"1_c", .first = 2, .count = 1 } };
    Concepts c = { .concept = concept, .picture = picture, .concepts = 2, .pictures = 3 };
    char    *text = NULL;
    size_t   size;
    FILE    *out = open_memstream(&text, &size);
    (void)state;
    assert_non_null(out);
    assert_int_equal(tags_write(out, &c), 0);
    fclose(out);
    assert_string_equal(text, "{\"2_a\\\"b\": {\"mochi\": 2, \"red hat\": 1, \"b\": 2, \"\\u00fcber\": 1}, \"1_c\": {}}");
    free(text);
}

/* ---- keys ---- */

static const char *value_of(const Metadata *m, const char *key)
{
    const char *value = NULL;
    for (int i = 0; i < m->pairs; i++)
        if (strcmp(m->pair[i].key, key) == 0) {
            assert_null(value);                         /* no key is there twice */
            value = m->pair[i].value;
        }
    return value;
}

static void expect(const Metadata *m, const SafetensorsPair *want)
{
    for (; want->key; want++) {
        const char *value = value_of(m, want->key);
        if (!value || !want->value ? value != want->value : strcmp(value, want->value))
            fail_msg("%s: %s, want %s", want->key, value ? value : "-", want->value ? want->value : "-");
    }
}

static void check_keys(const char *options, const SafetensorsPair *want)
{
    char        text[4096];
    TrainConfig config = job_train(text, options);
    Trainer     t;
    Metadata    m;
    if (trainer_open(&t, &config) || metadata_open(&m, &t) || metadata_update(&m, &t)) fail_msg("%s", err_text());
    expect(&m, want);
    t.at = (TrainPosition){ .step = 7, .epoch = 2 };
    assert_int_equal(metadata_update(&m, &t), 0);
    if (!config.no_metadata) {
        assert_string_equal(value_of(&m, "ss_steps"), "7");
        assert_string_equal(value_of(&m, "ss_epoch"), "2");
    }
    metadata_close(&m);
    trainer_close(&t);
}

static void test_keys(void **state)
{
    (void)state;
    check_keys("--network_dim 4 --network_alpha 2 --conv_dim 2 --learning_rate 1e-5 --unet_lr 0.001 --train_batch_size 2 --gradient_accumulation_steps 2"
               " --lr_scheduler cosine --lr_warmup_steps 5% --min_snr_gamma 5 --weight_decay 0.1 --max_train_epochs 2 --shuffle_caption --keep_tokens 1"
               " --metadata_author me --metadata_usage thing --output_name n --clip_skip 2 --noise_offset 0.05"
               " --noise_offset_random_strength --adaptive_noise_scale -0.1 --max_token_length 225",
               (const SafetensorsPair[]){
                   { "ss_session_id", "42" }, { "ss_training_started_at", "1700000000.0" }, { "ss_training_finished_at", "1700000000.0" },
                   { "ss_output_name", "n" }, { "ss_training_comment", "None" }, { "ss_seed", "42" }, { "ss_sd_model_name", "model" },
                   { "ss_sd_model_hash", NULL },
                   { "ss_v2", "False" }, { "ss_base_model_version", "sd_v1" }, { "ss_network_module", "networks.lora" }, { "ss_network_dim", "4" },
                   { "ss_network_alpha", "2.0" }, { "ss_network_args", "{\"conv_dim\": \"2\", \"conv_alpha\": \"1\"}" }, { "ss_learning_rate", "1e-05" },
                   { "ss_unet_lr", "0.001" }, { "ss_text_encoder_lr", "1e-05" }, { "ss_lr_scheduler", "cosine" }, { "ss_lr_warmup_steps", "0.05" },
                   { "ss_optimizer", "torch.optim.adamw.AdamW(weight_decay=0.1)" }, { "ss_max_grad_norm", "1.0" }, { "ss_min_snr_gamma", "5.0" },
                   { "ss_batch_size_per_device", "2" }, { "ss_total_batch_size", "4" }, { "ss_num_train_images", "12" }, { "ss_num_batches_per_epoch", "6" },
                   { "ss_num_epochs", "2" }, { "ss_max_train_steps", "6" }, { "ss_resolution", "(16, 16)" }, { "ss_shuffle_caption", "True" },
                   { "ss_keep_tokens", "1" }, { "ss_enable_bucket", "False" }, { "ss_min_bucket_reso", "None" }, { "ss_bucket_info", "null" },
                   { "ss_dataset_dirs", "{\"2_a\": {\"n_repeats\": 2, \"img_count\": 3}, \"3_b\": {\"n_repeats\": 3, \"img_count\": 2}}" },
                   { "ss_tag_frequency", "{\"2_a\": {\"thing\": 3, \"tag 0\": 1, \"red\": 3, \"round\": 3, \"tag 1\": 1, \"tag 2\": 1},"
                                         " \"3_b\": {\"thing\": 2, \"tag 0\": 1, \"red\": 2, \"round\": 2, \"tag 1\": 1}}" },
                   { "ss_steps", "0" }, { "ss_epoch", "0" }, { "modelspec.sai_model_spec", "1.0.1" }, { "modelspec.architecture", "stable-diffusion-v1/lora" },
                   { "modelspec.title", "n" }, { "modelspec.author", "me" }, { "modelspec.usage_hint", "thing" }, { "modelspec.license", NULL },
                   { "modelspec.resolution", "16x16" }, { "modelspec.date", "2023-11-14T22:13:20" }, { "modelspec.prediction_type", "epsilon" },
                   { "modelspec.timestep_range", "0,1000" }, { "ss_max_token_length", "225" }, { "ss_clip_skip", "2" }, { "modelspec.encoder_layer", "2" },
                   { "ss_noise_offset", "0.05" }, { "ss_noise_offset_random_strength", "True" }, { "ss_adaptive_noise_scale", "-0.1" }, { 0 } });
    check_keys("--network_dim 4 --enable_bucket --metadata_title T --training_comment well --v_parameterization",
               (const SafetensorsPair[]){
                   { "ss_network_alpha", "1" }, { "ss_network_args", NULL }, { "ss_lr_warmup_steps", "0" }, { "ss_optimizer", "torch.optim.adamw.AdamW" },
                   { "ss_clip_skip", "None" }, { "ss_max_token_length", "None" }, { "modelspec.encoder_layer", NULL }, { "ss_noise_offset", "None" },
                   { "ss_noise_offset_random_strength", "False" }, { "ss_adaptive_noise_scale", "None" },
                   { "ss_min_snr_gamma", "None" }, { "ss_training_comment", "well" }, { "ss_enable_bucket", "True" }, { "ss_min_bucket_reso", "8" },
                   { "ss_max_bucket_reso", "32" }, { "modelspec.title", "T" }, { "modelspec.prediction_type", "v" },
                   { "ss_bucket_info", "{\"buckets\": {\"4\": {\"resolution\": [16, 16], \"count\": 6}, \"8\": {\"resolution\": [32, 8], \"count\": 6}},"
                                       " \"mean_img_ar_error\": 0.0}" }, { 0 } });
}

static void test_no_metadata(void **state)
{
    (void)state;
    check_keys("--network_dim 4 --no_metadata --training_comment x --metadata_license mine",
               (const SafetensorsPair[]){ { "ss_v2", "False" }, { "ss_base_model_version", "sd_v1" }, { "ss_network_module", "networks.lora" },
                                          { "ss_network_dim", "4" }, { "ss_network_alpha", "1" }, { "ss_tag_frequency", NULL }, { "ss_dataset_dirs", NULL },
                                          { "ss_steps", NULL }, { "ss_training_finished_at", NULL }, { "ss_training_comment", NULL },
                                          { "ss_sd_model_name", NULL },
                                          { "modelspec.license", "mine" }, { "modelspec.title", "lora" }, { 0 } });
}

/* ---- files ---- */

static void train(const char *options)
{
    char        text[4096];
    TrainConfig config = job_train(text, options);
    if (train_run(&config)) fail_msg("%s: %s", options, err_text());
}

/* The legacy hash is of a file that nobody sees: the same tensors and ss_* alone. Here it is written, and hashed as a file. It begins at 1 MB. */
static void test_hashes(void **state)
{
    char            hash[HASH_SIZE], ss_hash[HASH_SIZE];
    SafetensorsPair ss[128];
    int             n = 0;
    (void)state;
    train("--network_dim 600 --max_train_steps 1 --no_report --output_name big");
    Safetensors *file = safetensors_open(tmp_path("out/big.safetensors"));
    assert_non_null(file);
    assert_true(file->bytes > 0x100000);
    hash_data(hash, file->data, file->bytes);
    assert_string_equal(safetensors_meta(file, "sshs_model_hash"), hash);
    for (int i = 0; i < file->pairs; i++)
        if (strncmp(file->pair[i].key, "ss_", 3) == 0) ss[n++] = file->pair[i];
    assert_true(n > 50 && n < 128);
    assert_int_equal(safetensors_write(tmp_path("ss.safetensors"), file->entry, file->count, ss, n), 0);
    assert_int_equal(hash_file_range(ss_hash, tmp_path("ss.safetensors"), 0x100000, 0x10000), 0);
    assert_int_equal(strlen(safetensors_meta(file, "sshs_legacy_hash")), 8);
    assert_memory_equal(safetensors_meta(file, "sshs_legacy_hash"), ss_hash, 8);
    safetensors_close(file);
}

static void test_reproducible(void **state)
{
    char one[HASH_SIZE], two[HASH_SIZE];
    (void)state;
    train("--network_dim 2 --max_train_steps 2 --no_report --output_dir @/one");
    train("--network_dim 2 --max_train_steps 2 --no_report --output_dir @/two");
    assert_int_equal(hash_file(one, tmp_path("one/lora.safetensors")), 0);
    assert_int_equal(hash_file(two, tmp_path("two/lora.safetensors")), 0);
    assert_string_equal(one, two);

    unsetenv("SOURCE_DATE_EPOCH");
    train("--network_dim 2 --max_train_steps 2 --no_report --output_dir @/three");
    assert_int_equal(hash_file(two, tmp_path("three/lora.safetensors")), 0);
    assert_string_not_equal(one, two);                  /* the session has a number of its own, and its time */
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python),      cmocka_unit_test(test_tags),   cmocka_unit_test(test_keys),
        cmocka_unit_test(test_no_metadata), cmocka_unit_test(test_hashes), cmocka_unit_test(test_reproducible),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
