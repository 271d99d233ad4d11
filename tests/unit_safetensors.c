/* safetensors: hostile files refused with a reason, the reference writer's files read and written to the byte. */
#include "base/err.h"
#include "io/safetensors.h"
#include "tmp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
    const char *file, *part;
} bad[] = {
    { "empty", "the file is empty" },
    { "seven_bytes", "7 bytes are too few" },
    { "header_past_end", "cut short: a header of 1000 bytes in a file of 70" },
    { "header_huge", "a header of 9223372036854775808 bytes: this is not a safetensors file" },
    { "header_over_limit", "a header of 100000001 bytes" },
    { "header_wraps", "a header of 18446744073709551612 bytes" },
    { "header_empty", "does not begin with {" },
    { "header_array", "does not begin with {" },
    { "header_blank", "does not begin with {" },
    { "not_json", "not JSON at byte" },
    { "not_utf8", "not UTF-8" },
    { "trailing", "goes on after its JSON at byte 10" },
    { "nested", "not JSON at byte" },
    { "entry_number", "a: dtype: expected a string" },
    { "no_dtype", "a: dtype: expected a string" },
    { "unknown_dtype", "a: dtype: unknown type \"F33\"" },
    { "no_shape", "a: shape: expected an array" },
    { "negative_dimension", "a: shape: dimension 0 is not a size" },
    { "fraction_dimension", "a: shape: dimension 0 is not a size" },
    { "string_dimension", "a: shape: dimension 0 is not a size" },
    { "huge_dimension", "a: shape: dimension 0 is not a size" },
    { "product_overflows", "a: shape: the product overflows" },
    { "bytes_overflow", "a: the shape makes 4611686018427387904 F32, the range has 8 bytes" },
    { "rank_nine", "a: shape: more than 8 dimensions" },
    { "shape_too_large", "a: the shape makes 3 F32, the range has 8 bytes" },
    { "shape_too_small", "a: the shape makes 1 F32, the range has 8 bytes" },
    { "no_offsets", "a: data_offsets: expected two positions" },
    { "three_offsets", "a: data_offsets: expected two positions" },
    { "offsets_swapped", "a: data_offsets: 8 lies after 0" },
    { "offset_negative", "a: data_offsets: expected two positions" },
    { "past_the_end", "a: ends 8 bytes past the file" },
    { "overlap", "b: overlaps a" },
    { "same_range", "overlaps" },
    { "hole", "b: 4 bytes before it belong to no tensor" },
    { "hole_at_start", "a: 4 bytes before it belong to no tensor" },
    { "left_over", "1 bytes at the end belong to no tensor" },
    { "name_twice", "a: there twice" },
    { "name_control", "control character" },
    { "metadata_number", "__metadata__: steps: expected a string" },
    { "metadata_array", "__metadata__: expected an object" },
    { "metadata_twice", "__metadata__: there twice" },
};
enum { BAD = sizeof bad / sizeof *bad };

static void expect_refusal(const char *path, const char *part)
{
    Safetensors *s = safetensors_open(path);
    if (s) fail_msg("%s was opened", path);
    if (strncmp(err_text(), path, strlen(path)) != 0 || !strstr(err_text(), part) || strchr(err_text(), '\n'))
        fail_msg("wanted \"%s\" in: %s", part, err_text());
}

static void test_bad(void **state)
{
    char  path[PATH_SIZE];
    Names names;
    (void)state;
    assert_int_equal(dir_list(&names, "golden/bad"), 0);
    assert_int_equal(names.count, BAD);                 /* no file without its message */
    names_free(&names);
    for (int i = 0; i < BAD; i++) {
        snprintf(path, sizeof path, "golden/bad/%s.safetensors", bad[i].file);
        expect_refusal(path, bad[i].part);
    }
    expect_refusal("golden/bad/none", "No such file");
    expect_refusal("golden/bad", "not a file");
}

/* The tensors of golden/layout/types.safetensors in the order of golden/layout.py. */
static const struct {
    const char *name;
    Type        type;
    int         rank;
    int64_t     shape[8];
} made[] = {
    { "w.f32", T_F32, 2, { 2, 3 } },   { "b.u8", T_U8, 1, { 5 } },  { "a.f16", T_F16, 3, { 3, 1, 2 } },   { "\xc3\xa4.f32", T_F32, 1, { 4 } },
    { "c.i64", T_I64, 0, { 0 } },      { "d.f64", T_F64, 1, { 2 } }, { "e.bf16", T_BF16, 2, { 1, 7 } },    { "Z.f16", T_F16, 1, { 2 } },
    { "g.i32", T_I32, 8, { 1, 1, 1, 1, 1, 1, 1, 3 } },               { "h.f32", T_F32, 2, { 0, 4 } },      { "quote\"\\.u8", T_U8, 1, { 3 } },
};
enum { MADE = sizeof made / sizeof *made };

