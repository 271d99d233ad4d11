/* unit_grid.c - labelled grids: every pixel of a small one without texts, where texts lie, and what is refused. */
#include "base/err.h"
#include "io/font.h"
#include "io/grid.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t *pixel(const Image *image, int x, int y) { return image->rgb + 3 * ((size_t)y * (size_t)image->w + (size_t)x); }

static Image filled(int w, int h, uint8_t first)
{
    Image image;
    if (image_new(&image, w, h)) fail_msg("%s", err_text());
    for (int k = 0; k < w * h * 3; k++) image.rgb[k] = (uint8_t)(first + k);
    return image;
}

/* Dark pixels in [x0,x1) x [y0,y1). */
static int ink(const Image *image, int x0, int y0, int x1, int y1)
{
    int count = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) count += pixel(image, x, y)[0] < 128;
    return count;
}

/* One picture of 3 x 2 and one of 1 x 2, each pixel threefold, side by side: margin 16, gap 6, the second one's column as wide as it is. */
static void test_pixels(void **state)
{
    (void)state;
    Image cells[2] = { filled(3, 2, 10), filled(1, 2, 100) }, out;
    Grid  grid = { .rows = 1, .cols = 2, .scale = 3, .cells = cells };
    assert_int_equal(grid_draw(&out, &grid), 0);
    assert_int_equal(out.w, 16 + 9 + 6 + 3 + 16), assert_int_equal(out.h, 16 + 6 + 16);
    for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++) {
            uint8_t white[3] = { 255, 255, 255 }, *want = white;
            if (y >= 16 && y < 22 && x >= 16 && x < 25) want = cells[0].rgb + 3 * ((y - 16) / 3 * 3 + (x - 16) / 3);
            if (y >= 16 && y < 22 && x >= 31 && x < 34) want = cells[1].rgb + 3 * ((y - 16) / 3);
            if (memcmp(pixel(&out, x, y), want, 3)) fail_msg("pixel (%d,%d) is %d, want %d", x, y, pixel(&out, x, y)[0], want[0]);
        }
    image_free(&out), image_free(&cells[0]), image_free(&cells[1]);
}

/* A smaller picture lies in the middle of its place; an empty place stays white. */
static void test_centre_and_empty(void **state)
{
    (void)state;
    Image cells[4] = { filled(8, 8, 0), filled(2, 4, 0), { 0 }, filled(8, 2, 0) }, out;
    memset(cells[1].rgb, 7, 2 * 4 * 3), memset(cells[3].rgb, 9, 8 * 2 * 3);
    Grid grid = { .rows = 2, .cols = 2, .scale = 1, .cells = cells };
    assert_int_equal(grid_draw(&out, &grid), 0);
    assert_int_equal(out.w, 16 + 8 + 6 + 8 + 16), assert_int_equal(out.h, 16 + 8 + 6 + 2 + 16);
    assert_int_equal(pixel(&out, 30 + 3, 16 + 2)[0], 7), assert_int_equal(pixel(&out, 30 + 4, 16 + 5)[0], 7);
    assert_int_equal(ink(&out, 30, 16, 38, 24), 2 * 4);
    assert_int_equal(ink(&out, 16, 30, 24, 32), 0), assert_int_equal(ink(&out, 30, 30, 38, 32), 8 * 2);
    image_free(&out);
    for (int k = 0; k < 4; k++) image_free(&cells[k]);
}

static Image with_texts(const char *title, const char *label)
{
    Image cell, out;
    if (image_new(&cell, 100, 60)) fail_msg("%s", err_text());
    memset(cell.rgb, 200, 100 * 60 * 3);
    Grid grid = { .rows = 1, .cols = 1, .scale = 1, .cells = &cell, .titles = title ? &title : NULL, .labels = label ? &label : NULL };
    if (grid_draw(&out, &grid)) fail_msg("%s", err_text());
    image_free(&cell);
    return out;
}

