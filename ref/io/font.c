/* font.c - the one unit that sees stb_easy_font.h. It makes a letter of rectangles; here they are filled. */
#include "io/font.h"
#include <stb_easy_font.h>

enum { MAX_QUADS = 64, QUAD = 16 };                     /* of a letter; floats: 4 corners of x, y, z and a colour */

/* What is shown for a byte: 0 for the tail bytes of a UTF-8 character. */
static char shown(char byte)
{
    unsigned char c = (unsigned char)byte;
    return (c & 0xc0) == 0x80 ? 0 : c >= ' ' && c <= '~' ? byte : '?';
}

/* How far a letter moves on. Half a pixel less than the font says, as its author advises for larger sizes. */
static int advance(char *letter, int size) { return *letter ? stb_easy_font_width(letter) * size - size / 2 : 0; }

int font_width(const char *text, int length, int size)
{
    int width = 0;
    for (int k = 0; k < length; k++) width += advance((char[]){ shown(text[k]), 0 }, size);
    return width;
}

static void fill(Image *image, int x0, int y0, int x1, int y1, const uint8_t rgb[3])
{
    for (int y = y0 < 0 ? 0 : y0; y < y1 && y < image->h; y++)
        for (int x = x0 < 0 ? 0 : x0; x < x1 && x < image->w; x++)
            for (int c = 0; c < 3; c++) image->rgb[((size_t)y * (size_t)image->w + (size_t)x) * 3 + (size_t)c] = rgb[c];
}

void font_draw(Image *image, int x, int y, const char *text, int length, int size, const uint8_t rgb[3])
{
    for (int k = 0; k < length; k++) {
        char  letter[2] = { shown(text[k]), 0 };
        float quads[MAX_QUADS * QUAD];
        int   count = stb_easy_font_print(0, 0, letter, NULL, quads, sizeof quads);
        for (const float *q = quads; q < quads + count * QUAD; q += QUAD)               /* corners 0 and 2 are opposite */
            fill(image, x + (int)q[0] * size, y + (int)q[1] * size, x + (int)q[8] * size, y + (int)q[9] * size, rgb);
        x += advance(letter, size);
    }
}
