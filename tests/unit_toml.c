/* unit_toml.c - settings files: what Python's tomllib reads in golden/toml, what is refused in golden/bad-toml and in which words, and damaged files. */
#include "base/err.h"
#include "io/toml.h"
#include "tmp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const good[] = { "arrays", "blank", "empty", "keys", "numbers", "plain", "strings", "windows" };
enum { GOOD = sizeof good / sizeof *good };

/* ---- what is read ---- */

static void check_text(const char *where, const TomlValue *v, const char *kind, const char *want)
{
    static const char *const kinds[] = { [TOML_STRING] = "string", [TOML_INTEGER] = "integer", [TOML_NUMBER] = "number", [TOML_BOOL] = "bool" };
    char got[1024] = "";
    if (v->kind == TOML_ARRAY || strcmp(kinds[v->kind], kind)) fail_msg("%s: not a %s", where, kind);
    if (v->kind == TOML_STRING)
        for (const char *c = v->text; *c; c++) snprintf(got + strlen(got), sizeof got - strlen(got), "%02x", (unsigned char)*c);
    else strcpy(got, v->text);
    if (v->kind == TOML_NUMBER) {
        double a = strtod(got, NULL), b = strtod(want, NULL);
        if (memcmp(&a, &b, sizeof a)) fail_msg("%s: %s is not %s", where, got, want);
    } else if (strcmp(*got ? got : "-", want)) {
        fail_msg("%s: %s is not %s", where, got, want);
    }
}

static const TomlEntry *entry_of(const Toml *t, const char *path)
{
    for (int k = 0; k < t->count; k++)
        if (!strcmp(t->entry[k].path, path)) return &t->entry[k];
    fail_msg("%s: no %s", t->path, path);
    return NULL;
}

/* One line of a golden text: PATH KIND VALUE, PATH[i] for a value of an array. 1 where it is an entry of the file. */
static int check_line(const Toml *t, char *line)
{
    char path[128], kind[16], value[512];
    assert_int_equal(sscanf(line, "%127s %15s %511s", path, kind, value), 3);
    for (char *c = path; *c; c++) *c = *c == '~' ? ' ' : *c;
    char *bracket = strchr(path, '[');
    if (bracket) *bracket = 0;
    const TomlValue *v = &entry_of(t, path)->value;
    if (bracket) {
        int i = atoi(bracket + 1);
        assert_true(v->kind == TOML_ARRAY && i < v->count);
        check_text(line, &v->item[i], kind, value);
        return 0;
    }
    if (!strcmp(kind, "array")) assert_true(v->kind == TOML_ARRAY && v->count == atoi(value));
    else check_text(line, v, kind, value);
    return 1;
}

