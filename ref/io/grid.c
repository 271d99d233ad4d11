/* grid.c - first every row and column gets its size, then everything is drawn. */
#include "io/grid.h"
#include "base/err.h"
#include "io/font.h"
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 16, GAP = 6, TEXT_GAP = 12, TEXT_SIZE = 2, LABEL_WIDTH = 240, LINE = TEXT_SIZE * FONT_LINE };
static const uint8_t ink[3] = { 64, 64, 68 };

/* Bytes of text on its first line of `width` pixels: up to a space where one fits, else as many letters as fit, at least one. */
static int line_length(const char *text, int width)
{
    int fits = 1, at_space = 0;
    for (int n = 1; text[n - 1]; n++) {
        if (text[n - 1] == ' ' && n > 1) at_space = n - 1;
        if (font_width(text, n, TEXT_SIZE) > width && n > 1) return at_space ? at_space : fits;
        if ((text[n] & 0xc0) != 0x80) fits = n;         /* never inside a character */
    }
    return (int)strlen(text);
}

/* Draws text in lines of `width`, centred or from the left; image NULL: only counts. Returns the number of lines. */
static int text_lines(Image *image, int x, int y, int width, const char *text, int centred)
{
    int lines = 0;
    for (text += strspn(text, " "); *text; lines++) {
        int length = line_length(text, width), left = centred ? (width - font_width(text, length, TEXT_SIZE)) / 2 : 0;
        if (image) font_draw(image, x + left, y + lines * LINE, text, length, TEXT_SIZE, ink);
        text += length;
        text += strspn(text, " ");
    }
    return lines;
}

static void draw_cell(Image *out, int x, int y, const Image *cell, int scale)
{
    for (int v = 0; v < cell->h * scale; v++)
        for (int u = 0; u < cell->w * scale; u++) {
            size_t to = (size_t)(y + v) * (size_t)out->w + (size_t)(x + u), from = (size_t)(v / scale) * (size_t)cell->w + (size_t)(u / scale);
            memcpy(out->rgb + 3 * to, cell->rgb + 3 * from, 3);
        }
}

/* Where things lie: row r fills [y[r], y[r+1] - GAP), column c alike. */
typedef struct {
    int *x, *y;
    int  title_lines;
} Layout;

/* Sizes of columns, then of rows, both from the cells and the texts they hold; sums stay far below INT_MAX, as each side is refused beyond IMAGE_MAX_SIDE. */
static int lay_out(Layout *l, const Grid *g)
{
    l->x[0] = MARGIN + (g->labels ? LABEL_WIDTH + TEXT_GAP : 0);
    for (int c = 0; c < g->cols; c++) {
        int w = 0;
        for (int r = 0; r < g->rows; r++) {
            const Image *cell = &g->cells[r * g->cols + c];
            if (cell->rgb && cell->w > w) w = cell->w;
        }
        if (w > IMAGE_MAX_SIDE / g->scale || l->x[c] + w * g->scale > IMAGE_MAX_SIDE - MARGIN)
            return err("grid: column %d ends beyond %d pixels", c + 1, IMAGE_MAX_SIDE);
        l->x[c + 1] = l->x[c] + w * g->scale + GAP;
    }
    for (int c = 0; g->titles && c < g->cols; c++) {
        int lines = text_lines(NULL, 0, 0, l->x[c + 1] - l->x[c] - GAP, g->titles[c], 1);
        if (lines > l->title_lines) l->title_lines = lines;
    }
    l->y[0] = MARGIN + (l->title_lines ? l->title_lines * LINE + TEXT_GAP / 2 : 0);
    for (int r = 0; r < g->rows; r++) {
        int h = 0, text = g->labels ? text_lines(NULL, 0, 0, LABEL_WIDTH, g->labels[r], 0) * LINE : 0;
        for (int c = 0; c < g->cols; c++) {
            const Image *cell = &g->cells[r * g->cols + c];
            if (cell->rgb && cell->h > h) h = cell->h;
        }
        if (h > IMAGE_MAX_SIDE / g->scale) return err("grid: row %d is higher than %d pixels", r + 1, IMAGE_MAX_SIDE);
        if (h * g->scale > text) text = h * g->scale;
        if (l->y[r] + text > IMAGE_MAX_SIDE - MARGIN) return err("grid: row %d ends beyond %d pixels", r + 1, IMAGE_MAX_SIDE);
        l->y[r + 1] = l->y[r] + text + GAP;
    }
    return 0;
}

static void draw(Image *out, const Grid *g, const Layout *l)
{
    memset(out->rgb, 255, (size_t)out->w * (size_t)out->h * 3);
    for (int c = 0; g->titles && c < g->cols; c++) {
        int width = l->x[c + 1] - l->x[c] - GAP, lines = text_lines(NULL, 0, 0, width, g->titles[c], 1);
        text_lines(out, l->x[c], MARGIN + (l->title_lines - lines) * LINE, width, g->titles[c], 1);
    }
    for (int r = 0; r < g->rows; r++) {
        int height = l->y[r + 1] - l->y[r] - GAP;
        if (g->labels) {
            int lines = text_lines(NULL, 0, 0, LABEL_WIDTH, g->labels[r], 0);
            text_lines(out, MARGIN, l->y[r] + (height - lines * LINE) / 2, LABEL_WIDTH, g->labels[r], 0);
        }
        for (int c = 0; c < g->cols; c++) {
            const Image *cell = &g->cells[r * g->cols + c];
            int          width = l->x[c + 1] - l->x[c] - GAP;
            if (cell->rgb) draw_cell(out, l->x[c] + (width - cell->w * g->scale) / 2, l->y[r] + (height - cell->h * g->scale) / 2, cell, g->scale);
        }
    }
}

int grid_draw(Image *out, const Grid *g)
{
    CHECK(g->rows > 0 && g->cols > 0 && g->scale > 0, "grid of %d x %d at scale %d", g->rows, g->cols, g->scale);
    Layout l = { .x = calloc((size_t)g->cols + 1, sizeof *l.x), .y = calloc((size_t)g->rows + 1, sizeof *l.y) };
    int    status = !l.x || !l.y ? err("grid: no memory for %d rows and %d columns", g->rows, g->cols) : lay_out(&l, g);
    if (!status) status = image_new(out, l.x[g->cols] - GAP + MARGIN, l.y[g->rows] - GAP + MARGIN);
    if (!status) draw(out, g, &l);
    free(l.x), free(l.y);
    return status;
}
