/* What torch.save wrote (golden/torch_files.py) is read as it was, in both of its forms; what is damaged or hostile is refused, with one line that says why. */
#include "base/err.h"
#include "io/tensor_file.h"
#include "io/torch_file.h"
#include "tmp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Element i of the tensor at place k, as the script has it. */
static double value(int k, size_t i, Type type)
{
    double v = (double)((7 * (int)i + 3 * k) % 11 - 5);
    return v + (type == T_U8 ? 5 : type == T_I64 || type == T_I32 ? 0 : 0.5);
}

static const SafetensorsEntry *find(const Safetensors *s, const char *name, Type type, int rank, const int64_t *shape)
{
    const SafetensorsEntry *e = safetensors_find(s, name);
    if (!e) fail_msg("%s: no %s", s->path, name);
    assert_int_equal(e->type, type);
    assert_int_equal(e->rank, rank);
    assert_memory_equal(e->shape, shape, (size_t)rank * sizeof *shape);
    return e;
}

static void expect(const Safetensors *s, const char *name, int k, Type type, int rank, const int64_t *shape)
{
    const SafetensorsEntry *e = find(s, name, type, rank, shape);
    double                  got[16];
    for (int again = 0; again < 2; again++) {           /* reading gives pages back: what was copied must stay */
        assert_int_equal(safetensors_read(s, e, T_F64, got), 0);
        for (size_t i = 0; i < e->count; i++) assert_true(got[i] == value(k, i, type));
    }
}

static void expect_whole(const char *path)
{
    TensorFile f;
    double     got[16];
    if (tensor_file_open(&f, path)) fail_msg("%s", err_text());
    const Safetensors *s = f.s;
    assert_int_equal(s->count, 12);
    expect(s, "a.f32", 0, T_F32, 2, (int64_t[]){ 2, 3 });
    expect(s, "b.f16", 1, T_F16, 1, (int64_t[]){ 4 });
    expect(s, "c.bf16", 2, T_BF16, 2, (int64_t[]){ 4, 2 });
    expect(s, "d.f64", 3, T_F64, 3, (int64_t[]){ 2, 1, 2 });
    expect(s, "e.i64", 4, T_I64, 0, NULL);
    expect(s, "f.i32", 5, T_I32, 1, (int64_t[]){ 3 });
    expect(s, "g.u8", 6, T_U8, 1, (int64_t[]){ 5 });
    expect(s, "i.f32", 8, T_F32, 2, (int64_t[]){ 0, 4 });
    expect(s, "inner.parameter", 0, T_F32, 2, (int64_t[]){ 2, 3 });
    assert_string_equal(find(s, "h.bool", T_COUNT, 1, (int64_t[]){ 2 })->dtype, "BOOL");
    assert_int_equal(safetensors_read(s, find(s, "part", T_BF16, 2, (int64_t[]){ 2, 2 }), T_F64, got), 0);
    for (size_t i = 0; i < 4; i++) assert_true(got[i] == value(2, 2 + i, T_BF16));
    for (int again = 0; again < 2; again++) {
        assert_int_equal(safetensors_read(s, find(s, "turned", T_F32, 2, (int64_t[]){ 3, 2 }), T_F64, got), 0);
        for (size_t i = 0; i < 6; i++) assert_true(got[i] == value(0, i % 2 * 3 + i / 2, T_F32));
    }
    assert_string_equal(safetensors_meta(s, "pytorch-lightning_version"), "1.4.2");
    assert_string_equal(safetensors_meta(s, "epoch"), "7");
    assert_string_equal(safetensors_meta(s, "global_step"), "470000");
    assert_int_equal(s->pairs, 3);                      /* but not lr, a fraction, and best, a bool */
    tensor_file_close(&f);
}

static void test_whole(void **state)
{
    (void)state;
    expect_whole("golden/torch/zip.pt");
    expect_whole("golden/torch/legacy.pt");
    expect_whole("golden/torch/no_checksums.pt");
    TensorFile f;
    if (tensor_file_open(&f, "golden/torch/list.pt")) fail_msg("%s", err_text());
    assert_int_equal(f.s->count, 2);
    find(f.s, "0", T_F32, 1, (int64_t[]){ 2 });
    find(f.s, "1.x", T_F32, 1, (int64_t[]){ 3 });
    tensor_file_close(&f);
    if (tensor_file_open(&f, "golden/layout/types.safetensors")) fail_msg("%s", err_text());      /* the other kind */
    assert_null(f.torch);
    assert_int_equal(f.s->count, 11);
    tensor_file_close(&f);
    assert_int_equal(tensor_file_open(&f, "golden/none"), -1);
    assert_string_equal(err_text(), "golden/none: No such file or directory");
}

