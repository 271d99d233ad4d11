#include "io/hash.h"
#include "base/err.h"
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <string.h>
#include <unistd.h>

_Static_assert(HASH_SIZE == SHA256_DIGEST_STRING_LENGTH, "hex digits of a SHA-256");

void hash_data(char hex[HASH_SIZE], const void *data, size_t size) { SHA256Data(data, size, hex); }

int hash_file(char hex[HASH_SIZE], const char *path) { return hash_file_range(hex, path, 0, UINT64_MAX); }

int hash_file_range(char hex[HASH_SIZE], const char *path, uint64_t offset, uint64_t size)
{
    static _Thread_local uint8_t buffer[1 << 16];
    SHA2_CTX ctx;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err("%s: %s", path, strerror(errno));
    SHA256Init(&ctx);
    ssize_t n = 1;
    while (n > 0 && size > 0 && offset <= INT64_MAX) {
        n = pread(fd, buffer, size < sizeof buffer ? (size_t)size : sizeof buffer, (off_t)offset);
        if (n < 0 && errno == EINTR) n = 1;
        else if (n > 0) SHA256Update(&ctx, buffer, (size_t)n), offset += (uint64_t)n, size -= (uint64_t)n;
    }
    if (n < 0) err("%s: %s", path, strerror(errno));
    close(fd);
    SHA256End(&ctx, hex);
    return n < 0 ? -1 : 0;
}
