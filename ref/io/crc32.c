#include "io/crc32.h"

enum { SLICES = 16 };

void crc32_open(Crc32 *c)
{
    for (uint32_t x = 0; x < 256; x++) {
        uint32_t crc = x;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        c->slice[0][x] = crc;
    }
    for (int k = 1; k < SLICES; k++)
        for (int x = 0; x < 256; x++) c->slice[k][x] = c->slice[k - 1][x] >> 8 ^ c->slice[0][c->slice[k - 1][x] & 255];
}

static uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

/* Four bytes, the first of which has `last` + 3 behind it. */
static uint32_t four(const Crc32 *c, uint32_t x, int last)
{
    return c->slice[last + 3][x & 255] ^ c->slice[last + 2][x >> 8 & 255] ^ c->slice[last + 1][x >> 16 & 255] ^ c->slice[last][x >> 24];
}

uint32_t crc32_add(const Crc32 *c, uint32_t crc, const void *data, size_t size)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; size >= SLICES; p += SLICES, size -= SLICES)
        crc = four(c, get32(p) ^ crc, 12) ^ four(c, get32(p + 4), 8) ^ four(c, get32(p + 8), 4) ^ four(c, get32(p + 12), 0);
    for (; size > 0; p++, size--) crc = crc >> 8 ^ c->slice[0][(crc ^ *p) & 255];
    return ~crc;
}
