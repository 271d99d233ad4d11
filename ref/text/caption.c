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

static int count_lines(const char *text)
{
    int lines = 0, blank = 1;
    for (; *text; text++) {
        if (*text == '\n' || *text == '\r') blank = 1;
        else if (blank && !is_blank(*text)) lines++, blank = 0;
    }
    return lines;
}

/* A caption file holds UTF-8 and no zero bytes; 0, or -1 and err(): the byte from which on it does not. */
static int check_text(const char *path, const char *file, size_t size)
{
    if (size >= 2 && (!memcmp(file, "\xff\xfe", 2) || !memcmp(file, "\xfe\xff", 2))) return err("%s: this is UTF-16; save the caption as UTF-8", path);
    for (const char *at = file, *next = file; at < file + size; at = next) {
        int32_t code = utf8_next(&next, file + size);
        if (code < 0) return err("%s: byte %zu, %02x, is not UTF-8; save the caption as UTF-8", path, (size_t)(at - file), (unsigned char)*at);
        if (code == 0) return err("%s: byte %zu is 0; a text was expected", path, (size_t)(at - file));
    }
    return 0;
}

static CaptionResult first_line(char out[CAPTION_SIZE], int *lines, const char *path, const char *file, size_t size)
{
    static const char mark[] = "\xef\xbb\xbf";
    if (check_text(path, file, size)) return CAPTION_BAD;
    const char *begin = size >= 3 && memcmp(file, mark, 3) == 0 ? file + 3 : file;
    Span line = strip((Span){ begin, (int)strcspn(begin, "\r\n") });
    if (line.size > LONGEST) return err("%s: the caption is longer than %d bytes", path, LONGEST), CAPTION_BAD;
    if (line.size == 0) return err("%s: a caption was expected in the first line, it is empty", path), CAPTION_EMPTY;
    memcpy(out, line.text, (size_t)line.size);
    out[line.size] = 0;
    *lines = count_lines(begin);
    return CAPTION_OK;
}

CaptionResult caption_read(char out[CAPTION_SIZE], int *lines, const char *path)
{
    enum { FILE_LIMIT = 1 << 20 };
    size_t size;
    *out = 0, *lines = 0;
    if (!is_file(path) && !is_dir(path)) return err("%s: no such caption file", path), CAPTION_MISSING;
    char *file = file_read(path, FILE_LIMIT, &size);
    if (!file) return CAPTION_BAD;
    CaptionResult result = first_line(out, lines, path, file, size);
    free(file);
    return result;
}