static void test_good(void **state)
{
    int values = 0;
    (void)state;
    for (int k = 0; k < GOOD; k++) {
        char path[64];
        snprintf(path, sizeof path, "golden/toml/%s.toml", good[k]);
        Toml *t = toml_open(path);
        if (!t) fail_msg("%s", err_text());
        snprintf(path, sizeof path, "golden/toml/%s.txt", good[k]);
        char *want = file_read(path, 1 << 16, NULL), *rest = NULL;
        int   entries = 0;
        assert_non_null(want);
        for (char *line = strtok_r(want, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) entries += check_line(t, line);
        assert_int_equal(entries, t->count);
        values += entries;
        free(want);
        toml_close(t);
    }
    assert_int_equal(values, 55);
}

static void test_lines(void **state)
{
    (void)state;
    Toml *t = toml_open("golden/toml/plain.toml");
    assert_non_null(t);
    assert_int_equal(entry_of(t, "key")->line, 2), assert_int_equal(entry_of(t, "model.path")->line, 5);
    assert_string_equal(entry_of(t, "training.unet_lr")->key, "unet_lr"), assert_string_equal(entry_of(t, "key")->key, "key");
    toml_close(t);
}

/* ---- what is refused ---- */

static const char a_value[] = "expected a string in quotation marks, a number, true, false or an array [...], found ";

/* FILE:LINE: then `says`; begins with `value`: the text above stands before it. */
static const struct {
    const char *name;
    int         line, value;
    const char *says;
} bad[] = {
    { "after_table", 1, 0, "expected the end of the line, found b = 1" }, { "array_long", 1, 0, "a: expected at most 64 values" },
    { "bare_text", 2, 1, "x.output_name: ^mochi" }, { "comma_first", 1, 1, "a: ^,]" }, { "control", 1, 0, "control character, 1," },
    { "control_comment", 1, 0, "control character, 127," }, { "date", 2, 0, "x.a: dates and times are not read here, found 1979-05-27" },
    { "date_time", 1, 0, "a: dates and times" }, { "dotted_end", 1, 0, "a: expected a key" }, { "dotted_start", 1, 0, "expected a key" },
    { "empty_table", 1, 0, "expected a key, of letters, digits, _ and -, found ]" }, { "entries", 513, 0, "at most 512 values" },
    { "escape", 1, 0, "found \\x41" }, { "escape_large", 1, 0, "found \\U00110000" }, { "escape_short", 1, 0, "the 4 hexadecimal digits" },
    { "escape_surrogate", 1, 0, "found \\ud800" }, { "escape_zero", 2, 0, "b: expected \\u" }, { "exponent", 1, 1, "a: ^1e" }, { "hex_digit", 1, 1, "a: ^0xg" },
    { "hex_sign", 1, 1, "a: ^-0x1" }, { "hex_too_large", 1, 1, "a: ^0x8000000000000000" }, { "inline", 1, 0, "inline tables {...}" },
    { "key_dot", 1, 0, "a key without dots" }, { "key_empty", 1, 0, "expected a key" }, { "key_lines", 1, 0, "a key stands on one line" },
    { "key_long", 1, 0, "a key of fewer than 127 bytes" }, { "key_twice", 4, 0, "t.a: given twice, first in line 2" }, { "leading_zero", 1, 1, "a: ^012" },
    { "lone_cr", 1, 0, "control character, 13," }, { "nested", 1, 0, "a: arrays in arrays" }, { "no_comma", 1, 0, "a: expected ',' or ']', found 2]" },
    { "no_equals", 1, 0, "a: expected '=', found 1" }, { "no_key", 1, 0, "expected a key" }, { "no_value", 1, 1, "a: ^the end of the line" },
    { "not_utf8", 1, 0, "not UTF-8" }, { "open_array", 2, 0, "a: expected ',' or ']', found b = 3" }, { "open_array_end", 2, 1, "a: ^the end of the file" },
    { "open_lines", 4, 0, "a: the string that begins in line 1 does not end" }, { "open_string", 2, 0, "a: the string that begins in line 2" },
    { "open_table", 1, 0, "expected ']'" }, { "point_end", 1, 1, "a: ^1." }, { "point_start", 1, 1, "a: ^.5" }, { "signs", 1, 1, "a: ^+-1" },
    { "surrogate", 2, 0, "not UTF-8" }, { "table_then_value", 5, 0, "a.b: given twice" }, { "table_twice", 3, 0, "[a] is given twice" },
    { "tables", 1, 0, "arrays of tables [[...]]" }, { "time", 1, 0, "dates and times" }, { "too_large", 1, 1, "a: ^9223372036854775808" },
    { "true_case", 1, 1, "a: ^True" }, { "two_commas", 1, 1, "a: ^,2]" }, { "two_keys", 1, 0, "expected the end of the line, found b = 2" },
    { "two_values", 1, 0, "expected the end of the line, found 2" }, { "underscore_end", 1, 1, "a: ^1_" }, { "underscore_start", 1, 1, "a: ^_1" },
    { "underscore_two", 1, 1, "a: ^1__0" }, { "value_in_value", 2, 0, "a.b: given twice, first in line 1" },
    { "value_then_table", 2, 0, "[a]: a has a value already" }, { "windows_path", 1, 0, "a path with \\ belongs in '...'" },
    { "word_long", 1, 1, "a: ^11111111111111111111111111111111..." }, { "zero_byte", 1, 0, "control character, 0," },
};
enum { BAD = sizeof bad / sizeof *bad };

static void test_bad(void **state)
{
    Names names;
    (void)state;
    assert_int_equal(dir_list(&names, "golden/bad-toml"), 0);
    assert_int_equal(names.count, BAD);
    names_free(&names);
    for (int k = 0; k < BAD; k++) {
        char        path[64], start[80], says[160];
        const char *mark = strchr(bad[k].says, '^');
        snprintf(path, sizeof path, "golden/bad-toml/%s.toml", bad[k].name);
        snprintf(start, sizeof start, "%s:%d: ", path, bad[k].line);
        if (bad[k].value) snprintf(says, sizeof says, "%.*s%s%s", (int)(mark - bad[k].says), bad[k].says, a_value, mark + 1);
        else snprintf(says, sizeof says, "%s", bad[k].says);
        assert_null(toml_open(path));
        if (strncmp(err_text(), start, strlen(start)) || !strstr(err_text(), says)) fail_msg("wanted \"%s...%s\" in: %s", start, says, err_text());
    }
    assert_null(toml_open("golden/toml/none.toml"));
    assert_non_null(strstr(err_text(), "none.toml: No such file"));
}

/* ---- damaged files: read, or refused with one line that names the file ---- */

static void open_damaged(const char *text, size_t size, int counts[2])
{
    const char *path = tmp_path("damaged.toml");
    FILE       *f = fopen(path, "wb");
    assert_true(f && fwrite(text, 1, size, f) == size && !fclose(f));
    err("nothing");
    Toml *t = toml_open(path);
    counts[t != NULL]++;
    if (!t && (strncmp(err_text(), path, strlen(path)) || strchr(err_text(), '\n'))) fail_msg("a message without a file or of two lines: %s", err_text());
    toml_close(t);
}

static void test_damaged(void **state)
{
    static const char letters[] = "\"'\\\n[]=,.#0\x80";
    int               counts[2] = { 0 };
    (void)state;
    for (int k = 0; k < GOOD; k++) {
        char   path[64];
        size_t size;
        snprintf(path, sizeof path, "golden/toml/%s.toml", good[k]);
        char *text = file_read(path, 1 << 16, &size);
        assert_non_null(text);
        for (size_t end = 0; end < size; end++) open_damaged(text, end, counts);
        for (size_t at = 0; at < size; at++)
            for (size_t l = 0; l < sizeof letters; l++) {
                char was = text[at];
                text[at] = letters[l];
                open_damaged(text, size, counts);
                text[at] = was;
            }
        free(text);
    }
    assert_true(counts[0] > 1000 && counts[1] > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_lines), cmocka_unit_test(test_bad),
        cmocka_unit_test_setup_teardown(test_damaged, tmp_open, tmp_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
