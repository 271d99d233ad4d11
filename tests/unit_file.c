/* Files: atomic writing under faults, reading, folders, paths, and the hashes of files. */
#include "base/err.h"
#include "io/hash.h"
#include "tmp.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

static void expect_error(int result, const char *part)
{
    if (result != -1 || !strstr(err_text(), part) || strchr(err_text(), '\n')) fail_msg("result %d, wanted \"%s\" in: %s", result, part, err_text());
}

static void expect_content(const char *path, const char *want)
{
    size_t size;
    char *got = file_read(path, 1 << 20, &size);
    if (!got) fail_msg("%s", err_text());
    assert_int_equal(size, strlen(want));
    assert_string_equal(got, want);
    free(got);
}

static void test_write_and_read(void **state)
{
    static char large[300000], *got;
    size_t size;
    (void)state;
    assert_int_equal(file_write(tmp_path("a"), "one", 3), 0);
    assert_int_equal(file_write(tmp_path("a"), "two!", 4), 0);
    expect_content(tmp_path("a"), "two!");
    assert_false(is_file(tmp_path("a.part")));
    assert_int_equal(file_write(tmp_path("e"), NULL, 0), 0);
    expect_content(tmp_path("e"), "");
    for (size_t i = 0; i < sizeof large; i++) large[i] = (char)(i * 31 % 251);
    FileOut *f = file_create(tmp_path("l"));            /* pieces around the size of the buffer */
    assert_non_null(f);
    for (size_t at = 0, n = 1; at < sizeof large; at += n, n = n * 3 % 70001 + 1) {
        if (n > sizeof large - at) n = sizeof large - at;
        file_put(f, large + at, n);
    }
    assert_int_equal(file_commit(f), 0);
    assert_non_null(got = file_read(tmp_path("l"), sizeof large, &size));
    assert_int_equal(size, sizeof large);
    assert_memory_equal(got, large, sizeof large);
    free(got);
    assert_null(file_read(tmp_path("l"), sizeof large - 1, &size));
    expect_error(-1, "larger than 299999 bytes");
}