static const struct {
    const char *file, *part;
} bad[] = {
    { "beyond", "a: it reaches beyond its storage" },
    { "beyond_file", "archive/data/0: 8 numbers of 4 bytes were expected, 16 bytes are there" },
    { "big_endian", "its numbers are not little-endian" },
    { "builtin", "refused: its pickle asks for builtins.eval, which no tensor needs" },
    { "call_int", "pickle: damaged at byte 6" },
    { "compressed", "archive/data.pkl: is compressed (method 8): expected what torch.save writes" },
    { "copies", "copies of strided tensors would take more than the file" },
    { "cut_short", "pickle: damaged at byte" },
    { "cyclic", "refused: values are nested more than 16 deep, or hold themselves" },
    { "dict_odd", "pickle: damaged at byte 6" },
    { "extension", "refused: its pickle has an instruction (0x82 at byte 2)" },
    { "few_strides", "a: it does not have as many strides as dimensions" },
    { "instruction", "refused: its pickle has an instruction (0x69 at byte 3)" },
    { "into_int", "pickle: damaged at byte 6" },
    { "laughs", "refused: more than 1048576 values" },
    { "legacy_cut", "cut short" },
    { "legacy_head", "pickle: cut short" },
    { "legacy_system", "refused: its pickle asks for posix.system" },
    { "long", "pickle: a number of 2147483647 bytes" },
    { "mark", "pickle: damaged at byte 3" },
    { "memo_empty", "pickle: damaged at byte 4" },
    { "memo_far", "pickle: damaged at byte 8" },
    { "name_control", "the name of a tensor holds a control character" },
    { "name_long", "the name of a tensor is longer than 512 bytes" },
    { "negative_count", "pickle: a storage is not described as torch describes it" },
    { "negative_offset", "a: it is not described as torch describes it" },
    { "negative_shape", "a: a size of its shape is not a number from 0 up" },
    { "negative_stride", "a: a size of its shape is not a number from 0 up" },
    { "nested", "refused: values are nested more than 16 deep" },
    { "no_pickle", "a ZIP archive, but not one of torch.save: it has no data.pkl" },
    { "no_stop", "pickle: cut short" },
    { "no_storage", "archive/data/7: this member of the archive is missing" },
    { "pid_text", "pickle: a storage is not described as torch describes it" },
    { "rank_nine", "a: its shape is not one of at most 8 dimensions" },
    { "rebuild_nothing", "a: it is not described as torch describes it" },
    { "repeats", "a: it repeats its storage" },
    { "shape_overflow", "a: its shape overflows" },
    { "stack", "pickle: damaged at byte 3" },
    { "storage_path", "archive/data/../data.pkl: this member of the archive is missing" },
    { "stride_overflow", "a: its strides overflow" },
    { "system", "refused: its pickle asks for posix.system, which no tensor needs" },
    { "system4", "refused: its pickle asks for posix.system" },
    { "text_long", "pickle: damaged at byte 7" },
    { "two_left", "pickle: damaged at byte 5" },
    { "wrong_storage", "torch.Size: numbers of this type are not read" },
    { "zip_cut", "a ZIP archive without its end" },
    { "zip_directory_far", "ZIP: the directory lies outside the archive" },
    { "zip_encrypted", "list/data.pkl: is encrypted" },
    { "zip_far", "list/data.pkl: ZIP: is not where the directory says" },
    { "zip_flipped", "list/data/0: damaged: its bytes are not those of its checksum" },
    { "zip_locator", "ZIP: the 64-bit end record is not where its locator says" },
    { "zip_long", "list/data.pkl: ZIP: ends outside the archive" },
    { "zip_many", "ZIP: a directory of" },
    { "zip_signature", "ZIP: the directory is damaged" },
    { "zip_sizes", "list/data.pkl: ZIP: the sizes of a stored member differ" },
    { "zip_start_only", "a ZIP archive without its end: cut short, or not one" },
    { "zip_twice", "list/data.pkl: ZIP: overlaps list/data.pkl" },
    { "zip_two_names", "list/data.pkm: ZIP: has two names" },
    { "zip_wide_missing", "list/data.pkl: ZIP: the sizes of a stored member differ" },
};
enum { BAD = sizeof bad / sizeof *bad };

static void test_bad(void **state)
{
    char  path[256];
    Names names;
    (void)state;
    for (int i = 0; i < BAD; i++) {
        snprintf(path, sizeof path, "golden/torch/bad/%s.pt", bad[i].file);
        if (torch_file_open(path)) fail_msg("%s was opened", path);
        if (strncmp(err_text(), path, strlen(path)) || !strstr(err_text(), bad[i].part) || strchr(err_text(), '\n'))
            fail_msg("wanted \"%s\" in: %s", bad[i].part, err_text());
    }
    assert_int_equal(dir_list(&names, "golden/torch/bad"), 0);
    assert_int_equal(names.count, BAD);                 /* none is left out */
    names_free(&names);
}

/* No beginning of a good file is taken for a whole one, and none with a byte changed crashes. */
static void mangle(const char *path)
{
    size_t   size;
    uint8_t *data = file_read(path, 1 << 20, &size);
    assert_non_null(data);
    for (size_t n = 0; n < size; n++) {
        uint8_t   *part = malloc(n + 1);
        TorchFile *t;
        assert_non_null(part);
        memcpy(part, data, n);
        if (torch_file_is(part, n) && (t = torch_file_read(part, n, "part"))) fail_msg("%s: the first %zu bytes were opened", path, n);
        free(part);
        data[n] ^= 0x55;
        if (torch_file_is(data, size)) torch_file_close(torch_file_read(data, size, "changed"));
        data[n] ^= 0x55;
    }
    free(data);
}

static void test_mangled(void **state)
{
    (void)state;
    mangle("golden/torch/zip.pt");
    mangle("golden/torch/legacy.pt");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_whole), cmocka_unit_test(test_bad), cmocka_unit_test(test_mangled) };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
