/* The report: that the page carries the run, whatever stands in captions and names, and that its numbers are those of the log and of the adapters. */
#include "base/err.h"
#include "train/log.h"
#include "train/report.h"
#include "train/run.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "job.h"

#define HOSTILE "</script><script>alert(1)</script><!-- \"quoted\" 'so' \\ & &lt; \xe2\x80\xa8 caf\xc3\xa9 \xf0\x9f\x8e\xa8 ]]>"

static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 3; i++) job_picture("data/2_<b>a", i, 16, 16);
    job_picture("data/1_b", 0, 200, 100);
    if (file_write(tmp_path("data/1_b/000.txt"), HOSTILE, strlen(HOSTILE))) return -1;
    return file_write(tmp_path("prompts.txt"), "a <i>thing</i> --s 1\n", 21);
}

static char *page_of(const char *path)
{
    char *page = file_read(tmp_path(path), 1 << 24, NULL);
    assert_non_null(page);
    return page;
}

/* The run that a page shows. */
static cJSON *run_of(const char *page)
{
    static const char head[] = "type=\"application/json\">\n";
    const char *begin = strstr(page, head), *end = begin ? strstr(begin, "</script>") : NULL;
    assert_non_null(end);
    cJSON *run = cJSON_ParseWithLength(begin + sizeof head - 1, (size_t)(end - begin) - sizeof head + 1);
    assert_non_null(run);
    return run;
}

static cJSON *item(cJSON *from, const char *key)
{
    cJSON *found = cJSON_GetObjectItemCaseSensitive(from, key);
    if (!found) fail_msg("no %s in the page", key);
    return found;
}

static int count_of(const char *text, const char *word)
{
    int n = 0;
    for (; (text = strstr(text, word)) != NULL; text++) n++;
    return n;
}

static void carries_the_run(void **state)
{
    (void)state;
    char        text[4096];
    TrainConfig config = job_train(text, "--train_batch_size 2 --max_train_steps 6 --output_name a<u>b --sample_prompts @/prompts.txt --sample_at_first "
                                         "--sample_every_n_steps 3 --network_train_unet_only");
    Setting     setting = { "LoRA", "network_args", HOSTILE, true };
    config.setting = &setting, config.settings = 1;
    assert_int_equal(dir_make(tmp_path("out/sample")), 0);              /* what is none of its pictures */
    assert_int_equal(file_write(tmp_path("out/sample/a<u>b_000003_07_1.png"), "broken", 6), 0);
    assert_int_equal(file_write(tmp_path("out/sample/a<u>b_000003_07.png"), "foreign", 7), 0);
    Image tiny;
    assert_int_equal(image_new(&tiny, 2, 2), 0);
    memset(tiny.rgb, 0, 12);
    assert_int_equal(image_save(tmp_path("out/sample/a<u>b_-00005_07_1.png"), &tiny, "no step"), 0);
    assert_int_equal(image_save(tmp_path("out/sample/a<u>b_4294967299_07_1.png"), &tiny, "3, to an int"), 0);
    image_free(&tiny);
    if (train_run(&config)) fail_msg("%s", err_text());
    char  *page = page_of("out/report.html");
    cJSON *run = run_of(page);
    assert_int_equal(count_of(page, "</script"), 2);    /* the data and the page's own */
    assert_int_equal(count_of(page, "<script"), 2);
    assert_int_equal(count_of(page, "http://") + count_of(page, "https://"), 2);        /* names of XML's name spaces: nothing is fetched */

    assert_string_equal(item(run, "name")->valuestring, "a<u>b");
    assert_string_equal(item(run, "file")->valuestring, "a<u>b.safetensors");
    assert_true(item(run, "step")->valueint == 6 && item(run, "steps")->valueint == 6 && item(run, "epoch_steps")->valueint == 4);
    assert_string_equal(item(cJSON_GetArrayItem(item(run, "settings"), 0), "value")->valuestring, HOSTILE);
    cJSON *concepts = item(run, "concepts"), *pictures = item(run, "pictures"), *samples = item(run, "samples");
    assert_int_equal(cJSON_GetArraySize(concepts), 2);
    assert_string_equal(item(cJSON_GetArrayItem(concepts, 1), "folder")->valuestring, "2_<b>a");
    assert_int_equal(cJSON_GetArraySize(pictures), 4);
    assert_string_equal(item(cJSON_GetArrayItem(pictures, 0), "caption")->valuestring, HOSTILE);
    assert_int_equal(cJSON_GetArraySize(samples), 3);
    for (int i = 0; i < 3; i++) assert_int_equal(item(cJSON_GetArrayItem(samples, i), "step")->valueint, 3 * i);
    cJSON *sample = cJSON_GetArrayItem(item(cJSON_GetArrayItem(samples, 2), "pictures"), 0);
    assert_true(strncmp(item(sample, "text")->valuestring, "a <i>thing</i> <lora:a<u>b:1>\nSteps: 1,", 38) == 0);

    int    trained = 0, left = 0;
    cJSON *module;
    cJSON_ArrayForEach(module, item(run, "modules"))
    {
        int moved = item(module, "rank")->valueint > 0;
        assert_true(moved ? cJSON_IsNumber(item(module, "moved")) : cJSON_IsNull(item(module, "moved")));
        assert_false(moved && item(module, "text")->valueint);
        trained += moved, left += !moved;
    }
    assert_int_equal(trained, item(run, "modules_trained")->valueint);
    assert_true(trained > 0 && left > 0);
    cJSON_Delete(run);
    free(page);
}