static void test_texts(void **state)
{
    (void)state;
    Image a = with_texts("title", "label");             /* label column 240 wide, then 12; a title line of 24, then 6 */
    assert_int_equal(a.w, 16 + 240 + 12 + 100 + 16), assert_int_equal(a.h, 16 + 24 + 6 + 60 + 16);
    int title = ink(&a, 268, 16, 368, 40), label = ink(&a, 16, 46, 256, 106);
    assert_true(title > 100 && label > 100), assert_int_equal(ink(&a, 0, 0, a.w, a.h), title + label);

    Image twice = with_texts("title title title", "label");         /* two fit in 100 pixels, the third goes to a second line */
    assert_int_equal(twice.h - a.h, 24), assert_int_equal(ink(&twice, 268, 16, 368, 40), 2 * title), assert_int_equal(ink(&twice, 268, 40, 368, 64), title);
    image_free(&a), image_free(&twice);

    Image word = with_texts("titletitletitle", NULL);               /* one word that does not fit is cut */
    assert_true(word.h >= 16 + 2 * 24 + 6 + 60 + 16), assert_int_equal(ink(&word, 16, 16, 116, word.h), 3 * title);
    image_free(&word);

    Image first = with_texts(NULL, "incomprehensible"), both = with_texts(NULL, "incomprehensible incomprehensible");
    int   middle = 16 + 60 / 2;                                     /* of the row; two lines are one above it and one below */
    assert_int_equal(ink(&first, 16, 16, 256, 76), ink(&both, 16, middle, 256, middle + 24));
    image_free(&first), image_free(&both);

    char many[301];
    for (int k = 0; k < 300; k++) many[k] = k % 6 == 5 ? ' ' : 'm';
    many[300] = 0;
    Image tall = with_texts(NULL, many);                            /* a label of more lines than the picture is high makes the row higher */
    assert_true(tall.h > 16 + 60 + 16 && (tall.h - 32) % 24 == 0);
    image_free(&tall);

    Image foreign = with_texts(NULL, "caf\303\251"), plain = with_texts(NULL, "caf?"), empty = with_texts("", "");
    assert_int_equal(foreign.w * foreign.h, plain.w * plain.h);
    assert_memory_equal(foreign.rgb, plain.rgb, (size_t)plain.w * (size_t)plain.h * 3);
    assert_int_equal(ink(&empty, 0, 0, empty.w, empty.h), 0);
    image_free(&foreign), image_free(&plain), image_free(&empty);
}

/* Every printable letter draws something inside its own width, except the space. */
static void test_font(void **state)
{
    (void)state;
    for (char c = ' '; c <= '~'; c++) {
        Image image = filled(64, 48, 0);
        memset(image.rgb, 255, 64 * 48 * 3);
        int width = font_width(&c, 1, 2);
        assert_int_equal(width, 2 * font_width(&c, 1, 1) - 1);
        font_draw(&image, 8, 8, &c, 1, 2, (const uint8_t[3]){ 0, 0, 0 });
        int all = ink(&image, 0, 0, 64, 48), inside = ink(&image, 8, 8, 8 + width + 1, 8 + 2 * FONT_LINE);
        if (width <= 0 || all != inside || !all != (c == ' ')) fail_msg("'%c': %d of %d pixels inside its width, %d", c, inside, all, width);
        font_draw(&image, -5, -5, &c, 1, 2, (const uint8_t[3]){ 0, 0, 0 });         /* half outside: cut */
        font_draw(&image, 60, 44, &c, 1, 2, (const uint8_t[3]){ 0, 0, 0 });
        image_free(&image);
    }
}

static void test_refused(void **state)
{
    (void)state;
    Image cell = filled(100, 1, 0), out;
    Grid  wide = { .rows = 1, .cols = 1, .scale = 200, .cells = &cell }, huge = { .rows = 1, .cols = 1, .scale = 2000000000, .cells = &cell };
    assert_int_equal(grid_draw(&out, &wide), -1), assert_non_null(strstr(err_text(), "column 1"));
    assert_int_equal(grid_draw(&out, &huge), -1);
    Image *many = calloc(400, sizeof *many);
    Image  tall = filled(1, 50, 0);
    for (int k = 0; k < 400; k++) many[k] = tall;
    Grid high = { .rows = 400, .cols = 1, .scale = 1, .cells = many };
    assert_int_equal(grid_draw(&out, &high), -1), assert_non_null(strstr(err_text(), "row "));
    free(many), image_free(&tall), image_free(&cell);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_pixels), cmocka_unit_test(test_centre_and_empty), cmocka_unit_test(test_texts),
                                        cmocka_unit_test(test_font), cmocka_unit_test(test_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