/* The disk is full, in the form of a limit on the size of files: the old file stays, nothing else does, and the message says why. */
static void test_full_disk(void **state)
{
    static char large[100000];
    struct rlimit old, limit;
    (void)state;
    assert_int_equal(file_write(tmp_path("a"), "old", 3), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old, limit.rlim_cur = 70000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int result = file_write(tmp_path("a"), large, sizeof large);
    setrlimit(RLIMIT_FSIZE, &old);
    expect_error(result, "/a: cannot be written: File too large");
    expect_content(tmp_path("a"), "old");
    assert_false(is_file(tmp_path("a.part")));
}

static void test_no_place(void **state)
{
    (void)state;
    expect_error(file_write(tmp_path("no/a"), "x", 1), "/no/a: cannot be written: No such file or directory");
    expect_error(file_write(tmp_dir, "x", 1), "cannot be written: Is a directory");
    expect_error(file_read(tmp_path("no"), 10, NULL) ? 0 : -1, "/no: No such file or directory");
    expect_error(file_read(tmp_dir, 1 << 20, NULL) ? 0 : -1, "Is a directory");
}

/* The rest of a killed run is overwritten; a second writer is noticed by the first, and wins. */
static void test_other_writers(void **state)
{
    (void)state;
    assert_int_equal(file_write(tmp_path("a.part"), "rest of a killed run", 20), 0);
    assert_int_equal(file_write(tmp_path("a"), "whole", 5), 0);
    expect_content(tmp_path("a"), "whole");
    assert_false(is_file(tmp_path("a.part")));
    FileOut *first = file_create(tmp_path("a")), *second = file_create(tmp_path("a"));
    assert_true(first && second);
    file_put(first, "first", 5);
    file_put(second, "second", 6);
    expect_error(file_commit(first), "another process writes it too");
    expect_content(tmp_path("a"), "whole");
    assert_int_equal(file_commit(second), 0);
    expect_content(tmp_path("a"), "second");
}

/* kill -9 at many moments of rewriting: what is there is always one of the two whole contents. */
static void test_killed(void **state)
{
    static char content[2][200000];
    (void)state;
    memset(content[0], 'a', sizeof content[0]);
    memset(content[1], 'b', sizeof content[1]);
    assert_int_equal(file_write(tmp_path("k"), content[0], sizeof content[0]), 0);
    for (int round = 0; round < 12; round++) {
        pid_t child = fork();
        if (child == 0)
            for (int i = 1;; i = !i) file_write(tmp_path("k"), content[i], sizeof content[i]);
        usleep((useconds_t)(1000 + 1700 * round));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        size_t size;
        char *got = file_read(tmp_path("k"), 1 << 20, &size);
        assert_non_null(got);
        assert_int_equal(size, sizeof content[0]);
        assert_memory_equal(got, content[got[0] == 'b'], size);
        free(got);
    }
}

static void test_folders(void **state)
{
    static const char *const want[] = { "B", "a", "ab", "\xc3\xa4" };
    char long_name[5000], file[16];
    Names names;
    (void)state;
    assert_int_equal(dir_make(tmp_path("x//y/z/")), 0);
    assert_int_equal(dir_make(tmp_path("x/y")), 0);
    assert_true(is_dir(tmp_path("x/y/z")) && !is_file(tmp_path("x/y")) && !is_dir(tmp_path("x/w")));
    for (int i = 3; i >= 0; i--) {
        snprintf(file, sizeof file, "x/y/%s", want[i]);
        assert_int_equal(file_write(tmp_path(file), "", 0), 0);
        assert_true(is_file(tmp_path(file)));
    }
    assert_int_equal(dir_list(&names, tmp_path("x/y")), 0);
    assert_int_equal(names.count, 5);
    for (int i = 0; i < 3; i++) assert_string_equal(names.name[i], want[i]);
    assert_string_equal(names.name[4], want[3]);
    names_free(&names);
    assert_int_equal(dir_list(&names, tmp_path("x/y/z")), 0);
    assert_int_equal(names.count, 0);
    names_free(&names);
    expect_error(dir_list(&names, tmp_path("nowhere")), "/nowhere: No such file");
    expect_error(dir_make(tmp_path("x/y/a/b")), "x/y/a: the folder cannot be made");
    uid_t user = geteuid();                             /* what root may not be kept from */
    assert_true(chmod(tmp_dir, 0755) == 0 && chmod(tmp_path("x"), 0555) == 0 && (user || seteuid(65534) == 0));
    expect_error(dir_make(tmp_path("x/new")), "x/new: the folder cannot be made: Permission denied");
    assert_true((user || seteuid(user) == 0) && chmod(tmp_path("x"), 0755) == 0);
    expect_error(dir_make(""), "without a name");
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    expect_error(dir_make(long_name), "too long");
}

static void test_paths(void **state)
{
    char out[PATH_SIZE], long_name[PATH_SIZE];
    (void)state;
    assert_int_equal(path_join(out, "a", "b.c"), 0);
    assert_string_equal(out, "a/b.c");
    assert_int_equal(path_join(out, "a/", "b"), 0);
    assert_string_equal(out, "a/b");
    assert_int_equal(path_join(out, "", "b"), 0);
    assert_string_equal(out, "b");
    assert_int_equal(path_join(out, "a", "/b"), 0);
    assert_string_equal(out, "/b");
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    expect_error(path_join(out, "a", long_name), "too long");
    assert_int_equal(path_join(out, "", long_name), 0);
    assert_string_equal(path_name("a/b/c.d"), "c.d");
    assert_string_equal(path_name("c"), "c");
    assert_string_equal(path_extension("a.b/c.d.png"), ".png");
    assert_string_equal(path_extension("a.b/c"), "");
    assert_string_equal(path_extension("a/.hidden"), "");
}

/* FIPS 180-2, appendix B; the hash of nothing. */
static void test_hash(void **state)
{
    static const char *const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    static const char *const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    static const char *const million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    static char as[1000000];
    char hex[HASH_SIZE];
    (void)state;
    memset(as, 'a', sizeof as);
    hash_data(hex, "abc", 3);
    assert_string_equal(hex, abc);
    hash_data(hex, "", 0);
    assert_string_equal(hex, nothing);
    assert_int_equal(file_write(tmp_path("m"), as, sizeof as), 0);
    assert_int_equal(hash_file(hex, tmp_path("m")), 0);
    assert_string_equal(hex, million);
    assert_int_equal(file_write(tmp_path("p"), "xxabcyy", 7), 0);
    assert_int_equal(hash_file_range(hex, tmp_path("p"), 2, 3), 0);
    assert_string_equal(hex, abc);
    assert_int_equal(hash_file_range(hex, tmp_path("p"), 0x100000, 0x10000), 0);
    assert_string_equal(hex, nothing);
    assert_int_equal(hash_file_range(hex, tmp_path("p"), UINT64_MAX, UINT64_MAX), 0);
    assert_string_equal(hex, nothing);
    expect_error(hash_file(hex, tmp_path("no")), "/no: No such file");
    expect_error(hash_file(hex, tmp_dir), "Is a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_full_disk, tmp_open, tmp_close),      cmocka_unit_test_setup_teardown(test_no_place, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_other_writers, tmp_open, tmp_close),  cmocka_unit_test_setup_teardown(test_killed, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_folders, tmp_open, tmp_close),        cmocka_unit_test(test_paths),
        cmocka_unit_test_setup_teardown(test_hash, tmp_open, tmp_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
