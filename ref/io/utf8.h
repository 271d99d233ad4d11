/* utf8.h - UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, at most U+10FFFF. */
#ifndef IO_UTF8_H
#define IO_UTF8_H
#include <stddef.h>
#include <stdint.h>

enum { UTF8_REPLACEMENT = 0xfffd };

/* The code point at *s, which moves past it; *s < end. -1: ill-formed, and *s moves past the longest prefix of a character there, at least a byte, which
 * Unicode (3.9, best practice) and Python's errors="replace" make one U+FFFD. */
int32_t utf8_next(const char **s, const char *end);

int utf8_put(char out[4], int32_t code);                /* the number of bytes written, 1..4 */
int utf8_cut(const char *s, size_t size, int most);     /* bytes of the whole characters among the first `most` of well-formed s[0..size) */
int utf8_valid(const char *s, size_t size);
int utf8_printable(const char *s, size_t size);         /* no control character, below U+0020 or U+007F: a name that may stand in a message's line */
#endif
