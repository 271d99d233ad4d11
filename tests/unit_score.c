/* unit_score.c - the demo's scores against PIL and numpy: golden/score, written by golden/score.py. */
int score_main(int argc, char **argv);
#define main score_main
#include "../golden/demo/score.c"
#undef main
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define GOLDEN "golden/score/"

static Image picture(const char *path)
{
    Image image;
    if (image_load(&image, path, IMAGE_WHITE)) fail_msg("%s", err_text());
    return image;
}

static void test_hsv(void **state)
{
    (void)state;
    Image colours = picture(GOLDEN "colours.png"), want = picture(GOLDEN "colours_hsv.png");
    assert_int_equal(colours.w * colours.h, 64 * 64), assert_int_equal(want.w * want.h, 64 * 64);
    for (size_t k = 0; k < 64 * 64 * 3; k += 3) {
        uint8_t hsv[3];
        hsv_of(hsv, colours.rgb + k);
        assert_memory_equal(hsv, want.rgb + k, 3);
    }
    image_free(&colours), image_free(&want);
}

static cJSON *golden(void)
{
    static char text[8192];
    FILE       *file = fopen(GOLDEN "score.json", "rb");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    return json;
}

/* Identity is one quotient of small whole numbers: the same double. */
static void test_pictures(void **state)
{
    (void)state;
    static const char *const folders[] = { "before", "after" };
    cJSON                   *json = golden();
    int                      ran = 0;
    for (int n = 0; n < 2; n++) {
        int          k = 0;
        const cJSON *row;
        cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, folders[n])) {
            char path[64];
            snprintf(path, sizeof path, GOLDEN "%s/%05d.png", folders[n], k);
            Image image = picture(path);
            assert_true(identity_of(&image, k++ % FRAMINGS) == cJSON_GetArrayItem(row, 0)->valuedouble);
            assert_string_equal(backgrounds[background_of(&image)], cJSON_GetArrayItem(row, 1)->valuestring);
            image_free(&image);
            ran++;
        }
    }
    assert_int_equal(ran, 32);
    cJSON_Delete(json);
}

static void test_report(void **state)
{
    (void)state;
    const char *const dirs[] = { GOLDEN "before", GOLDEN "after", GOLDEN "before" };
    char             *text, want[80];
    size_t            size;
    FILE             *out = open_memstream(&text, &size);
    assert_int_equal(report(out, GOLDEN "prompts.txt", dirs, 3), 0);
    fclose(out);

    cJSON *json = golden();
    double mean[2] = { 0 }, right[2] = { 0 };
    for (int n = 0; n < 2; n++)
        for (int k = 0; k < 16; k++) {
            const cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(json, n ? "after" : "before"), k);
            mean[n] += cJSON_GetArrayItem(row, 0)->valuedouble / 16;
            right[n] += !strcmp(cJSON_GetArrayItem(row, 1)->valuestring, backgrounds[k % BACKGROUNDS]) / 16.0;
        }
    snprintf(want, sizeof want, "\nidentity %.2f -> %.2f, prompt %.2f -> %.2f\n", mean[0], mean[1], right[0], right[1]);
    const char *last = strstr(text, want);
    if (!last || last[strlen(want)]) fail_msg("the last line is not %s in %s", want + 1, text);
    assert_non_null(strstr(text, "without the trigger"));
    cJSON_Delete(json);
    free(text);
}

static void test_tags(void **state)
{
    (void)state;
    assert_int_equal(find_tag("mochi, full body, ocean", framings, FRAMINGS), 2);
    assert_int_equal(find_tag("face", framings, FRAMINGS), 0);
    assert_int_equal(find_tag("smiling face, facet, bust", framings, FRAMINGS), 1);
    assert_int_equal(find_tag("mochi, faces", framings, FRAMINGS), -1);
    assert_int_equal(find_tag("", framings, FRAMINGS), -1);
}

static void test_refused(void **state)
{
    (void)state;
    const char *const dirs[] = { GOLDEN "before", GOLDEN "nowhere" }, *const odd[] = { "golden", GOLDEN };
    assert_int_equal(report(stdout, GOLDEN "missing.txt", dirs, 1), -1), assert_non_null(strstr(err_text(), "missing.txt"));
    assert_int_equal(report(stdout, GOLDEN "prompts.txt", dirs, 2), -1), assert_non_null(strstr(err_text(), "nowhere/00000.png"));
    assert_int_equal(report(stdout, GOLDEN "score.json", odd, 2), -1), assert_non_null(strstr(err_text(), "score.json:1"));
    assert_int_equal(report(stdout, "/dev/null", dirs, 1), -1), assert_non_null(strstr(err_text(), "no prompt"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_hsv), cmocka_unit_test(test_pictures), cmocka_unit_test(test_report), cmocka_unit_test(test_tags),
                                        cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
