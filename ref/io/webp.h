/* webp.h - WebP pictures through libwebp, where it was there to build with. */
#ifndef IO_WEBP_H
#define IO_WEBP_H
#include <stddef.h>
#include <stdint.h>

int webp_built(void);                                   /* 0: without libwebp, and the functions below refuse every file */

/* Of the bytes of the file at path. 0, or -1 and err(). */
int webp_size(int *w, int *h, const char *path, const uint8_t *file, size_t size);

/* (h,w,4) as RGBA, malloc'd; NULL and err(). */
uint8_t *webp_load(int *w, int *h, const char *path, const uint8_t *file, size_t size);
#endif