/* Decodes base64. The number of bytes. */
static size_t decode(uint8_t *out, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t            n = 0;
    unsigned          bits = 0;
    int               have = 0;
    assert_int_equal(strlen(text) % 4, 0);
    for (; *text && *text != '='; text++) {
        const char *digit = strchr(digits, *text);
        assert_non_null(digit);
        bits = bits << 6 | (unsigned)(digit - digits), have += 6;
        if (have >= 8) have -= 8, out[n++] = (uint8_t)(bits >> have);
    }
    return n;
}

/* A small picture is itself; a large one is shrunk. */
static void pictures_are_pictures(void **state)
{
    (void)state;
    char  *page = page_of("out/report.html");
    cJSON *run = run_of(page);
    static const struct { int at, w, h; const char *path; } cases[] = { { 1, 16, 16, "data/2_<b>a/000.png" }, { 0, 96, 48, NULL } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *uri = item(cJSON_GetArrayItem(item(run, "pictures"), cases[i].at), "uri")->valuestring, head[] = "data:image/png;base64,";
        assert_true(strncmp(uri, head, sizeof head - 1) == 0);
        uint8_t *png = malloc(strlen(uri));
        Image    image, source;
        assert_non_null(png);
        assert_int_equal(file_write(tmp_path("thumb.png"), png, decode(png, uri + sizeof head - 1)), 0);
        assert_int_equal(image_load(&image, tmp_path("thumb.png"), IMAGE_WHITE), 0);
        assert_true(image.w == cases[i].w && image.h == cases[i].h);
        if (cases[i].path) {
            assert_int_equal(image_load(&source, tmp_path(cases[i].path), IMAGE_WHITE), 0);
            assert_memory_equal(image.rgb, source.rgb, (size_t)(3 * image.w * image.h));
            image_free(&source);
        }
        image_free(&image), free(png);
    }
    cJSON_Delete(run);
    free(page);
}

/* ---- numbers ---- */

static double near(double want) { return 1e-4 * fabs(want); }           /* five digits are written */

