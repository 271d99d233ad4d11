#include "io/image.h"
#include "base/err.h"
#include "io/file.h"
#include "io/png_text.h"
#include <errno.h>
#include <stb_image.h>
#include <stb_image_write.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 30 };

int image_new(Image *image, int w, int h)
{
    CHECK(w > 0 && h > 0 && w <= IMAGE_MAX_SIDE && h <= IMAGE_MAX_SIDE, "image of %d x %d", w, h);
    *image = (Image){ w, h, calloc((size_t)w * (size_t)h, 3) };
    return image->rgb ? 0 : err("no memory for a picture of %d x %d", w, h);
}

void image_free(Image *image)
{
    free(image->rgb);
    *image = (Image){ 0 };
}

static void compose_on_white(uint8_t *rgb, const uint8_t *rgba, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++) {
            unsigned a = rgba[4 * i + 3];
            rgb[3 * i + c] = (uint8_t)((rgba[4 * i + c] * a + 255 * (255 - a) + 127) / 255);
        }
}

/* What stb does not look at in a JPEG: that it has an end, as it fills what is missing with grey, and that a Huffman table has at most 256 codes, which it
 * would write beyond its own. A marker is FF and a byte that is neither 0 (an FF in the data of a scan), FF (filling) nor a restart; after it comes a segment's
 * length. A table is a class, 16 counts and as many codes as they sum up to. Returns what is wrong, or NULL. */
static const char *jpeg_flaw(const uint8_t *file, size_t size)
{
    enum { START = 0xd8, END = 0xd9, TABLES = 0xc4, RESTART = 0xd0 };
    if (size < 2 || file[0] != 0xff || file[1] != START) return NULL;
    for (size_t at = 2; at + 1 < size; at++) {
        int marker = file[at + 1];
        if (file[at] != 0xff || marker == 0 || marker == 0xff || (marker & ~7) == RESTART) continue;
        if (marker == END) return NULL;
        if (at + 4 > size || at + 2 + (size_t)(file[at + 2] << 8 | file[at + 3]) > size) break;
        size_t end = at + 2 + (size_t)(file[at + 2] << 8 | file[at + 3]), codes;
        for (size_t table = at + 4; marker == TABLES && table < end; table += 17 + codes) {
            codes = 0;
            for (size_t i = 1; i <= 16 && table + i < end; i++) codes += file[table + i];
            if (codes > 256) return "a Huffman table of more than 256 codes";
        }
        at = end > at + 4 ? end - 1 : at + 3;
    }
    return "cut short";
}

/* stb makes grey into colour, 16 bits into 8, palettes and transparent colours into alpha. */
int image_load(Image *image, const char *path)
{
    size_t size;
    int w, h, channels;
    *image = (Image){ 0 };
    uint8_t *file = file_read(path, FILE_LIMIT, &size);
    if (!file) return -1;
    const char *flaw = jpeg_flaw(file, size);
    uint8_t *rgba = flaw ? NULL : stbi_load_from_memory(file, (int)size, &w, &h, &channels, 4);
    free(file);
    if (!rgba) return err("%s: not a readable PNG, JPEG or BMP: %s", path, flaw ? flaw : stbi_failure_reason());
    int result = image_new(image, w, h);
    if (result == 0) compose_on_white(image->rgb, rgba, (size_t)w * (size_t)h);
    free(rgba);
    return result;
}

int image_size(int *w, int *h, const char *path)
{
    int channels;
    FILE *file = fopen(path, "rb");
    if (!file) return err("%s: %s", path, strerror(errno));
    int known = stbi_info_from_file(file, w, h, &channels);
    fclose(file);
    return known ? 0 : err("%s: not a readable PNG, JPEG or BMP: %s", path, stbi_failure_reason());
}

typedef struct {
    uint8_t *data;
    size_t   size;
} Bytes;

/* stb calls this once, with all of the file. */
static void keep(void *ctx, void *data, int size)
{
    Bytes *png = ctx;
    png->data = malloc((size_t)size);
    if (png->data) memcpy(png->data, data, (size_t)size), png->size = (size_t)size;
}

int image_save(const char *path, const Image *image, const char *parameters)
{
    Bytes png = { 0 };
    stbi_write_png_to_func(keep, &png, image->w, image->h, 3, image->rgb, 3 * image->w);
    int result = png.data ? 0 : err("%s: no memory to compress it", path);
    if (result == 0 && parameters) result = png_text_add(&png.data, &png.size, "parameters", parameters);
    if (result == 0) result = file_write(path, png.data, png.size);
    free(png.data);
    return result;
}
