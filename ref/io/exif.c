#include "io/exif.h"
#include <string.h>

/* Bytes of a file; every reader below stays inside of them. */
typedef struct {
    const uint8_t *data;
    size_t         size;
} Span;

static unsigned big16(const uint8_t *p) { return (unsigned)(p[0] << 8 | p[1]); }
static uint32_t big32(const uint8_t *p) { return (uint32_t)big16(p) << 16 | big16(p + 2); }
static unsigned little16(const uint8_t *p) { return (unsigned)(p[1] << 8 | p[0]); }
static uint32_t little32(const uint8_t *p) { return (uint32_t)little16(p + 2) << 16 | little16(p); }

/* ---- where the block lies ---- */

/* Segments FF, marker, length (which counts itself), up to the first scan. */
static Span find_in_jpeg(Span f)
{
    enum { SCAN = 0xda, END = 0xd9, APP1 = 0xe1, NAME = 6 };
    for (size_t at = 2; at + 4 <= f.size && f.data[at] == 0xff;) {
        int    marker = f.data[at + 1];
        size_t length = big16(f.data + at + 2);
        if (marker == 0xff) {                           /* filling */
            at++;
            continue;
        }
        if (marker == SCAN || marker == END || length < 2 || length > f.size - at - 2) break;
        if (marker == APP1 && length >= 2 + NAME && !memcmp(f.data + at + 4, "Exif\0", NAME)) return (Span){ f.data + at + 4 + NAME, length - 2 - NAME };
        at += 2 + length;
    }
    return (Span){ NULL, 0 };
}

/* Chunks: length, name, data, and a checksum that the length does not count. */
static Span find_in_png(Span f)
{
    for (size_t at = 8; f.size - at >= 12;) {
        size_t length = big32(f.data + at);
        if (length > f.size - at - 12) break;
        if (!memcmp(f.data + at + 4, "eXIf", 4)) return (Span){ f.data + at + 8, length };
        at += 12 + length;
    }
    return (Span){ NULL, 0 };
}

/* Chunks: name, length, data, and a byte more where the length is odd. Some programs put JPEG's name before the block. */
static Span find_in_webp(Span f)
{
    for (size_t at = 12; at <= f.size && f.size - at >= 8;) {
        size_t length = little32(f.data + at + 4), named = 0;
        if (length > f.size - at - 8) break;
        if (length >= 6 && !memcmp(f.data + at + 8, "Exif\0", 6)) named = 6;
        if (!memcmp(f.data + at, "EXIF", 4)) return (Span){ f.data + at + 8 + named, length - named };
        at += 8 + length + length % 2;
    }
    return (Span){ NULL, 0 };
}

/* ---- what it says ---- */

/* A TIFF: byte order, 42, offset of a directory: a count, then entries of 12 bytes: tag, type, how many, value (here within the entry). */
static int orientation(Span t)
{
    enum { TAG = 0x0112, SHORT = 3, LONG = 4 };
    if (t.size < 8 || (memcmp(t.data, "II*\0", 4) && memcmp(t.data, "MM\0*", 4))) return 1;
    unsigned (*u16)(const uint8_t *) = t.data[0] == 'M' ? big16 : little16;
    uint32_t (*u32)(const uint8_t *) = t.data[0] == 'M' ? big32 : little32;
    size_t at = u32(t.data + 4);
    if (at > t.size - 2) return 1;
    size_t entries = (t.size - at - 2) / 12, said = u16(t.data + at);
    const uint8_t *entry = t.data + at + 2;
    for (size_t i = 0; i < said && i < entries; i++, entry += 12) {
        if (u16(entry) != TAG) continue;
        uint32_t value = u16(entry + 2) == SHORT ? u16(entry + 8) : u16(entry + 2) == LONG ? u32(entry + 8) : 0;
        return u32(entry + 4) == 1 && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

int exif_orientation(const uint8_t *file, size_t size)
{
    Span f = { file, size }, block = { NULL, 0 };
    if (size >= 2 && !memcmp(file, "\xff\xd8", 2)) block = find_in_jpeg(f);
    else if (size >= 8 && !memcmp(file, "\x89PNG\r\n\x1a\n", 8)) block = find_in_png(f);
    else if (size >= 12 && !memcmp(file, "RIFF", 4) && !memcmp(file + 8, "WEBP", 4)) block = find_in_webp(f);
    return orientation(block);
}
