/* covers ref/io/zip.c
 * Any archive: its members lie in it, apart from one another, each under its own name. */
#include "fuzz.h"
#include "io/zip.h"
#include <string.h>

int fuzz_one(const uint8_t *data, size_t size)
{
    Zip *z = zip_open(data, size, "a.zip");
    if (!z) return fuzz_refused("a.zip"), 0;
    size_t all = 0;
    for (int i = 0; i < z->count; i++) {
        const ZipMember *m = &z->member[i];
        const uint8_t   *begin = m->data;
        CHECK(zip_find(z, m->name) == m, "%s is not found", m->name);
        CHECK(begin >= data && m->bytes <= (size_t)(data + size - begin), "%s lies outside", m->name);
        all += m->bytes;
    }
    CHECK(all <= size, "%zu bytes in an archive of %zu", all, size);
    CHECK(!zip_find(z, "no such member\x01"), "found what is not there");
    zip_close(z);
    return 0;
}
