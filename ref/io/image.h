/* image.h - 8-bit RGB pictures: from PNG, JPEG, BMP and, where libwebp was there to build with, WebP; to PNG.
 *
 * What is read is the picture as a viewer shows it: turned as its EXIF orientation says (io/exif.h), grey as RGB, palettes looked up, 16 bits cut to their
 * upper 8, CMYK and YCCK as Adobe's programs write them, transparency composed on a colour c: c' = (a p + (255 - a) c)/255, rounded. Other
 * formats are refused, each by its name, whatever the file is called. */
#ifndef IO_IMAGE_H
#define IO_IMAGE_H
#include <stddef.h>
#include <stdint.h>

enum { IMAGE_MAX_SIDE = 16384, IMAGE_WHITE = 0xffffff };

typedef struct {
    int      w, h;
    uint8_t *rgb;                                       /* (h,w,3), malloc'd */
} Image;

int  image_new(Image *image, int w, int h);             /* black; 0, or -1 and err() */
void image_free(Image *image);

/* background: the colour behind what is transparent, 0xRRGGBB. 0, or -1 and err(): the file and what is wrong with it. */
int image_load(Image *image, const char *path, int background);
int image_size(int *w, int *h, const char *path);       /* as image_load would give it; looks at the file's head alone, so that damage may go unseen */

int image_png(uint8_t **png, size_t *size, const Image *image);         /* *png = the file in memory, malloc'd. 0, or -1 and err() */

/* `parameters`: text for the PNG's chunk of that name (io/png_text.h), or NULL. */
int image_save(const char *path, const Image *image, const char *parameters);
#endif
