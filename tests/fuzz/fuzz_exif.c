/* covers ref/io/exif.c */
#include "fuzz.h"
#include "io/exif.h"

int fuzz_one(const uint8_t *data, size_t size)
{
    int way = exif_orientation(data, size);
    CHECK(way >= 1 && way <= 8, "orientation %d", way);
    return 0;
}
