#include "io/image.h"
#include "base/err.h"
#include "io/exif.h"
#include "io/file.h"
#include "io/png_text.h"
#include "io/stb.h"
#include "io/webp.h"
#include <errno.h>
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

/* ---- kinds ---- */

typedef enum { PNG, JPEG, BMP, WEBP, FOREIGN } Kind;

static const struct {
    Kind        kind;
    const char *name;
    size_t      at, size;
    const char *magic;
} kinds[] = {                                           /* those that are read stand at their own number */
    { PNG, "PNG", 0, 8, "\x89PNG\r\n\x1a\n" },          { JPEG, "JPEG", 0, 2, "\xff\xd8" },
    { BMP, "BMP", 0, 2, "BM" },                         { WEBP, "WebP", 8, 4, "WEBP" },
    { FOREIGN, "a GIF picture", 0, 4, "GIF8" },         { FOREIGN, "a TIFF picture", 0, 4, "II*\0" },
    { FOREIGN, "a TIFF picture", 0, 4, "MM\0*" },       { FOREIGN, "an AVIF picture", 4, 8, "ftypavif" },
    { FOREIGN, "an AVIF picture", 4, 8, "ftypavis" },   { FOREIGN, "a HEIF picture", 4, 4, "ftyp" },
    { FOREIGN, "a JPEG XL picture", 0, 2, "\xff\x0a" }, { FOREIGN, "a JPEG XL picture", 4, 4, "JXL " },
    { FOREIGN, "a JPEG 2000 picture", 4, 4, "jP  " },   { FOREIGN, "a Photoshop file", 0, 4, "8BPS" },
    { FOREIGN, "a PDF", 0, 5, "%PDF-" },                { FOREIGN, "a web page or an SVG", 0, 1, "<" },
};

/* What the file is, by its first bytes; -1 and err() when it is nothing that is read here. */
static int kind_of(const char *path, const uint8_t *file, size_t size)
{
    if (size == 0) return err("%s: a picture was expected, the file is empty", path);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (size < kinds[i].at + kinds[i].size || memcmp(file + kinds[i].at, kinds[i].magic, kinds[i].size)) continue;
        return kinds[i].kind == FOREIGN ? err("%s: %s; convert it to PNG or JPEG", path, kinds[i].name) : (int)kinds[i].kind;
    }
    return err("%s: not a picture: PNG, JPEG, BMP or WebP was expected", path);
}

/* What stb does not look at in a JPEG: that it has an end, as it fills what is missing with grey; that a Huffman table has at most 256 codes, which it would
 * write beyond its own; and what four components mean where Adobe's marker does not say so: it would take them for YCbCr and something. A marker is FF and a
 * byte that is neither 0 (an FF in the data of a scan), FF (filling) nor a restart; after it comes a segment's length. A table is a class, 16 counts and as
 * many codes as they sum up to; a frame has its bits, height, width and number of components. Returns what is wrong, or NULL. */
static const char cut_short[] = "cut short";
static const char *jpeg_flaw(const uint8_t *file, size_t size)
{
    enum { END = 0xd9, TABLES = 0xc4, RESTART = 0xd0, ADOBE = 0xee, FRAME = 0xc0, PROGRESSIVE = 0xc2, LAST_FRAME = 0xcf, RESERVED = 0xc8, ARITHMETIC = 0xcc };
    int adobe = -1;                                     /* its colour transform: 0 none, 1 YCbCr, 2 YCCK */
    for (size_t at = 2; at + 1 < size; at++) {
        int marker = file[at + 1];
        if (file[at] != 0xff || marker == 0 || marker == 0xff || (marker & ~7) == RESTART) continue;
        if (marker == END) return NULL;
        if (at + 4 > size) break;
        size_t end = at + 2 + (size_t)(file[at + 2] << 8 | file[at + 3]), codes;
        for (size_t table = at + 4; marker == TABLES && table < end && table < size; table += 17 + codes) {
            codes = 0;
            for (size_t i = 1; i <= 16 && table + i < size; i++) codes += file[table + i];       /* stb goes on beyond the segment */
            if (codes > 256) return "a Huffman table of more than 256 codes";
        }
        if (end > size) break;
        if (marker == ADOBE && end >= at + 16 && !memcmp(file + at + 4, "Adobe", 5)) adobe = file[at + 15];
        if (marker > PROGRESSIVE && marker <= LAST_FRAME && marker != TABLES && marker != RESERVED && marker != ARITHMETIC)
            return "its coding is lossless, hierarchical or arithmetic; save it again as an ordinary JPEG";
        if (marker >= FRAME && marker <= PROGRESSIVE && end >= at + 10) {
            if (file[at + 4] != 8) return "its colours have 12 bits; save it again with 8";
            if (file[at + 9] == 4 && adobe != 0 && adobe != 2) return "CMYK without Adobe's marker, so that its inks are unknown; convert it to RGB";
        }
        at = end > at + 4 ? end - 1 : at + 3;
    }
    return cut_short;
}

