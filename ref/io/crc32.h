/* crc32.h - CRC-32 of ISO 3309 (polynomial 0x04c11db7, bits reversed): what ZIP and PNG check their bytes by.
 *
 * Sixteen bytes a turn, by sixteen tables (Kounavis & Berry 2008, slicing by 16): over 2 GB/s. The tables are the caller's, so that nothing is global. */
#ifndef IO_CRC32_H
#define IO_CRC32_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t slice[16][256];                            /* [k][x]: the CRC of byte x with k zero bytes behind it */
} Crc32;

void     crc32_open(Crc32 *c);
uint32_t crc32_add(const Crc32 *c, uint32_t crc, const void *data, size_t size);        /* crc so far, 0 at the start, and `size` bytes more */
#endif
