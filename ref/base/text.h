/* text.h - a text that is printed into memory.
 *
 * As open_memstream does, but for memory that runs out: glibc's then drops what was printed, and neither ferror nor fclose tells. Here the text is whole or
 * there is none. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H
#include <stdio.h>

typedef struct {
    FILE  *out;                                         /* print here */
    char  *s;
    size_t length, room;                                /* length: of what was flushed */
} Text;

FILE *text_open(Text *t);                               /* t->out, or NULL: no memory; then text_close gives NULL, too */
char *text_close(Text *t);                              /* t->s, t->length bytes and a 0, the caller's to free; NULL: there was no memory for all of it */
#endif
