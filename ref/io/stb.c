#include "io/stb.h"
#include "io/image.h"
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- the writer's memory: where there is none it asserts; here it comes back to stb_png instead, and what it had taken is given back ---- */

typedef union Block {
    struct {
        union Block *before, *after;
    } in;
    max_align_t align;                                  /* of what follows */
} Block;

static _Thread_local Block  *taken;                     /* the last block */
static _Thread_local jmp_buf starved;

static void *take(void *p, size_t size)
{
    Block *old = p ? (Block *)p - 1 : NULL, *b = realloc(old, sizeof *b + size);
    if (!b) longjmp(starved, 1);
    if (!old) b->in.before = taken, b->in.after = NULL;
    if (b->in.before) b->in.before->in.after = b;
    if (b->in.after) b->in.after->in.before = b;
    else taken = b;
    return b + 1;
}

static void give(void *p)
{
    Block *b = p ? (Block *)p - 1 : NULL;
    if (!b) return;
    if (b->in.before) b->in.before->in.after = b->in.after;
    if (b->in.after) b->in.after->in.before = b->in.before;
    else taken = b->in.before;
    free(b);
}

#define STBIW_MALLOC(size) take(NULL, size)
#define STBIW_REALLOC(p, size) take(p, size)
#define STBIW_FREE(p) give(p)

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_MAX_DIMENSIONS IMAGE_MAX_SIDE
#define STBI_WRITE_NO_STDIO
#include <stb_image.h>
#include <stb_image_write.h>

static uint8_t *write_png(size_t *size, const uint8_t *rgb, int w, int h)
{
    int      length = 0;
    uint8_t *out = stbi_write_png_to_mem(rgb, 3 * w, w, h, 3, &length), *png = malloc((size_t)length);
    if (png) memcpy(png, out, *size = (size_t)length);
    give(out);
    return png;
}

uint8_t *stb_png(size_t *size, const uint8_t *rgb, int w, int h)
{
    if (setjmp(starved) == 0) return write_png(size, rgb, w, h);
    while (taken) give(taken + 1);
    return NULL;
}
