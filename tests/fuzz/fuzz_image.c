/* covers ref/io/image.c ref/io/webp.c
 * Any file as a picture: its size is known before it is read, and what was read is the same when it is written and read again. */
#include "fuzz.h"
#include "io/file.h"
#include "io/image.h"
#include "io/png_text.h"
#include "io/webp.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 18 };                                /* pixels: a file of a few bytes may claim many more, and is only measured then */

static void check_again(const Image *image)
{
    Image       copy;
    size_t      size;
    char       *text;
    const char *path = fuzz_file("again.png", "", 0);
    CHECK(image_save(path, image, "made again") == 0 && image_load(&copy, path, IMAGE_WHITE) == 0, "%s", err_text());
    CHECK(copy.w == image->w && copy.h == image->h && !memcmp(copy.rgb, image->rgb, (size_t)copy.w * (size_t)copy.h * 3), "other pixels");
    uint8_t *png = file_read(path, 1 << 24, &size);
    CHECK(png && png_text_find(&text, png, size, "parameters") == 0 && text && !strcmp(text, "made again"), "%s", err_text());
    free(text);
    free(png);
    image_free(&copy);
}

int fuzz_one(const uint8_t *data, size_t size)
{
    Image       image;
    int         w, h;
    const char *path = fuzz_file("a.png", data, size);
    if (image_size(&w, &h, path) < 0) {
        fuzz_refused(path);
        w = h = 0;
    }
    if ((double)w * h > MOST) return 0;
    if (image_load(&image, path, 0x10c81e) < 0) return fuzz_refused(path), 0;
    CHECK(webp_built() || memcmp(data + 8, "WEBP", 4), "a WebP picture, and there is nothing that could read it");
    CHECK(image.w == w && image.h == h, "%d x %d, and %d x %d was said before", image.w, image.h, w, h);
    check_again(&image);
    image_free(&image);
    return 0;
}
