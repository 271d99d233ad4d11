/* TensorBoard's files: the checksum's published vectors, the bytes that its own writer makes (golden/events.py), and files that cannot be written. */
#include "base/err.h"
#include "io/file.h"
#include "train/events.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "tmp.h"

/* RFC 3720, B.4, and the check value of the catalogue of CRCs. */
static void checksums(void **state)
{
    (void)state;
    uint8_t block[32] = { 0 };
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c("", 0), 0);
    assert_int_equal(crc32c(block, 32), 0x8a9136aa);
    for (int i = 0; i < 32; i++) block[i] = 0xff;
    assert_int_equal(crc32c(block, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) block[i] = (uint8_t)i;
    assert_int_equal(crc32c(block, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++) block[i] = (uint8_t)(31 - i);
    assert_int_equal(crc32c(block, 32), 0x113fdb5c);
}

static void same_bytes_as_tensorboard(void **state)
{
    (void)state;
    Events e;
    size_t size, want_size;
    assert_int_equal(events_open(&e, tmp_path("logs/run"), 1700000000.25, 300), 0);
    const EventScalar third[] = { { "loss/current", 0.125 }, { "loss/average", 0.1234 }, { "lr/unet", 1e-4 } };
    const EventScalar fourth[] = { { "norm/gradient", 0 }, { "loss/current", HUGE_VAL } };
    assert_int_equal(events_put(&e, 1700000001.5, 301, third, 3), 0);
    assert_int_equal(events_put(&e, 1700000002.75, (1ll << 40) + 127, fourth, 2), 0);
    assert_int_equal(events_close(&e), 0);

    char *got = file_read(tmp_path("logs/run/events.out.tfevents.1700000000.sdlora"), 1 << 20, &size);
    char *want = file_read("golden/events.tfevents", 1 << 20, &want_size);
    assert_non_null(got), assert_non_null(want);
    assert_int_equal(size, want_size);
    assert_memory_equal(got, want, size);
    free(got), free(want);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    Events e;
    assert_int_equal(file_write(tmp_path("a-file"), "", 0), 0);
    assert_int_equal(events_open(&e, tmp_path("a-file"), 0, 0), -1);
    assert_non_null(strstr(err_text(), "a-file"));
    assert_int_equal(dir_make(tmp_path("taken/events.out.tfevents.0000000005.sdlora")), 0);
    assert_int_equal(events_open(&e, tmp_path("taken"), 5, 0), -1);
    assert_null(e.path);                                /* closing what did not open frees nothing twice */
    assert_int_equal(events_close(&e), 0);
    assert_int_equal(events_open(&e, tmp_path("full"), 5, 0), 0);
    FILE *full = fopen("/dev/full", "ab");              /* every write to it fails: no space left */
    assert_non_null(full);
    fclose(e.file), e.file = full;
    assert_int_equal(events_put(&e, 1, 1, &(EventScalar){ "loss/current", 1 }, 1), -1);
    assert_non_null(strstr(err_text(), "tfevents"));
    events_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(checksums), cmocka_unit_test(same_bytes_as_tensorboard), cmocka_unit_test(says_what_is_wrong) };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
