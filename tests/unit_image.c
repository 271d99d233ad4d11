/* Pictures against PIL's reading of them (golden/image.py), and what is written read again. */
#include "base/err.h"
#include "io/image.h"
#include "io/png_text.h"
#include "io/webp.h"
#include "tmp.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* What a JPEG says of its frame decides whether it is read: arithmetic coding and 12 bits, patched into a sound file, are named. */
static void test_frames(void **state)
{
    static const struct {
        int         at, byte;                               /* in the frame's segment, from its marker */
        const char *part;
    } cases[] = { { 1, 0xc9, "arithmetic" }, { 1, 0xc3, "lossless" }, { 4, 12, "12 bits" } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size, at = 0;
        uint8_t *file = file_read("golden/image/444.jpg", 1 << 20, &size);
        Image image;
        assert_non_null(file);
        while (at + 1 < size && (file[at] != 0xff || file[at + 1] != 0xc0)) at++;
        assert_true(at + 10 < size);
        file[at + (size_t)cases[i].at] = (uint8_t)cases[i].byte;
        assert_int_equal(file_write(tmp_path("frame.jpg"), file, size), 0);
        free(file);
        assert_int_equal(image_load(&image, tmp_path("frame.jpg"), IMAGE_WHITE), -1);
        if (!strstr(err_text(), cases[i].part)) fail_msg("wanted \"%s\" in: %s", cases[i].part, err_text());
    }
}

/* NAME.rgb: width and height as u32, then the pixels. */
static void compare(const char *path, const Image *got, int bound)
{
    char golden[PATH_SIZE + 8];
    size_t size;
    uint32_t side[2];
    snprintf(golden, sizeof golden, "%s.rgb", path);
    uint8_t *want = file_read(golden, 1 << 20, &size);
    assert_non_null(want);
    memcpy(side, want, 8);
    assert_true((int)side[0] == got->w && (int)side[1] == got->h && size == 8 + 3 * (size_t)side[0] * side[1]);
    for (size_t i = 0; i < size - 8; i++)
        if (abs(got->rgb[i] - want[8 + i]) > bound) fail_msg("%s: byte %zu is %d, not %d +- %d", path, i, got->rgb[i], want[8 + i], bound);
    free(want);
}

/* PNG, BMP and WebP to the bit. JPEG: two decoders whose cosine transforms each stay within 1/2 + 1/2 of the exact values (IEEE 1180 allows 1) differ by 1 in
 * Y, Cb and Cr, so by at most 1 + 1.772 and a rounding of each in a colour: 3. A wrong matrix, order or rounding upwards is further off. Half as many Cb and
 * Cr are interpolated, each decoder rounding in its own way: 1 + 2 x 1.772 and a rounding, 5. Of inks, colour times black / 255: CMYK 1 + 1 and a rounding,
 * 3; YCCK 3 + 1 and a rounding, 5. */
static int bound_of(const char *name)
{
    if (!strcmp(name, "420.jpg") || !strcmp(name, "ycck.jpg")) return 5;
    return strncmp(path_extension(name), ".jp", 3) ? 0 : 3;
}

