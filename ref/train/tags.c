#include "train/tags.h"
#include "base/err.h"
#include "io/utf8.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void python_string(FILE *out, const char *text)
{
    static const char special[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    fputc('"', out);
    for (const char *end = text + strlen(text); text < end;) {
        int32_t     code = utf8_next(&text, end);
        const char *at = code > 0 && code < 128 ? strchr(special, code) : NULL;
        if (code < 0) code = UTF8_REPLACEMENT;
        if (at) fprintf(out, "\\%c", letter[at - special]);
        else if (code >= ' ' && code < 127) fputc(code, out);
        else if (code < 0x10000) fprintf(out, "\\u%04x", (unsigned)code);
        else fprintf(out, "\\u%04x\\u%04x", 0xd800u + (unsigned)((code - 0x10000) >> 10), 0xdc00u + (unsigned)(code & 0x3ff));
    }
    fputc('"', out);
}

/* What str.strip of Python takes for a blank. */
static int is_blank(int32_t c)
{
    if (c < 128) return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
    utf8proc_category_t k = utf8proc_category(c);
    return c == 0x85 || k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

/* The tag in [text, end), stripped, in lower case; malloc'd, "" where there is none. */
static char *tag_of(const char *text, const char *end)
{
    char       *tag = malloc(4 * (size_t)(end - text) + 1), *p = tag, *kept = tag;
    const char *next;
    if (!tag) return err("out of memory for a tag"), NULL;
    for (; text < end; text = next) {
        next = text;
        int32_t code = utf8_next(&next, end);
        if (code < 0) code = UTF8_REPLACEMENT;
        if (p == tag && is_blank(code)) continue;
        p += utf8_put(p, utf8proc_tolower(code));
        if (!is_blank(code)) kept = p;
    }
    *kept = 0;
    return tag;
}

/* An occurrence of a tag; sorted, the first of equals counts them all. */
typedef struct {
    char *text;
    int   place, count;
} Tag;

typedef struct {
    Tag *tag;
    int  count, room;
} Tags;

static int add(Tags *t, const char *text, const char *end)
{
    if (t->count == t->room) {
        int  room = t->room ? 2 * t->room : 256;
        Tag *more = realloc(t->tag, (size_t)room * sizeof *more);
        if (!more) return err("out of memory for %d tags", room);
        t->tag = more, t->room = room;
    }
    char *tag = tag_of(text, end);
    if (!tag) return -1;
    if (*tag) t->tag[t->count] = (Tag){ tag, t->count, 1 }, t->count++;
    else free(tag);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    const Tag *x = a, *y = b;
    int        order = strcmp(x->text, y->text);
    return order ? order : x->place - y->place;
}

static int by_place(const void *a, const void *b) { return ((const Tag *)a)->place - ((const Tag *)b)->place; }

static void count_equals(Tags *t)
{
    int n = 0;
    qsort(t->tag, (size_t)t->count, sizeof *t->tag, by_text);
    for (int i = 0; i < t->count; i++) {
        if (n && strcmp(t->tag[n - 1].text, t->tag[i].text) == 0) t->tag[n - 1].count++, free(t->tag[i].text);
        else t->tag[n++] = t->tag[i];
    }
    t->count = n;
    qsort(t->tag, (size_t)n, sizeof *t->tag, by_place);
}

static int write_concept(FILE *out, const Concepts *c, const Concept *concept)
{
    Tags t = { 0 };
    int  status = 0;
    for (int i = concept->first; i < concept->first + concept->count && !status; i++)
        for (const char *text = c->picture[i].caption, *end; text && !status; text = *end ? end + 1 : NULL) {
            end = text + strcspn(text, ",");
            status = add(&t, text, end);
        }
    if (t.count) count_equals(&t);
    fputc('{', out);
    for (int i = 0; i < t.count; i++) {
        fputs(i ? ", " : "", out);
        python_string(out, t.tag[i].text);
        fprintf(out, ": %d", t.tag[i].count);
        free(t.tag[i].text);
    }
    fputc('}', out);
    free(t.tag);
    return status;
}

int tags_write(FILE *out, const Concepts *concepts)
{
    fputc('{', out);
    for (int i = 0; i < concepts->concepts; i++) {
        fputs(i ? ", " : "", out);
        python_string(out, concepts->concept[i].folder);
        fputs(": ", out);
        if (write_concept(out, concepts, &concepts->concept[i])) return -1;
    }
    fputc('}', out);
    return 0;
}