/* A log of 1203 steps comes as points of three. */
static void curves_are_the_log(void **state)
{
    (void)state;
    enum { LINES = 1203, STRIDE = 3 };
    char        text[4096];
    TrainConfig config = job_train(text, "--output_dir @/curves");
    Trainer     t;
    Log         log;
    Report     *report;
    double      sum = 0, band = 0;
    assert_int_equal(dir_make(tmp_path("curves")), 0);
    assert_int_equal(trainer_open(&t, &config), 0);
    assert_int_equal(log_open(&log, tmp_path("curves/log.csv"), 0), 0);
    for (int k = 1; k <= LINES; k++) {
        TrainPosition at = { k, 0, k };
        TrainReport   r = { .loss = 1.0 / k, .norm = k, .lr_unet = 2, .band_loss = { 0, k, 0, 0 }, .band_samples = { 0, k % STRIDE != 0, 0, 0 } };
        assert_int_equal(log_step(&log, &at, &r), 0);
        if (k > 3 && k <= 6) sum += r.loss, band += k % STRIDE ? k : 0;
    }
    assert_int_equal(log_close(&log), 0);
    assert_non_null(report = report_open(&t));
    assert_int_equal(report_write(report, 1), 0);
    char  *page = page_of("curves/report.html");
    cJSON *run = run_of(page), *curves = item(run, "curves");
    assert_int_equal(cJSON_GetArraySize(item(curves, "loss")), (LINES + STRIDE - 1) / STRIDE);
    assert_true(item(curves, "stride")->valueint == STRIDE && cJSON_GetArrayItem(item(curves, "at"), 1)->valueint == 6);
    assert_true(fabs(cJSON_GetArrayItem(item(curves, "loss"), 1)->valuedouble - sum / 3) <= near(sum / 3));
    assert_true(cJSON_GetArrayItem(item(curves, "band2"), 1)->valuedouble == band / 2);
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(item(curves, "band1"), 1)));
    cJSON_Delete(run), free(page);

    struct stat first, second, third;                   /* not again at once, unless it must be */
    assert_int_equal(stat(tmp_path("curves/report.html"), &first), 0);
    assert_int_equal(report_write(report, 0), 0);
    assert_int_equal(stat(tmp_path("curves/report.html"), &second), 0);
    assert_true(first.st_mtim.tv_nsec == second.st_mtim.tv_nsec && first.st_mtim.tv_sec == second.st_mtim.tv_sec);
    assert_int_equal(report_write(report, 1), 0);
    assert_int_equal(stat(tmp_path("curves/report.html"), &third), 0);
    assert_true(third.st_mtim.tv_nsec != second.st_mtim.tv_nsec || third.st_mtim.tv_sec != second.st_mtim.tv_sec);
    report_close(report);
    trainer_close(&t);
}

/* |s B A| by making B A. Sums of n products in double: the relative error is at most (n + 2) 2^-53, and half of it for the root. */
static void update_norms(void **state)
{
    (void)state;
    char        text[4096];
    TrainConfig config = job_train(text, "--network_dim 5 --network_alpha 3 --conv_dim 2 --conv_alpha 7 --set ref64");
    Trainer     t;
    assert_int_equal(trainer_open(&t, &config), 0);
    for (int i = 0; i < t.lora.modules; i++) {
        const Adapter *a = &t.lora.module[i].adapter;
        size_t         r = (size_t)a->rank, k = tensor_count(a->a.t) / r, o = tensor_count(a->b.t) / r;
        double        *down = malloc(r * k * sizeof *down), *up = malloc(r * o * sizeof *up), norm, sum = 0;
        Rng            rng = rng_open(9, RNG_TEST, (uint32_t)i, 0);
        assert_true(down && up);
        for (size_t j = 0; j < r * k; j++) down[j] = rng_normal(&rng);
        for (size_t j = 0; j < r * o; j++) up[j] = rng_normal(&rng);
        assert_int_equal(report_update_norm(&norm, &t.lora.params, a), 0);
        assert_true(norm == 0);                         /* B begins at 0 */
        assert_int_equal(params_set(&t.lora.params, a->down, down) | params_set(&t.lora.params, a->up, up), 0);
        assert_int_equal(report_update_norm(&norm, &t.lora.params, a), 0);
        for (size_t row = 0; row < o; row++)
            for (size_t col = 0; col < k; col++) {
                double ba = 0;
                for (size_t j = 0; j < r; j++) ba += up[row * r + j] * down[j * k + col];
                sum += ba * ba;
            }
        double want = a->alpha / a->rank * sqrt(sum), bound = (double)(o * k + r * r + o + k) * ldexp(1, -53) * want;
        if (!(fabs(norm - want) <= bound)) fail_msg("%s: %.17g, expected %.17g +- %.2g", t.lora.module[i].key, norm, want, bound);
        up[0] = NAN;
        assert_int_equal(params_set(&t.lora.params, a->up, up), 0);
        assert_int_equal(report_update_norm(&norm, &t.lora.params, a), 0);
        assert_true(isnan(norm));
        free(down), free(up);
    }
    assert_true(t.lora.modules > 10);
    trainer_close(&t);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    char        text[4096];
    TrainConfig config = job_train(text, "--output_dir @/nowhere");
    Trainer     t;
    Report     *report;
    assert_int_equal(trainer_open(&t, &config), 0);
    assert_non_null(report = report_open(&t));
    assert_int_equal(report_write(report, 1), -1);
    assert_non_null(strstr(err_text(), "nowhere/log.csv"));
    report_close(report);
    report_close(NULL);
    trainer_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(carries_the_run), cmocka_unit_test(pictures_are_pictures), cmocka_unit_test(curves_are_the_log),
                                        cmocka_unit_test(update_norms), cmocka_unit_test(says_what_is_wrong) };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