static double made_value(int k, size_t i)
{
    Type type = made[k].type;
    return (int)(7 * i + 3 * (size_t)k) % 11 - 5 + (type == T_I64 || type == T_I32 ? 0 : type == T_U8 ? 5 : 0.5);
}

static void test_read(void **state)
{
    double value[16];
    (void)state;
    Safetensors *s = safetensors_open("golden/layout/types.safetensors");
    if (!s) fail_msg("%s", err_text());
    assert_int_equal(s->count, MADE);
    for (int i = 1; i < s->count; i++) assert_true(strcmp(s->entry[i - 1].name, s->entry[i].name) < 0);
    for (int k = 0; k < MADE; k++) {
        const SafetensorsEntry *e = safetensors_find(s, made[k].name);
        assert_non_null(e);
        assert_true(e->type == made[k].type && e->rank == made[k].rank && memcmp(e->shape, made[k].shape, sizeof e->shape) == 0);
        assert_int_equal(safetensors_read(s, e, T_F64, value), 0);
        for (size_t i = 0; i < e->count; i++) assert_true(value[i] == made_value(k, i));
        assert_int_equal(safetensors_read(s, e, T_F64, value), 0);          /* once more, after its pages were given back */
        for (size_t i = 0; i < e->count; i++) assert_true(value[i] == made_value(k, i));
    }
    assert_null(safetensors_find(s, "w"));
    assert_string_equal(safetensors_meta(s, "key \"1\""), "wert\n\xc3\xa4\\");
    assert_null(safetensors_meta(s, "key"));
    safetensors_close(s);
}

static void test_other_types(void **state)
{
    double value[8];
    (void)state;
    Safetensors *s = safetensors_open("golden/layout/others.safetensors");
    if (!s) fail_msg("%s", err_text());
    assert_int_equal(s->count, 9);
    for (int i = 0; i < s->count; i++) {
        assert_true(s->entry[i].type == T_COUNT && s->entry[i].count == 3 && s->entry[i].bytes % 3 == 0);
        assert_int_equal(safetensors_read(s, &s->entry[i], T_F64, value), -1);
    }
    safetensors_close(s);
    s = safetensors_open("golden/layout/none.safetensors");
    assert_non_null(s);
    assert_true(s->count == 0 && s->bytes == 0 && !safetensors_find(s, "a") && !safetensors_meta(s, "a"));
    safetensors_close(s);
}

/* What the reference writer wrote comes out of ours to the byte, whatever the order of the entries; so does the hash of its data. */
static void test_write_as_the_reference(void **state)
{
    SafetensorsEntry entry[MADE];
    char want_hash[HASH_SIZE], got_hash[HASH_SIZE];
    size_t want_size, got_size;
    (void)state;
    Safetensors *s = safetensors_open("golden/layout/types.safetensors");
    assert_non_null(s);
    for (int i = 0; i < MADE; i++) {
        const SafetensorsEntry *e = &s->entry[MADE - 1 - i];
        entry[i] = (SafetensorsEntry){ .name = e->name, .type = e->type, .rank = e->rank, .data = e->data };
        memcpy(entry[i].shape, e->shape, sizeof e->shape);
    }
    assert_int_equal(safetensors_write(tmp_path("out"), entry, MADE, s->pair, s->pairs), 0);
    char *want = file_read("golden/layout/types.safetensors", 1 << 20, &want_size), *got = file_read(tmp_path("out"), 1 << 20, &got_size);
    assert_int_equal(got_size, want_size);
    assert_memory_equal(got, want, want_size);
    assert_int_equal(safetensors_hash(got_hash, entry, MADE), 0);
    hash_data(want_hash, s->data, s->bytes);
    assert_string_equal(got_hash, want_hash);
    free(want);
    free(got);
    safetensors_close(s);
    assert_int_equal(safetensors_write(tmp_path("out"), NULL, 0, NULL, 0), 0);
    got = file_read(tmp_path("out"), 1 << 20, &got_size);
    assert_true(got_size == 16 && memcmp(got, "\x8\0\0\0\0\0\0\0{}      ", 16) == 0);
    free(got);
}

