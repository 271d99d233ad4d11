/* Orientations in blocks made here; those in whole pictures by PIL are unit_image's. Whatever the bytes are, the answer is 1..8. */
#include "base/rng.h"
#include "io/exif.h"
#include "tmp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { ROOM = 256 };

typedef struct {
    uint8_t data[ROOM];
    size_t  size;
    int     big;
} Bytes;

static void put(Bytes *b, uint32_t value, int bytes)
{
    for (int k = 0; k < bytes; k++) b->data[b->size++] = (uint8_t)(value >> 8 * (b->big ? bytes - 1 - k : k));
}

static void put_text(Bytes *b, const char *text, size_t size)
{
    memcpy(b->data + b->size, text, size);
    b->size += size;
}

static void put_entry(Bytes *b, unsigned tag, unsigned type, uint32_t count, uint32_t value)
{
    put(b, tag, 2), put(b, type, 2), put(b, count, 4);
    if (type == 3) put(b, value, 2), put(b, 0, 2);
    else put(b, value, 4);
}

/* A JPEG that is nothing but its EXIF: another entry, then the orientation. */
static Bytes jpeg(int big, unsigned type, uint32_t count, uint32_t value)
{
    Bytes tiff = { .big = big }, file = { .big = 1 };
    put_text(&tiff, big ? "MM" : "II", 2);
    put(&tiff, 42, 2), put(&tiff, 8, 4), put(&tiff, 2, 2);
    put_entry(&tiff, 0x010f, 2, 4, 0x61626300), put_entry(&tiff, 0x0112, type, count, value);
    put(&file, 0xffd8, 2);
    put(&file, 0xffe0, 2), put(&file, 4, 2), put(&file, 0, 2);         /* a segment before it */
    put(&file, 0xffff, 2);                                              /* filling */
    put(&file, 0xe1, 1), put(&file, (uint32_t)(8 + tiff.size), 2);
    put_text(&file, "Exif\0\0", 6);
    put_text(&file, (char *)tiff.data, tiff.size);
    put(&file, 0xffd9, 2);
    return file;
}

/* The bytes in memory of exactly their size, so that a sanitizer sees a read beyond. */
static int read_exactly(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    int orientation = exif_orientation(copy, size);
    free(copy);
    return orientation;
}

static void reads_both_orders(void **state)
{
    (void)state;
    for (int big = 0; big < 2; big++)
        for (unsigned type = 3; type <= 4; type++)
            for (uint32_t k = 1; k <= 8; k++) {
                Bytes b = jpeg(big, type, 1, k);
                assert_int_equal(read_exactly(b.data, b.size), k);
            }
}

static void ignores_what_makes_no_sense(void **state)
{
    static const struct { unsigned type; uint32_t count, value; } cases[] = {
        { 3, 1, 0 }, { 3, 1, 9 }, { 3, 1, 65535 }, { 4, 1, 0x60000 }, { 3, 2, 6 }, { 3, 0, 6 }, { 5, 1, 6 }, { 0, 1, 6 }, { 65535, 1, 6 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int big = 0; big < 2; big++) {
            Bytes b = jpeg(big, cases[i].type, cases[i].count, cases[i].value);
            assert_int_equal(read_exactly(b.data, b.size), 1);
        }
}

/* Files of all three kinds, cut after every byte, and with bytes changed at random, among them every length and offset. */
static void survives_damage(void **state)
{
    static const char *const paths[] = { "golden/image/upright6.png", "golden/image/upright6.jpg", "golden/image/plain.webp" };
    Rng rng = rng_open(7, RNG_TEST, 0, 0);
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        size_t size;
        uint8_t *file = file_read(paths[i], 1 << 20, &size);
        assert_non_null(file);
        assert_int_equal(read_exactly(file, size), 6);
        for (size_t cut = 0; cut < size; cut++) {
            int k = read_exactly(file, cut);
            assert_true(k == 1 || k == 6);
        }
        size_t head = size < 120 ? size : 120;
        for (int n = 0; n < 20000; n++) {
            uint8_t damaged[ROOM];
            memcpy(damaged, file, head);
            for (uint32_t changes = 1 + rng_below(&rng, 4); changes--;)
                damaged[rng_below(&rng, (uint32_t)head)] = (uint8_t)(rng_u32(&rng) % 3 ? rng_u32(&rng) : 255);
            int k = read_exactly(damaged, head);
            assert_true(k >= 1 && k <= 8);
        }
        free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_both_orders), cmocka_unit_test(ignores_what_makes_no_sense), cmocka_unit_test(survives_damage) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
