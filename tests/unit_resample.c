/* Resizing, equal to the byte to OpenCV and PIL (golden/resample.txt). */
#include "data/resample.h"
#include "crc32.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* golden/resample.py's picture. */
static uint8_t *picture(int w, int h)
{
    uint8_t *rgb = malloc((size_t)w * (size_t)h * 3), *p = rgb;
    assert_non_null(rgb);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) {
                uint32_t noise = (uint32_t)(x * 37 + y * 59 + c * 101 + x * y) * 2654435761u >> 24;
                *p++ = (uint8_t)((x / 16 + y / 16) % 2 ? noise : (uint32_t)(x * 2 + y * 3 + c * 50));
            }
    return rgb;
}

static void goldens(void **state)
{
    (void)state;
    FILE    *f = fopen("golden/resample.txt", "r");
    char     filter[16];
    int      src_w, src_h, w, h, lines = 0;
    uint32_t want;
    assert_non_null(f);
    while (fscanf(f, "%15s %d %d %d %d %" SCNx32, filter, &src_w, &src_h, &w, &h, &want) == 6) {
        uint8_t *src = picture(src_w, src_h), *dst = malloc((size_t)w * (size_t)h * 3);
        assert_non_null(dst);
        assert_int_equal((strcmp(filter, "area") ? resample_lanczos : resample_area)(dst, w, h, src, src_w, src_h), 0);
        if (crc32_more(0, dst, (size_t)w * (size_t)h * 3) != want) fail_msg("%s, %dx%d to %dx%d: other bytes", filter, src_w, src_h, w, h);
        free(src), free(dst);
        lines++;
    }
    fclose(f);
    assert_int_equal(lines, 30);
}

/* Area only where both axes shrink or stay. */
static void choice(void **state)
{
    static const struct { int w, h, area; } cases[] = { { 20, 15, 1 }, { 40, 30, 1 }, { 40, 15, 1 }, { 41, 15, 0 }, { 20, 31, 0 }, { 80, 60, 0 } };
    (void)state;
    uint8_t *src = picture(40, 30), got[80 * 60 * 3], want[80 * 60 * 3];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int w = cases[i].w, h = cases[i].h;
        assert_int_equal(resample(got, w, h, src, 40, 30), 0);
        assert_int_equal((cases[i].area ? resample_area : resample_lanczos)(want, w, h, src, 40, 30), 0);
        assert_memory_equal(got, want, (size_t)(w * h * 3));
    }
    free(src);
}

static void crop(void **state)
{
    (void)state;
    uint8_t *src = picture(40, 30), got[7 * 5 * 3];
    resample_crop(got, 7, 5, src, 40, 30, 33, 25);
    for (int y = 0; y < 5; y++) assert_memory_equal(got + y * 7 * 3, src + ((25 + y) * 40 + 33) * 3, 7 * 3);
    free(src);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(goldens), cmocka_unit_test(choice), cmocka_unit_test(crop) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
