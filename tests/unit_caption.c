/* Captions: what stands in the file, and the rules on its tags. */
#include "base/err.h"
#include "text/caption.h"
#include "tmp.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static Rng rng_at(uint32_t i) { return rng_open(11, RNG_TEST, i, 0); }

static void expect(const char *caption, CaptionRules rules, uint32_t i, const char *want)
{
    char out[CAPTION_SIZE];
    Rng rng = rng_at(i);
    assert_int_equal(caption_apply(out, sizeof out, caption, &rules, &rng), strlen(want));
    assert_string_equal(out, want);
}

/* Nothing active: the text as it stands. Something active: stripped and joined by ", ", though nothing is dropped and all is kept. */
static void test_text(void **state)
{
    const CaptionRules none = { .keep_tokens = 2 }, keep_all = { .shuffle = 1, .keep_tokens = 99 };
    (void)state;
    expect(" a ,b,, c ", none, 0, " a ,b,, c ");
    expect("", none, 0, "");
    expect(" a b ,c,, \td,", keep_all, 0, "a b, c, , d, ");
    expect("", keep_all, 0, "");
    expect("one", keep_all, 0, "one");
    expect("a,b,c", (CaptionRules){ .dropout = 1 }, 3, "");
    expect("a,b,c", (CaptionRules){ .tag_dropout = 1 }, 3, "");
    expect("a,b,c", (CaptionRules){ .tag_dropout = 1, .keep_tokens = 2 }, 3, "a, b");
    expect("a,b", (CaptionRules){ .tag_dropout = 1, .keep_tokens = 9 }, 3, "a, b");
}

/* Every order of the free tags comes up as often as any other: 24 orders of 4 tags in N draws, chi-square with 23 degrees of freedom below 60 (p = 4e-5). */
static void test_shuffle(void **state)
{
    enum { N = 24000 };
    const CaptionRules rules = { .shuffle = 1, .keep_tokens = 1 };
    int times[256] = { 0 }, orders = 0;
    double chi = 0;
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        char out[64];
        Rng rng = rng_at(i);
        assert_int_equal(caption_apply(out, sizeof out, "key, a,b ,c,d", &rules, &rng), 15);
        assert_int_equal(strncmp(out, "key, ", 5), 0);
        int order = 0, seen = 0;
        for (int k = 0; k < 4; k++) {
            int tag = out[5 + 3 * k] - 'a';
            assert_true(tag >= 0 && tag < 4 && (k == 3 || strncmp(out + 6 + 3 * k, ", ", 2) == 0));
            order = 4 * order + tag, seen |= 1 << tag;
        }
        assert_int_equal(seen, 15);
        times[order]++;
    }
    for (int i = 0; i < 256; i++)
        if (times[i]) orders++, chi += (times[i] - N / 24.0) * (times[i] - N / 24.0) / (N / 24.0);
    assert_int_equal(orders, 24);
    if (!(chi < 60)) fail_msg("chi-square %g", chi);
}

/* Rates within five standard deviations; kept tags always there; the rest in their order. */
static void test_dropout(void **state)
{
    enum { N = 20000 };
    const CaptionRules rules = { .keep_tokens = 1, .dropout = 0.3, .tag_dropout = 0.2 };
    int empty = 0, dropped = 0, same = 0;
    char out[64], before[64] = "";
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        Rng rng = rng_at(i);
        int size = caption_apply(out, sizeof out, "key, a, b", &rules, &rng);
        assert_true(size >= 0);
        empty += size == 0;
        dropped += size > 0 ? !strstr(out, "a") + !strstr(out, "b") : 0;
        if (size > 0 && strcmp(out, "key") && strcmp(out, "key, a") && strcmp(out, "key, b") && strcmp(out, "key, a, b")) fail_msg("\"%s\"", out);
        same += strcmp(out, before) == 0;
        strcpy(before, out);
    }
    double tags = 2.0 * (N - empty);
    assert_true(fabs(empty - 0.3 * N) < 5 * sqrt(0.3 * 0.7 * N));
    assert_true(fabs(dropped - 0.2 * tags) < 5 * sqrt(0.2 * 0.8 * tags));
    assert_true(same < N);
}

