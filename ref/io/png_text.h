/* png_text.h - the text chunks of a PNG in memory (PNG specification, 3rd edition, 11.3.3).
 *
 * Text is UTF-8 here. In the file it is tEXt where Latin-1 holds it and iTXt otherwise, as PIL and with it the web UI write it. */
#ifndef IO_PNG_TEXT_H
#define IO_PNG_TEXT_H
#include <stddef.h>
#include <stdint.h>

/* Puts a chunk before the first IDAT; *png is malloc'd and may move. Ill-formed UTF-8 is refused. 0, or -1 and err(). */
int png_text_add(uint8_t **png, size_t *size, const char *key, const char *text);

/* *text = the malloc'd text under the key, or NULL when there is none. -1 and err(): not a PNG, cut short, wrong checksum, or a compressed text. */
int png_text_find(char **text, const uint8_t *png, size_t size, const char *key);
#endif
