/* exif.h - which way up a picture is to be seen: what the camera wrote beside it (Exif 2.32, tag 0x0112).
 *
 * The file is held as it was taken, and the number says where the first row and the first column of what is stored belong:
 *
 *     1 top, left    2 top, right    3 bottom, right    4 bottom, left    5 left, top    6 right, top    7 right, bottom    8 left, bottom
 *
 * From 5 on rows are columns, and the picture's width is the stored height. */
#ifndef IO_EXIF_H
#define IO_EXIF_H
#include <stddef.h>
#include <stdint.h>

/* Of a whole JPEG (APP1), PNG (eXIf) or WebP (EXIF) file. 1..8; 1 where there is none, or none that can be read: it is never a reason to refuse a picture. */
int exif_orientation(const uint8_t *file, size_t size);
#endif
