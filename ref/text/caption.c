#include "text/caption.h"
#include "base/err.h"
#include "io/file.h"
#include "io/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TAGS = CAPTION_SIZE / 2, LONGEST = CAPTION_SIZE / 2 - 1 };       /* what is read, and commas alone grow to twice their size */

typedef struct {
    const char *text;
    int         size;
} Span;

static int is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static Span strip(Span s)
{
    while (s.size > 0 && is_blank(s.text[0])) s.text++, s.size--;
    while (s.size > 0 && is_blank(s.text[s.size - 1])) s.size--;
    return s;
}

/* The tags between commas, stripped; empty ones count, as they do for kohya. Returns how many, or -1 when there are more than MAX_TAGS. */
static int split(Span tag[MAX_TAGS], const char *caption)
{
    for (int count = 0; count < MAX_TAGS; caption++) {
        int size = (int)strcspn(caption, ",");
        tag[count++] = strip((Span){ caption, size });
        caption += size;
        if (!*caption) return count;
    }
    return -1;
}

static int put(char *out, size_t size, size_t *used, const char *text, size_t length)
{
    if (length >= size - *used) return err("a caption is longer than %zu bytes", size - 1);
    memcpy(out + *used, text, length);
    out[*used += length] = 0;
    return 0;
}

int caption_apply(char *out, size_t size, const char *caption, const CaptionRules *rules, Rng *rng)
{
    Span   tag[MAX_TAGS];
    int    order[MAX_TAGS];
    size_t used = 0;
    CHECK(size > 0, "caption: no room for the closing 0");
    *out = 0;
    if (rules->dropout > 0 && rng_uniform(rng) < rules->dropout) return 0;
    if (!rules->shuffle && !(rules->tag_dropout > 0)) return put(out, size, &used, caption, strlen(caption)) < 0 ? -1 : (int)used;

    int count = split(tag, caption);
    if (count < 0) return err("a caption has more than %d tags", MAX_TAGS);
    int keep = rules->keep_tokens < count ? rules->keep_tokens : count;
    for (int i = 0; i < count; i++) order[i] = i;
    if (rules->shuffle) rng_shuffle(rng, order + keep, count - keep);
    const char *comma = "";
    for (int i = 0; i < count; i++) {
        Span t = tag[order[i]];
        if (i >= keep && rules->tag_dropout > 0 && rng_uniform(rng) < rules->tag_dropout) continue;
        if (put(out, size, &used, comma, strlen(comma)) < 0 || put(out, size, &used, t.text, (size_t)t.size) < 0) return -1;
        comma = ", ";
    }
    return (int)used;
}

static CaptionResult first_line(char out[CAPTION_SIZE], const char *path, const char *file, size_t size)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t begin = size >= 3 && memcmp(file, mark, 3) == 0 ? 3 : 0;
    Span line = strip((Span){ file + begin, (int)strcspn(file + begin, "\r\n") });
    if (!utf8_valid(file, size)) return err("%s: a caption in UTF-8 is expected, this is not UTF-8", path), CAPTION_BAD;
    if (strlen(file) < size) return err("%s: a caption is expected, this holds a zero byte", path), CAPTION_BAD;
    if (line.size > LONGEST) return err("%s: the caption is longer than %d bytes", path, LONGEST), CAPTION_BAD;
    if (line.size == 0) return err("%s: a caption is expected in the first line, it is empty", path), CAPTION_EMPTY;
    memcpy(out, line.text, (size_t)line.size);
    out[line.size] = 0;
    return CAPTION_OK;
}

CaptionResult caption_read(char out[CAPTION_SIZE], const char *path)
{
    enum { FILE_LIMIT = 1 << 20 };
    size_t size;
    *out = 0;
    if (!is_file(path) && !is_dir(path)) return err("%s: no such caption file", path), CAPTION_MISSING;
    char *file = file_read(path, FILE_LIMIT, &size);
    if (!file) return CAPTION_BAD;
    CaptionResult result = first_line(out, path, file, size);
    free(file);
    return result;
}
