/* Configuration files: values, defaults, and messages that name file and key; and the UTF-8 decoder below it all. */
#include "base/err.h"
#include "io/json.h"
#include "io/utf8.h"
#include "tmp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static Json *open_text(const char *text)
{
    assert_int_equal(file_write(tmp_path("c.json"), text, strlen(text)), 0);
    return json_open(tmp_path("c.json"));
}

static void test_values(void **state)
{
    int ints[3];
    const char *strings[3];
    (void)state;
    Json *j = open_text("{\"i\":-3,\"d\":2.5,\"whole\":4.0,\"b\":true,\"s\":\"x\\u00e9\",\"n\":null,"
                        "\"is\":[5,10,20],\"one\":8,\"ss\":[\"a\",\"b\"],\"o\":{\"p\":{\"q\":7}},\"\":1}");
    if (!j) fail_msg("%s", err_text());
    assert_int_equal(json_int(j, "i", 1), -3);
    assert_int_equal(json_int(j, "whole", 1), 4);
    assert_int_equal(json_int(j, "n", 1), 1);
    assert_int_equal(json_int(j, "absent", 9), 9);
    assert_true(json_double(j, "d", 0) == 2.5 && json_double(j, "i", 0) == -3 && json_double(j, "n", 0.5) == 0.5);
    assert_true(json_bool(j, "b", 0) == 1 && json_bool(j, "n", 1) == 1 && json_need_bool(j, "b") == 1);
    assert_string_equal(json_string(j, "s", ""), "x\xc3\xa9");
    assert_string_equal(json_string(j, "absent", "d"), "d");
    assert_null(json_string(j, "n", NULL));
    assert_true(json_has(j, "i") && !json_has(j, "n") && !json_has(j, "absent") && json_is_string(j, "s") && !json_is_string(j, "i"));
    assert_int_equal(json_need_int(j, "o.p.q"), 7);
    assert_int_equal(json_int(j, "o.x.q", 2), 2);
    assert_int_equal(json_int(j, "i.p", 2), 2);
    assert_int_equal(json_ints(j, "is", ints, 3), 3);
    assert_true(ints[0] == 5 && ints[1] == 10 && ints[2] == 20);
    assert_int_equal(json_ints(j, "one", ints, 3), 1);
    assert_int_equal(ints[0], 8);
    assert_int_equal(json_ints(j, "absent", ints, 3), 0);
    assert_int_equal(json_strings(j, "ss", strings, 3), 2);
    assert_string_equal(strings[1], "b");
    assert_int_equal(json_close(j), 0);
}

static void use_int(Json *j) { json_int(j, "k", 0); }
static void use_double(Json *j) { json_double(j, "k", 0); }
static void use_bool(Json *j) { json_bool(j, "k", 0); }
static void use_string(Json *j) { json_string(j, "k", ""); }
static void need_int(Json *j) { assert_int_equal(json_need_int(j, "k"), 0); }
static void need_double(Json *j) { assert_true(json_need_double(j, "k") == 0); }
static void need_bool(Json *j) { assert_int_equal(json_need_bool(j, "k"), 0); }
static void need_string(Json *j) { assert_string_equal(json_need_string(j, "k"), ""); }
static void use_ints(Json *j) { int out[2]; json_ints(j, "k", out, 2); }
static void use_strings(Json *j) { const char *out[2]; json_strings(j, "k", out, 2); }