/* Names and values of any bytes come back as they went, but for what is not UTF-8. */
static void test_strings(void **state)
{
    static const SafetensorsPair pair[] = { { "a", "\x01\x1f\b\f\n\r\t\"\\/" }, { "b", "" }, { "\xe6\xbc\xa2", "{\"json\": [1]}" }, { "c", "\xff|" } };
    (void)state;
    assert_int_equal(safetensors_write(tmp_path("s"), NULL, 0, pair, 4), 0);
    Safetensors *s = safetensors_open(tmp_path("s"));
    if (!s) fail_msg("%s", err_text());
    assert_int_equal(s->pairs, 4);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(s->pair[i].key, pair[i].key);
        assert_string_equal(s->pair[i].value, pair[i].value);
    }
    assert_string_equal(s->pair[3].value, "\xef\xbf\xbd|");
    safetensors_close(s);
}

static void put_raw(const char *path, const void *data, size_t size)        /* without file.c's sync */
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

/* Data that begin at an odd address. */
static void test_unaligned(void **state)
{
    static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"b\":{\"dtype\":\"F64\",\"shape\":[1500],\"data_offsets\":[1,12001]}}";
    static double value[1500];
    static float  narrow[1500];
    static char   file[8 + sizeof header - 1 + 12001];
    uint64_t      length = sizeof header - 1;
    (void)state;
    for (int i = 0; i < 1500; i++) value[i] = i - 0.25;
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    memcpy(file + 8 + length + 1, value, 12000);
    put_raw(tmp_path("odd"), file, sizeof file);
    Safetensors *s = safetensors_open(tmp_path("odd"));
    if (!s) fail_msg("%s", err_text());
    const SafetensorsEntry *e = safetensors_find(s, "b");
    assert_int_equal(safetensors_read(s, e, T_F32, narrow), 0);
    for (int i = 0; i < 1500; i++) assert_true(narrow[i] == (float)value[i]);
    memset(value, 0, sizeof value);
    assert_int_equal(safetensors_read(s, e, T_F64, value), 0);
    for (int i = 0; i < 1500; i++) assert_true(value[i] == i - 0.25);
    safetensors_close(s);
}

static void test_many(void **state)
{
    enum { N = 3000 };
    static SafetensorsEntry entry[N];
    static char  name[N][64];
    static float value[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        snprintf(name[i], sizeof name[i], "down_blocks.%d.resnets.%d.conv1.weight", i * 7919 % N, i);
        value[i] = (float)i;
        entry[i] = (SafetensorsEntry){ .name = name[i], .type = T_F32, .rank = 1, .shape = { 1 }, .data = &value[i] };
    }
    assert_int_equal(safetensors_write(tmp_path("many"), entry, N, NULL, 0), 0);
    Safetensors *s = safetensors_open(tmp_path("many"));
    if (!s) fail_msg("%s", err_text());
    for (int i = 0; i < N; i++) {
        const SafetensorsEntry *e = safetensors_find(s, name[i]);
        assert_true(e && *(const float *)e->data == value[i]);
    }
    safetensors_close(s);
}

/* Every byte of the header changed, and the file cut at every fifth length: refused, or what is read lies inside the file. */
static void test_mutations(void **state)
{
    static const char other[] = { 0, '"', '9', (char)0xff };
    size_t size, refused = 0, tried = 0;
    double value[128];
    (void)state;
    char *file = file_read("golden/layout/types.safetensors", 1 << 20, &size);
    assert_non_null(file);
    for (size_t at = 0; at < size - 114; at++) {
        char was = file[at];
        file[at] = other[at % 4];
        put_raw(tmp_path("m"), file, at % 5 ? size : at);
        file[at] = was;
        Safetensors *s = safetensors_open(tmp_path("m"));
        tried++, refused += !s;
        if (!s && strncmp(err_text(), tmp_dir, strlen(tmp_dir)) != 0) fail_msg("byte %zu: %s", at, err_text());
        for (int i = 0; s && i < s->count; i++)
            if (s->entry[i].type != T_COUNT) safetensors_read(s, &s->entry[i], T_F64, value);
        safetensors_close(s);
    }
    free(file);
    assert_true(refused > tried / 2 && refused < tried);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_other_types),
        cmocka_unit_test_setup_teardown(test_write_as_the_reference, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_strings, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_unaligned, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_many, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_mutations, tmp_open, tmp_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
