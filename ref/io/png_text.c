#include "io/png_text.h"
#include "base/err.h"
#include "io/crc32.h"
#include "io/utf8.h"
#include <stdlib.h>
#include <string.h>

/* A chunk is length, type, data, CRC of type and data: 4 + 4 + length + 4 bytes, numbers big-endian. */
enum { SIGNATURE = 8, FRAME = 12, KEY_LIMIT = 79 };

static uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }
static void     put32(uint8_t *p, uint32_t x) { p[0] = (uint8_t)(x >> 24), p[1] = (uint8_t)(x >> 16), p[2] = (uint8_t)(x >> 8), p[3] = (uint8_t)x; }

/* Of a chunk's type and data. */
static uint32_t checksum(const uint8_t *chunk, size_t length)
{
    Crc32 c;
    crc32_open(&c);
    return crc32_add(&c, 0, chunk + 4, 4 + length);
}

/* The chunk at *p, moving past it. NULL and err(): none is whole there. */
static const uint8_t *chunk_next(const uint8_t **p, const uint8_t *end, uint32_t *length)
{
    const uint8_t *chunk = *p;
    if (end - chunk < FRAME || get32(chunk) > (size_t)(end - chunk) - FRAME) return err("the PNG is cut short"), NULL;
    *length = get32(chunk);
    *p = chunk + FRAME + *length;
    return chunk;
}

static int is_type(const uint8_t *chunk, const char *type) { return memcmp(chunk + 4, type, 4) == 0; }

static const uint8_t *chunks(const uint8_t *png, size_t size)
{
    if (size < SIGNATURE || memcmp(png, "\x89PNG\r\n\x1a\n", SIGNATURE) != 0) return err("this is not a PNG"), NULL;
    return png + SIGNATURE;
}

/* ---- writing ---- */

/* Bytes of the text in Latin-1; 0: it does not fit, or is empty. dst may be NULL. */
static size_t latin1(uint8_t *dst, const char *text, size_t size)
{
    size_t count = 0;
    for (const char *end = text + size; text < end; count++) {
        int32_t code = utf8_next(&text, end);
        if (code > 255) return 0;
        if (dst) dst[count] = (uint8_t)code;
    }
    return count;
}

int png_text_add(uint8_t **png, size_t *size, const char *key, const char *text)
{
    uint32_t length;
    size_t key_size = strlen(key) + 1, text_size = strlen(text), plain = latin1(NULL, text, text_size);
    CHECK(key_size > 1 && key_size <= KEY_LIMIT + 1, "PNG text key \"%s\"", key);
    if (!utf8_valid(text, text_size)) return err("%s: the text for a PNG is not UTF-8", key);
    if (text_size > INT32_MAX - 1024) return err("%s: the text for a PNG is too long", key);

    const uint8_t *start = chunks(*png, *size), *p = start, *at = NULL;
    do {
        if (!p || !(at = chunk_next(&p, *png + *size, &length))) return -1;
    } while (!is_type(at, "IDAT") && !is_type(at, "IEND"));

    /* tEXt: key 0 text.  iTXt: key 0, compressed 0, method 0, language "", translated key "", text. */
    int    latin = plain > 0 || text_size == 0;
    size_t place = (size_t)(at - *png), data = key_size + (latin ? plain : 4 + text_size), grown = FRAME + data;
    uint8_t *wider = realloc(*png, *size + grown);
    if (!wider) return err("%s: no memory for a PNG's text", key);
    uint8_t *chunk = wider + place, *body = chunk + 8;
    memmove(chunk + grown, chunk, *size - place);
    put32(chunk, (uint32_t)data);
    memcpy(chunk + 4, latin ? "tEXt" : "iTXt", 4);
    memcpy(body, key, key_size);
    if (latin) latin1(body + key_size, text, text_size);
    else memset(body + key_size, 0, 4), memcpy(body + key_size + 4, text, text_size);
    put32(body + data, checksum(chunk, data));
    *png = wider, *size += grown;
    return 0;
}

/* ---- reading ---- */

/* Latin-1 as UTF-8: at most two bytes each. */
static char *from_latin1(const uint8_t *data, size_t size)
{
    char *text = malloc(2 * size + 1), *p = text;
    if (!text) return err("no memory for a PNG's text"), NULL;
    for (size_t i = 0; i < size; i++) p += utf8_put(p, data[i]);
    *p = 0;
    return text;
}

/* The data of an iTXt chunk behind its key: two flags, two strings that end in 0, the text. */
static char *from_itxt(const uint8_t *data, size_t size, const char *key)
{
    const uint8_t *end = data + size, *p = data + 2;
    if (size < 4) return err("%s: the PNG's text is cut short", key), NULL;
    if (data[0] != 0) return err("%s: the PNG's text is compressed, which is not read here", key), NULL;
    for (int i = 0; i < 2; i++, p++)
        if (!(p = memchr(p, 0, (size_t)(end - p)))) return err("%s: the PNG's text is cut short", key), NULL;
    if (!utf8_valid((const char *)p, (size_t)(end - p))) return err("%s: the PNG's text is not UTF-8", key), NULL;
    char *text = strndup((const char *)p, (size_t)(end - p));
    if (!text) err("no memory for a PNG's text");
    return text;
}

int png_text_find(char **text, const uint8_t *png, size_t size, const char *key)
{
    uint32_t length;
    size_t key_size = strlen(key) + 1;
    *text = NULL;
    const uint8_t *p = chunks(png, size), *chunk;
    if (!p) return -1;
    do {
        if (!(chunk = chunk_next(&p, png + size, &length))) return -1;
        int plain = is_type(chunk, "tEXt"), wide = is_type(chunk, "iTXt");
        if (!plain && !wide && !is_type(chunk, "zTXt")) continue;
        if (length < key_size || memcmp(chunk + 8, key, key_size) != 0) continue;
        if (checksum(chunk, length) != get32(p - 4)) return err("%s: the PNG's text has a wrong checksum", key);
        if (!plain && !wide) return err("%s: the PNG's text is compressed, which is not read here", key);
        const uint8_t *data = chunk + 8 + key_size;
        *text = plain ? from_latin1(data, length - key_size) : from_itxt(data, length - key_size, key);
        return *text ? 0 : -1;
    } while (!is_type(chunk, "IEND"));
    return 0;
}
