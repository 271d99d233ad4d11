/* grid.h - pictures in rows and columns on white, with a title above each column and a label beside each row.
 *
 * Titles and labels are ASCII; each other character (a UTF-8 sequence) is shown as '?'. They are wrapped at spaces to the width there is. */
#ifndef IO_GRID_H
#define IO_GRID_H
#include "io/image.h"

typedef struct {
    int                rows, cols;                      /* from 1 */
    int                scale;                           /* each pixel becomes scale x scale pixels; from 1 */
    const Image       *cells;                           /* (rows, cols), row by row; sizes may differ; rgb NULL: left white */
    const char *const *titles;                          /* cols texts, or NULL */
    const char *const *labels;                          /* rows texts, or NULL */
} Grid;

/* Draws the grid into a new picture, which the caller frees with image_free. 0, or -1 and err(): no memory, or larger than a picture may be. */
int grid_draw(Image *out, const Grid *grid);
#endif
