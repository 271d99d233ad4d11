/* Text chunks: PIL's read, ours in the same form, and broken files. */
#include "base/err.h"
#include "io/png_text.h"
#include "tmp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const latin = "a caf\xc3\xa9, Steps: 20\nSize: 13x9", *const wide = "\xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80\nSteps: 20";

static uint8_t *load(const char *name, size_t *size)
{
    char path[100];
    snprintf(path, sizeof path, "golden/image/%s.png", name);
    uint8_t *png = file_read(path, 1 << 20, size);
    assert_non_null(png);
    return png;
}

static void expect_text(const uint8_t *png, size_t size, const char *key, const char *want)
{
    char *text;
    if (png_text_find(&text, png, size, key) < 0) fail_msg("%s", err_text());
    if (want) assert_string_equal(text, want);
    else assert_null(text);
    free(text);
}

static void test_read(void **state)
{
    static const char *const names[] = { "text_latin", "text_utf8", "text_empty" };
    const char *const want[] = { latin, wide, "" };
    size_t size;
    char *text;
    (void)state;
    for (int i = 0; i < 3; i++) {
        uint8_t *png = load(names[i], &size);
        expect_text(png, size, "parameters", want[i]);
        expect_text(png, size, "other", "not this one");
        expect_text(png, size, "parameter", NULL);
        free(png);
    }
    uint8_t *png = load("text_packed", &size);
    assert_int_equal(png_text_find(&text, png, size, "parameters"), -1);
    assert_non_null(strstr(err_text(), "compressed"));
    free(png);
}

/* PIL puts its text before the first IDAT too, so adding the same text to the picture without it gives PIL's file. */
static void test_add_as_pil(void **state)
{
    static const char *const names[] = { "text_latin", "text_utf8", "text_empty" };
    const char *const texts[] = { latin, wide, "" };
    size_t want_size;
    (void)state;
    for (int i = 0; i < 3; i++) {
        uint8_t *want = load(names[i], &want_size), *got = malloc(want_size);
        size_t key = 33 + 12 + strlen("other") + 1 + strlen("not this one"), length = (size_t)want[key + 2] << 8 | want[key + 3];
        size_t size = want_size - 12 - length;
        assert_non_null(got);
        memcpy(got, want, key);
        memcpy(got + key, want + key + 12 + length, size - key);            /* without the chunk of `parameters` */
        expect_text(got, size, "parameters", NULL);
        assert_int_equal(png_text_add(&got, &size, "parameters", texts[i]), 0);
        assert_int_equal(size, want_size);
        assert_memory_equal(got, want, size);
        free(got);
        free(want);
    }
}

static void test_refused(void **state)
{
    size_t size;
    char *text;
    uint8_t *png = load("text_latin", &size), *copy = malloc(size);
    (void)state;
    assert_non_null(copy);
    memcpy(copy, png, size);
    assert_int_equal(png_text_add(&copy, &size, "k", "\xff"), -1);
    assert_non_null(strstr(err_text(), "k: the text for a PNG is not UTF-8"));
    copy[33 + 12 + 5 + 1 + 12 + 8 + 11 + 3] ^= 1;       /* a letter of the text */
    assert_int_equal(png_text_find(&text, copy, size, "parameters"), -1);
    assert_non_null(strstr(err_text(), "wrong checksum"));
    copy[1] = 'p';
    assert_int_equal(png_text_find(&text, copy, size, "parameters"), -1);
    assert_int_equal(png_text_add(&copy, &size, "k", "v"), -1);
    assert_non_null(strstr(err_text(), "not a PNG"));
    free(copy);
    for (size_t cut = 0; cut < size; cut++) {           /* exact buffers, so that a sanitizer sees a read beyond them */
        uint8_t *part = malloc(cut + 1);
        assert_non_null(part);
        memcpy(part, png, cut);
        part = realloc(part, cut ? cut : 1);
        int found = png_text_find(&text, part, cut, "absent");
        assert_int_equal(found, -1);
        assert_null(text);
        free(part);
    }
    free(png);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_read), cmocka_unit_test(test_add_as_pil), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
