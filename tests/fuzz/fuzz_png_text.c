/* covers ref/io/png_text.c ref/io/utf8.c
 * Any bytes as a PNG: its texts are found or refused, and one put in is found again. */
#include "fuzz.h"
#include "io/png_text.h"
#include <stdlib.h>
#include <string.h>

int fuzz_one(const uint8_t *data, size_t size)
{
    static const char *const keys[] = { "parameters", "Comment", "k" };
    static const char *const texts[] = { "", "plain", "gr\xc3\xbcn", "\xe2\x98\x83", "\xff ill-formed" };
    char                    *text;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        if (png_text_find(&text, data, size, keys[k]) < 0) fuzz_refused("");               /* memory: no file to name */
        else if (text) CHECK(strlen(text) <= 2 * size, "a text longer than its file");
        free(text);
    }
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        size_t   grown = size;
        int      there = png_text_find(&text, data, size, "new key") < 0 || text;
        free(text);
        uint8_t *png = malloc(size + 1);
        CHECK(png, "no memory for %zu bytes", size);
        memcpy(png, data, size);
        text = NULL;
        if (png_text_add(&png, &grown, "new key", texts[k]) < 0) fuzz_refused("");
        else if (!there) CHECK(k < 4 && grown > size && png_text_find(&text, png, grown, "new key") == 0 && text, "what was put in is not found");
        free(text);
        free(png);
    }
    return 0;
}