static void test_no_room(void **state)
{
    char out[6];
    Rng rng = rng_at(0);
    (void)state;
    assert_int_equal(caption_apply(out, 6, "ab,cd", &(CaptionRules){ 0 }, &rng), 5);
    assert_int_equal(caption_apply(out, 5, "ab,cd", &(CaptionRules){ 0 }, &rng), -1);
    assert_non_null(strstr(err_text(), "longer than 4 bytes"));
    assert_int_equal(caption_apply(out, 6, "ab,cd", &(CaptionRules){ .shuffle = 1 }, &rng), -1);
    static char commas[CAPTION_SIZE];
    static char large[4 * CAPTION_SIZE];
    memset(commas, ',', sizeof commas - 1);
    assert_int_equal(caption_apply(large, sizeof large, commas, &(CaptionRules){ .shuffle = 1 }, &rng), -1);
    assert_non_null(strstr(err_text(), "more than"));
    commas[CAPTION_SIZE / 2 - 1] = 0;                       /* the longest that is read fits */
    assert_int_equal(caption_apply(large, CAPTION_SIZE, commas, &(CaptionRules){ .shuffle = 1, .keep_tokens = 1 }, &rng), CAPTION_SIZE - 2);
}

static void test_files(void **state)
{
    static char long_line[CAPTION_SIZE / 2 + 1];
    memset(long_line, 'x', sizeof long_line - 1);
    const struct {
        const char   *text;
        size_t        size;
        CaptionResult result;
        const char   *want;
        int           lines;
    } cases[] = {
        { "a, b", 4, CAPTION_OK, "a, b", 1 },
        { " a, b \t\r\nsecond", 15, CAPTION_OK, "a, b", 2 },
        { " a  \r\n\r\n \t \r\n", 12, CAPTION_OK, "a", 1 },
        { "a\rb\n\nc", 6, CAPTION_OK, "a", 3 },
        { "\xef\xbb\xbf" "a\n", 5, CAPTION_OK, "a", 1 },
        { "caf\xc3\xa9\r", 6, CAPTION_OK, "caf\xc3\xa9", 1 },
        { long_line + 1, CAPTION_SIZE / 2 - 1, CAPTION_OK, long_line + 1, 1 },
        { "", 0, CAPTION_EMPTY, "it is empty", 0 },
        { "\xef\xbb\xbf\r\n", 5, CAPTION_EMPTY, "it is empty", 0 },
        { "  \t\nsecond", 10, CAPTION_EMPTY, "it is empty", 0 },
        { "caf\xe9", 4, CAPTION_BAD, "byte 3, e9, is not UTF-8", 0 },
        { "a\nb\xc0\xaf", 5, CAPTION_BAD, "byte 3, c0, is not UTF-8", 0 },
        { "\xff\xfe" "a\0", 4, CAPTION_BAD, "this is UTF-16", 0 },
        { "\xfe\xff\0a", 4, CAPTION_BAD, "this is UTF-16", 0 },
        { "a\0b", 3, CAPTION_BAD, "byte 1 is 0", 0 },
        { long_line, CAPTION_SIZE / 2, CAPTION_BAD, "longer than", 0 },
    };
    static char out[CAPTION_SIZE];
    int lines;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(file_write(tmp_path("c.txt"), cases[i].text, cases[i].size), 0);
        int result = (int)caption_read(out, &lines, tmp_path("c.txt"));
        assert_int_equal(lines, cases[i].lines);
        if (result != (int)cases[i].result) fail_msg("case %zu: result %d: %s", i, result, err_text());
        if (result == CAPTION_OK) assert_string_equal(out, cases[i].want);
        else if (*out || !strstr(err_text(), cases[i].want) || !strstr(err_text(), "c.txt")) fail_msg("case %zu: %s", i, err_text());
    }
    assert_int_equal(caption_read(out, &lines, tmp_path("none.txt")), CAPTION_MISSING);
    assert_int_equal(caption_read(out, &lines, tmp_dir), CAPTION_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),    cmocka_unit_test(test_shuffle), cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_no_room), cmocka_unit_test_setup_teardown(test_files, tmp_open, tmp_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