/* A BMP of 32 bits and no masks has no transparency: its fourth byte is not used, and means nothing. */
static int bmp_is_opaque(const uint8_t *file, size_t size) { return size >= 34 && file[28] == 32 && file[30] == 0; }

/* stb tries one format after the other, so that the reason it gives may be the last one's. */
static const char *reason(const char *flaw)
{
    const char *said = stbi_failure_reason();
    if (flaw) return flaw;
    if (errno == ENOMEM || !strcmp(said, "outofmem")) return "no memory";
    return !strcmp(said, "outofdata") ? cut_short : said;
}

/* ---- reading ---- */

/* (h,w,4), malloc'd. stb makes grey into colour, 16 bits into 8, palettes and transparent colours into alpha. */
static uint8_t *load_rgba(int *w, int *h, const char *path, const uint8_t *file, size_t size)
{
    int kind = kind_of(path, file, size), channels;
    if (kind < 0) return NULL;
    if (kind == WEBP) return webp_load(w, h, path, file, size);
    const char *flaw = kind == JPEG ? jpeg_flaw(file, size) : NULL;
    errno = 0;
    uint8_t    *rgba = flaw ? NULL : stbi_load_from_memory(file, (int)size, w, h, &channels, 4);
    if (!rgba) return err("%s: not a readable %s: %s", path, kinds[kind].name, reason(flaw)), NULL;
    if (kind == BMP && bmp_is_opaque(file, size))
        for (size_t i = 0; i < (size_t)*w * (size_t)*h; i++) rgba[4 * i + 3] = 255;
    return rgba;
}

/* What is stored, w columns and h rows, read in the order in which it is seen: a step to the right or down there is one in any of four directions here. */
static void turn_and_compose(Image *image, const uint8_t *rgba, int w, int h, int orientation, int background)
{
    const unsigned ground[3] = { (unsigned)background >> 16 & 255, (unsigned)background >> 8 & 255, (unsigned)background & 255 };
    int            from_right = orientation == 2 || orientation == 3 || orientation > 6;
    int            from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    ptrdiff_t      column = 4, row = 4 * (ptrdiff_t)w, first = 0;
    if (from_right) first += column * (w - 1), column = -column;
    if (from_bottom) first += row * (h - 1), row = -row;
    ptrdiff_t right = orientation > 4 ? row : column, down = orientation > 4 ? column : row;
    uint8_t  *rgb = image->rgb;
    for (int y = 0; y < image->h; y++) {
        const uint8_t *p = rgba + first + y * down;
        for (int x = 0; x < image->w; x++, p += right, rgb += 3)
            for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)((p[c] * (unsigned)p[3] + ground[c] * (255u - p[3]) + 127) / 255);
    }
}

int image_load(Image *image, const char *path, int background)
{
    size_t size;
    int    w, h;
    *image = (Image){ 0 };
    uint8_t *file = file_read(path, FILE_LIMIT, &size);
    if (!file) return -1;
    uint8_t *rgba = load_rgba(&w, &h, path, file, size);
    int      orientation = exif_orientation(file, size);
    free(file);
    if (!rgba) return -1;
    int result = orientation > 4 ? image_new(image, h, w) : image_new(image, w, h);
    if (result == 0) turn_and_compose(image, rgba, w, h, orientation, background);
    free(rgba);
    return result;
}

int image_size(int *w, int *h, const char *path)
{
    size_t   size;
    int      stored_w = 0, stored_h = 0, channels;
    uint8_t *file = file_read(path, FILE_LIMIT, &size);
    if (!file) return -1;
    int kind = kind_of(path, file, size), result = kind < 0 ? -1 : 0;
    const char *flaw = kind == JPEG ? jpeg_flaw(file, size) : NULL;
    errno = 0;
    if (flaw == cut_short) flaw = NULL;                 /* its head may be there */
    if (kind == WEBP) result = webp_size(&stored_w, &stored_h, path, file, size);
    else if (!result && (flaw || !stbi_info_from_memory(file, (int)size, &stored_w, &stored_h, &channels)))
        result = err("%s: not a readable %s: %s", path, kinds[kind].name, reason(flaw));
    int swap = exif_orientation(file, size) > 4;
    free(file);
    *w = swap ? stored_h : stored_w, *h = swap ? stored_w : stored_h;
    return result;
}

/* ---- writing ---- */

int image_png(uint8_t **png, size_t *size, const Image *image)
{
    *png = stb_png(size, image->rgb, image->w, image->h);
    return *png ? 0 : err("no memory to compress a picture of %d x %d", image->w, image->h);
}

int image_save(const char *path, const Image *image, const char *parameters)
{
    uint8_t *png;
    size_t   size;
    int      result = image_png(&png, &size, image);
    if (result == 0 && parameters) result = png_text_add(&png, &size, "parameters", parameters);
    if (result == 0) result = file_write(path, png, size);
    free(png);
    return result;
}
