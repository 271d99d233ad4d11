#include "io/webp.h"
#include "base/err.h"

#ifdef HAVE_WEBP                                        /* the Makefile looks for the library; no other file knows */
#include <stdlib.h>
#include <webp/decode.h>

int webp_built(void) { return 1; }

int webp_size(int *w, int *h, const char *path, const uint8_t *file, size_t size)
{
    WebPBitstreamFeatures f;
    if (WebPGetFeatures(file, size, &f) != VP8_STATUS_OK) return err("%s: a damaged WebP picture", path);
    if (f.has_animation) return err("%s: a WebP animation; save one picture of it as PNG or JPEG", path);
    *w = f.width, *h = f.height;
    return 0;
}

uint8_t *webp_load(int *w, int *h, const char *path, const uint8_t *file, size_t size)
{
    if (webp_size(w, h, path, file, size)) return NULL;
    size_t   bytes = 4 * (size_t)*w * (size_t)*h;
    uint8_t *rgba = malloc(bytes);
    if (!rgba) return err("%s: no memory for a picture of %d x %d", path, *w, *h), NULL;
    if (WebPDecodeRGBAInto(file, size, rgba, bytes, 4 * *w)) return rgba;
    free(rgba);
    return err("%s: a damaged WebP picture", path), NULL;
}
#else
int webp_built(void) { return 0; }

int webp_size(int *w, int *h, const char *path, const uint8_t *file, size_t size)
{
    (void)w, (void)h, (void)file, (void)size;
    return err("%s: a WebP picture; this build has no libwebp: convert it to PNG or install libwebp-dev and rebuild", path);
}

uint8_t *webp_load(int *w, int *h, const char *path, const uint8_t *file, size_t size) { return webp_size(w, h, path, file, size), NULL; }
#endif
