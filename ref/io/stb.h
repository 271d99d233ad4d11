/* stb.h - Sean Barrett's stb_image and stb_image_write, compiled in stb.c and nowhere else: PNG, JPEG and BMP in (stb_image.h says how), PNG out. */
#ifndef IO_STB_H
#define IO_STB_H
#include <stb_image.h>
#include <stddef.h>
#include <stdint.h>

uint8_t *stb_png(size_t *size, const uint8_t *rgb, int w, int h);       /* the file of a picture (h,w,3), malloc'd; NULL: no memory, no err() */
#endif
