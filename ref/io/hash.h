/* hash.h - SHA-256 (FIPS 180-4), as lower-case hex digits and a closing 0. */
#ifndef IO_HASH_H
#define IO_HASH_H
#include <stddef.h>
#include <stdint.h>

enum { HASH_SIZE = 65 };

void hash_data(char hex[HASH_SIZE], const void *data, size_t size);
int  hash_file(char hex[HASH_SIZE], const char *path);  /* 0, or -1 and err() */

/* Bytes [offset, offset + size) as far as the file has them: beyond its end it is the hash of nothing. */
int hash_file_range(char hex[HASH_SIZE], const char *path, uint64_t offset, uint64_t size);
#endif