static void test_load(void **state)
{
    char path[PATH_SIZE];
    Names names;
    int tried = 0, webp = 0;
    (void)state;
    assert_int_equal(dir_list(&names, "golden/image"), 0);
    for (int i = 0; i < names.count; i++) {
        if (strcmp(path_extension(names.name[i]), ".rgb") != 0) continue;
        snprintf(path, sizeof path, "golden/image/%.*s", (int)strlen(names.name[i]) - 4, names.name[i]);
        Image image;
        int w = 0, h = 0, ground = strncmp(path_name(path), "green_", 6) ? IMAGE_WHITE : 10 << 16 | 200 << 8 | 30;
        int is_webp = !strcmp(path_extension(path), ".webp");
        webp += is_webp;
        if (is_webp && !webp_built()) {
            assert_int_equal(image_load(&image, path, ground), -1);
            assert_int_equal(image_size(&w, &h, path), -1);
            if (!strstr(err_text(), "this build has no libwebp")) fail_msg("%s", err_text());
            continue;
        }
        if (image_load(&image, path, ground) < 0 || image_size(&w, &h, path) < 0) fail_msg("%s", err_text());
        assert_true(w == image.w && h == image.h);
        compare(path, &image, bound_of(path_name(path)));
        image_free(&image);
        tried++;
    }
    names_free(&names);
    assert_true(tried >= 38 && webp == 3);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name, *part;
    } cases[] = {
        { "cut.rgb.png", "not a readable PNG: cut short" },
        { "cut.444.jpg", "not a readable JPEG: cut short" },
        { "cut.progressive.jpeg", "cut short" },
        { "not.png", "not a picture" },
        { "not.jpg", "the file is empty" },
        { "not.huffman.jpg", "more than 256 codes" },
        { "not.cmyk.jpg", "CMYK without Adobe's marker" },
        { "not.large.png", "too large" },
        { "not.a.gif", "a GIF picture; convert it" },
        { "not.a.tif", "a TIFF picture; convert it" },
        { "not.an.avif", "an AVIF picture; convert it" },
        { "not.animation.webp", "WebP" },
        { "none.png", "No such file" },
        { "", "Is a directory" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[100];
        Image image;
        snprintf(path, sizeof path, "golden/image/%s", cases[i].name);
        assert_int_equal(image_load(&image, path, IMAGE_WHITE), -1);
        assert_null(image.rgb);
        if (strncmp(err_text(), path, strlen(path)) != 0 || !strstr(err_text(), cases[i].part) || strchr(err_text(), '\n'))
            fail_msg("wanted \"%s\" in: %s", cases[i].part, err_text());
    }
    int w, h;
    assert_int_equal(image_size(&w, &h, "golden/image/not.png"), -1);
    assert_int_equal(image_size(&w, &h, "golden/image/none.png"), -1);
    assert_int_equal(image_size(&w, &h, "golden/image/not.large.png"), -1);
}

static void test_save(void **state)
{
    static const int sizes[][2] = { { 1, 1 }, { 7, 3 }, { 64, 96 }, { 301, 1 }, { 1, 301 } };
    uint32_t random = 1;
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        Image image, back;
        assert_int_equal(image_new(&image, sizes[k][0], sizes[k][1]), 0);
        size_t count = 3 * (size_t)image.w * (size_t)image.h;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(image.rgb[i], 0);
            random = random * 1664525u + 1013904223u;
            image.rgb[i] = (uint8_t)(i % 97 < 30 ? random >> 24 : i / 9);
        }
        const char *parameters = k % 2 ? "two words\nSteps: 20" : NULL;
        if (image_save(tmp_path("p.png"), &image, parameters) < 0 || image_load(&back, tmp_path("p.png"), IMAGE_WHITE) < 0) fail_msg("%s", err_text());
        assert_true(back.w == image.w && back.h == image.h && memcmp(back.rgb, image.rgb, count) == 0);
        size_t size;
        char *text;
        uint8_t *png = file_read(tmp_path("p.png"), 1 << 20, &size);
        assert_int_equal(png_text_find(&text, png, size, "parameters"), 0);
        if (parameters) assert_string_equal(text, parameters);
        else assert_null(text);
        free(text);
        free(png);
        image_free(&image);
        image_free(&back);
    }
    Image image;
    assert_int_equal(image_new(&image, 2, 2), 0);
    assert_int_equal(image_save(tmp_path("no/p.png"), &image, NULL), -1);
    assert_non_null(strstr(err_text(), "no/p.png: cannot be written"));
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load), cmocka_unit_test(test_refused), cmocka_unit_test_setup_teardown(test_frames, tmp_open, tmp_close),
        cmocka_unit_test_setup_teardown(test_save, tmp_open, tmp_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
