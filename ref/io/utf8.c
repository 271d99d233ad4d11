#include "io/utf8.h"

/* Table 3-7 of the Unicode Standard: what may follow a lead byte. Only the second byte has a range of its own; it excludes overlong forms (E0, F0),
 * surrogates (ED) and what lies beyond U+10FFFF (F4). */
int32_t utf8_next(const char **s, const char *end)
{
    const unsigned char *p = (const unsigned char *)*s, *stop = (const unsigned char *)end;
    unsigned lead = *p++;
    int more = lead < 0x80 ? 0 : lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
    int32_t code = more <= 0 ? (int32_t)lead : (int32_t)(lead & (0x3fu >> more));
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (; more > 0 && p < stop && *p >= low && *p <= high; more--, low = 0x80, high = 0xbf) code = code << 6 | (*p++ & 0x3f);
    *s = (const char *)p;
    return more ? -1 : code;
}

int utf8_put(char out[4], int32_t code)
{
    if (code < 0x80) return out[0] = (char)code, 1;
    if (code < 0x800) return out[0] = (char)(0xc0 | code >> 6), out[1] = (char)(0x80 | (code & 0x3f)), 2;
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12), out[1] = (char)(0x80 | (code >> 6 & 0x3f)), out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18), out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f)), out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

int utf8_cut(const char *s, size_t size, int most)
{
    if (size <= (size_t)most) return (int)size;
    while (most > 0 && ((uint8_t)s[most] & 0xc0) == 0x80) most--;
    return most;
}

int utf8_valid(const char *s, size_t size)
{
    const char *end = s + size;
    while (s < end)
        if (utf8_next(&s, end) < 0) return 0;
    return 1;
}

int utf8_printable(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 127) return 0;
    return 1;
}
