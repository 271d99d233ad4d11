/* covers ref/text/caption.c
 * A caption file, read and put under the rules of training. */
#include "fuzz.h"
#include "io/utf8.h"
#include "text/caption.h"
#include <string.h>

int fuzz_one(const uint8_t *data, size_t size)
{
    char          caption[CAPTION_SIZE], out[CAPTION_SIZE];
    int           lines;
    const char   *path = fuzz_file("a.txt", data, size);
    CaptionResult result = caption_read(caption, &lines, path);
    if (result != CAPTION_OK) return fuzz_refused(path), 0;
    CHECK(*caption && lines > 0 && utf8_valid(caption, strlen(caption)) && !strpbrk(caption, "\r\n"), "no caption: %s", caption);
    for (uint32_t k = 0; k < 16; k++) {
        CaptionRules rules = { .shuffle = k & 1, .keep_tokens = k & 2 ? 2 : 0, .dropout = k & 4 ? 0.3 : 0, .tag_dropout = k & 8 ? 0.5 : 0 };
        Rng          rng = rng_open(7, RNG_TEST, k, (uint32_t)size);
        int          length = caption_apply(out, sizeof out, caption, &rules, &rng);
        CHECK(length >= 0 && (size_t)length == strlen(out) && utf8_valid(out, strlen(out)), "%d bytes of \"%s\"", length, out);
        CHECK(k || !strcmp(out, caption), "changed without a rule");
        char small[8];
        rng = rng_open(7, RNG_TEST, k, (uint32_t)size);
        int fits = caption_apply(small, sizeof small, caption, &rules, &rng);
        CHECK(fits < 0 || (size_t)fits == strlen(small), "%d bytes in %zu", fits, sizeof small);
    }
    return 0;
}