/* Each wrong value is latched, is reported on closing, and names file and key; what comes after it changes nothing. */
static void test_wrong_values(void **state)
{
    static const struct {
        const char *text;
        void (*use)(Json *);
        const char *part;
    } cases[] = {
        { "{\"k\":\"1\"}", use_int, "c.json: k: expected a whole number, found \"1\"" },
        { "{\"k\":1.5}", use_int, "expected a whole number, found 1.5" },
        { "{\"k\":3e9}", use_int, "expected a whole number, found 3" },
        { "{\"k\":true}", use_int, "expected a whole number, found true" },
        { "{\"k\":[1]}", use_double, "expected a number, found [1]" },
        { "{\"k\":1}", use_bool, "expected true or false, found 1" },
        { "{\"k\":\"true\"}", use_bool, "expected true or false, found \"true\"" },
        { "{\"k\":{\"a\":1}}", use_string, "expected a string, found {\"a\":1}" },
        { "{}", need_int, "c.json: k: a value is needed and there is none" },
        { "{\"k\":null}", need_double, "k: a value is needed" },
        { "{\"K\":true}", need_bool, "k: a value is needed" },
        { "{\"k\":7}", need_string, "expected a string, found 7" },
        { "{\"k\":[1,2,3]}", use_ints, "expected at most 2 values, found more" },
        { "{\"k\":[1,\"\\n\"]}", use_ints, "expected a whole number, found \"\\n\"" },
        { "{\"k\":[\"a\",null]}", use_strings, "expected a string, found null" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Json *j = open_text(cases[i].text);
        if (!j) fail_msg("%s", err_text());
        cases[i].use(j);
        json_need_int(j, "later");
        assert_int_equal(json_close(j), -1);
        if (!strstr(err_text(), cases[i].part) || strchr(err_text(), '\n')) fail_msg("wanted \"%s\" in: %s", cases[i].part, err_text());
    }
}

static void test_broken_files(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "", "c.json:1: this is not JSON" },       { "{\"a\":1,\n\"b\":}", "c.json:2: this is not JSON" }, { "{} x", "this is not JSON" },
        { "[1]", "expected an object" },            { "{\"a\":NaN}", "this is not JSON" },                  { "{\"a\":\"x}", "this is not JSON" },
    };
    static char deep[20000] = "{\"a\":";
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_null(open_text(cases[i].text));
        if (!strstr(err_text(), cases[i].part) || strchr(err_text(), '\n')) fail_msg("wanted \"%s\" in: %s", cases[i].part, err_text());
    }
    memset(deep + 5, '[', sizeof deep - 6);
    assert_null(open_text(deep));
    assert_non_null(strstr(err_text(), "not JSON"));
    assert_null(json_open(tmp_path("none.json")));
    assert_non_null(strstr(err_text(), "none.json: No such file"));
}

static int sum_until(void *ctx, const char *key, int value)
{
    *(int *)ctx += value;
    return strcmp(key, "stop") == 0 ? -1 : 0;
}

static void test_each(void **state)
{
    int sum = 0;
    (void)state;
    Json *j = open_text("{\"a\":1,\"b.c\":2,\"\\\"\":4}");
    assert_int_equal(json_each_int(j, sum_until, &sum), 0);
    assert_int_equal(sum, 7);
    assert_int_equal(json_close(j), 0);
    j = open_text("{\"a\":1,\"stop\":2,\"c\":4}");
    assert_int_equal(json_each_int(j, sum_until, &sum), -1);
    assert_int_equal(sum, 10);
    assert_int_equal(json_close(j), 0);
    j = open_text("{\"a\":1,\"b\":\"x\"}");
    assert_int_equal(json_each_int(j, sum_until, &sum), -1);
    assert_int_equal(json_close(j), -1);
    assert_non_null(strstr(err_text(), "b: expected a whole number"));
}

/* All code points there and back; surrogates and what lies beyond the last are ill-formed. golden/tokenizer.json has Python's view of broken bytes. */
static void test_utf8(void **state)
{
    char bytes[4];
    (void)state;
    for (int32_t code = 0; code <= 0x110000; code++) {
        int size = utf8_put(bytes, code);
        const char *s = bytes;
        int32_t want = (code >= 0xd800 && code < 0xe000) || code > 0x10ffff ? -1 : code;
        assert_int_equal(utf8_next(&s, bytes + size), want);
        assert_true(want < 0 || s == bytes + size);
        assert_int_equal(utf8_valid(bytes, (size_t)size), want >= 0);
        if (size > 1) assert_false(utf8_valid(bytes, (size_t)size - 1));    /* cut */
    }
    assert_true(utf8_valid("", 0) && utf8_valid("a\0b", 3) && !utf8_valid("\xc0\x80", 2) && !utf8_valid("\xe0\x80\x80", 3) && !utf8_valid("a\x80", 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, tmp_open, tmp_close),       cmocka_unit_test_setup_teardown(test_wrong_values, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_broken_files, tmp_open, tmp_close), cmocka_unit_test_setup_teardown(test_each, tmp_open, tmp_close),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
