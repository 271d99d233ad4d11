/* crc32.h - the CRC-32 of PNG and zlib, a bit at a time: goldens of many bytes are stored as this. */
#ifndef TESTS_CRC32_H
#define TESTS_CRC32_H
#include <stddef.h>
#include <stdint.h>

/* The CRC so far (0 at the start) and `size` bytes more. */
static inline uint32_t crc32_more(uint32_t crc, const void *data, size_t size)
{
    crc = ~crc;
    for (const uint8_t *p = data, *end = p + size; p < end; p++) {
        crc ^= *p;
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}
#endif
