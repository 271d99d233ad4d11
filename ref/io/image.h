/* image.h - 8-bit RGB pictures, from PNG, JPEG and BMP, to PNG. */
#ifndef IO_IMAGE_H
#define IO_IMAGE_H
#include <stddef.h>
#include <stdint.h>

enum { IMAGE_MAX_SIDE = 16384 };

typedef struct {
    int      w, h;
    uint8_t *rgb;                                       /* (h,w,3), malloc'd */
} Image;

int  image_new(Image *image, int w, int h);             /* black; 0, or -1 and err() */
void image_free(Image *image);

/* Grey becomes RGB, 16 bits keep their upper 8, transparency is composed on white, c' = c a + 255 (1 - a), rounded. 0, or -1 and err(). */
int image_load(Image *image, const char *path);
int image_size(int *w, int *h, const char *path);       /* reads the header only */

/* `parameters`: text for the PNG's chunk of that name (io/png_text.h), or NULL. */
int image_save(const char *path, const Image *image, const char *parameters);
#endif
