/* font.h - a small proportional font for labels on pictures: stb_easy_font's letters, drawn with square pixels.
 *
 * Text is `length` bytes; what is not printable ASCII is shown as '?', one for each character of UTF-8. */
#ifndef IO_FONT_H
#define IO_FONT_H
#include "io/image.h"

enum { FONT_LINE = 12 };                                /* from line to line at size 1 */

/* Width in pixels; each pixel of a letter is size x size. */
int font_width(const char *text, int length, int size);

/* Draws with (x,y) the upper left corner; what lies outside the picture is left out. */
void font_draw(Image *image, int x, int y, const char *text, int length, int size, const uint8_t rgb[3]);
#endif
