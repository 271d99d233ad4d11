#include "io/toml.h"
#include "base/err.h"
#include "io/file.h"
#include "io/utf8.h"
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOML_LIMIT = 1 << 20 };

/* Memory of one value, in a list that toml_close walks. */
typedef struct Piece {
    struct Piece *next;
    TomlValue     value[];                              /* aligned for arrays of values; texts lie here as well */
} Piece;

typedef struct {
    Toml      toml;                                     /* first: what the caller holds */
    TomlEntry entry[TOML_ENTRIES];
    Piece    *pieces;
} File;

typedef struct {
    File       *file;
    const char *at;                                     /* in the text, which ends with a 0 and has no other */
    int         line, tables;
    char        key[TOML_PATH];                         /* being read, for messages */
    char        table[TOML_PATH];                       /* the last [table], "" before the first */
    const char *seen[TOML_ENTRIES];                     /* tables so far */
    char       *scratch;                                /* holds any string of the file */
} Reader;

static void *keep(Reader *r, const void *data, size_t size)
{
    Piece *p = malloc(sizeof *p + size);
    if (!p) return err("%s: out of memory", r->file->toml.path), NULL;
    p->next = r->file->pieces, r->file->pieces = p;
    return memcpy(p->value, data, size);
}

void toml_close(Toml *toml)
{
    File *file = (File *)toml;
    if (!file) return;
    for (Piece *p = file->pieces, *next; p; p = next) next = p->next, free(p);
    free(file);
}

/* ---- messages ---- */

__attribute__((format(printf, 2, 3))) static int wrong(const Reader *r, const char *format, ...)
{
    char    what[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return err("%s:%d: %s%s%s", r->file->toml.path, r->line, r->key, *r->key ? ": " : "", what);
}

/* What was found instead: the rest of the line, or the first few characters of it. */
static int expected(const Reader *r, const char *what)
{
    size_t length = strcspn(r->at, "\n"), most = 32;
    if (!length) return wrong(r, "expected %s, found the end of the %s", what, *r->at ? "line" : "file");
    while (length > most && (r->at[most] & 0xc0) == 0x80) most--;       /* not through the middle of a character */
    return wrong(r, "expected %s, found %.*s%s", what, (int)(length < most ? length : most), r->at, length > most ? "..." : "");
}

/* ---- the file as text ---- */

/* Refuses what no TOML file holds, and makes \r\n \n. */
static int clean(Reader *r, char *text, size_t size)
{
    const char *from = text, *end = text + size;
    char       *to = text;
    if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) from += 3;       /* a byte order mark */
    while (from < end) {
        const char *c = from;
        int32_t     code = utf8_next(&from, end);
        if (code < 0) return wrong(r, "a file in UTF-8 is expected, this is not UTF-8");
        if (code == '\r' && from < end && *from == '\n') continue;
        if ((code < ' ' && code != '\t' && code != '\n') || code == 0x7f) return wrong(r, "a control character, %d, may stand nowhere in a file", (int)code);
        if (code == '\n') r->line++;
        memmove(to, c, (size_t)(from - c));
        to += from - c;
    }
    *to = 0;
    r->line = 1;
    return 0;
}

static void skip_blanks(Reader *r) { r->at += strspn(r->at, " \t"); }

static void skip_comment(Reader *r)
{
    skip_blanks(r);
    if (*r->at == '#') r->at += strcspn(r->at, "\n");
}

/* Blanks, comments and ends of lines. */
static void skip_lines(Reader *r)
{
    for (skip_comment(r); *r->at == '\n'; skip_comment(r)) r->at++, r->line++;
}

/* ---- strings ---- */

/* \u and four hexadecimal digits, \U and eight */
static int read_code(Reader *r, char **to)
{
    static const char hex[] = "0123456789abcdefABCDEF";
    char              digit[9] = "";
    int               count = r->at[1] == 'u' ? 4 : 8;
    for (int i = 0; i < count && r->at[2 + i] && strchr(hex, r->at[2 + i]); i++) digit[i] = r->at[2 + i];
    unsigned long code = strtoul(digit, NULL, 16);
    if ((int)strlen(digit) < count || !code || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return wrong(r, "expected \\%c and the %d hexadecimal digits of a character, found \\%c%s", r->at[1], count, r->at[1], digit);
    *to += utf8_put(*to, (int32_t)code);
    r->at += 2 + count;
    return 0;
}

static int read_escape(Reader *r, char **to, int many)
{
    static const char name[] = "btnfr\"\\", character[] = "\b\t\n\f\r\"\\";
    char              c = r->at[1];
    const char       *known = c ? strchr(name, c) : NULL;
    if (c == 'u' || c == 'U') return read_code(r, to);
    if (known) {
        *(*to)++ = character[known - name];
        r->at += 2;
        return 0;
    }
    const char *rest = r->at + 1 + strspn(r->at + 1, " \t");
    if (!many || *rest != '\n') return expected(r, "one of \\b \\t \\n \\f \\r \\\" \\\\ \\u \\U (a path with \\ belongs in '...')");
    for (r->at = rest; *r->at && strchr(" \t\n", *r->at); r->at++) r->line += *r->at == '\n';   /* the line goes on at the next word */
    return 0;
}

/* The string at r->at, "...", '...', or, where `lines`, one of several lines, into scratch. */
static int read_string(Reader *r, int lines)
{
    char  quote[] = { *r->at, 0 }, *to = r->scratch;
    int   first = r->line, many = strspn(r->at, quote) >= 3;
    if (many && !lines) return wrong(r, "a key stands on one line");
    r->at += many ? 3 : 1;
    if (many && *r->at == '\n') r->at++, r->line++;
    for (;;) {
        size_t run = strspn(r->at, quote), close = many ? 3 : 1;
        if (run >= close) {
            size_t inside = !many ? 0 : run - close < 2 ? run - close : 2;              /* up to two before the closing three belong to the text */
            memset(to, *quote, inside);
            to[inside] = 0;
            r->at += inside + close;
            return 0;
        }
        if (!*r->at || (*r->at == '\n' && !many)) return wrong(r, "the string that begins in line %d does not end", first);
        if (*r->at == '\\' && *quote == '"') {
            if (read_escape(r, &to, many)) return -1;
            continue;
        }
        r->line += *r->at == '\n';
        *to++ = *r->at++;
    }
}

/* ---- numbers and words ---- */

/* Copies digits of `set`, leaving out each '_' between two of them; how many. */
static size_t copy_digits(char **to, const char **from, const char *set)
{
    size_t count = 0;
    for (;; ++*from) {
        const char *c = *from;
        if (*c && strchr(set, *c)) *(*to)++ = *c, count++;
        else if (!(*c == '_' && count && c[1] && strchr(set, c[1]))) return count;
    }
}

/* 0xff 0o17 0b1, without a sign. */
static int read_based(char *out, size_t size, const char *word)
{
    static const struct {
        char        letter;
        int         base;
        const char *digits;
    } bases[] = { { 'x', 16, "0123456789abcdefABCDEF" }, { 'o', 8, "01234567" }, { 'b', 2, "01" } };
    for (int k = 0; k < 3; k++) {
        char        digits[80], *to = digits;
        const char *from = word + 2;
        if (word[0] != '0' || word[1] != bases[k].letter) continue;
        if (strlen(word) >= sizeof digits || !copy_digits(&to, &from, bases[k].digits) || *from) return -1;
        *to = 0;
        errno = 0;
        unsigned long long x = strtoull(digits, NULL, bases[k].base);
        if (errno || x > INT64_MAX) return -1;
        snprintf(out, size, "%llu", x);
        return 0;
    }
    return -1;
}

/* [+-] digits [. digits] [e [+-] digits], the first digits without a leading 0: the kind, or -1. */
static int read_decimal(char *out, size_t size, const char *word)
{
    static const char digits[] = "0123456789";
    const char       *from = word + strspn(word, "+-");
    char             *to = out;
    if (from - word > 1 || strlen(word) >= size) return -1;
    if (*word == '-') *to++ = '-';
    if (!strcmp(from, "inf") || !strcmp(from, "nan")) return strcpy(to, from), TOML_NUMBER;
    const char *first = from;
    size_t      count = copy_digits(&to, &from, digits);
    int         kind = TOML_INTEGER;
    if (!count || (count > 1 && *first == '0')) return -1;
    if (*from == '.') {
        *to++ = *from++, kind = TOML_NUMBER;
        if (!copy_digits(&to, &from, digits)) return -1;
    }
    if (*from == 'e' || *from == 'E') {
        *to++ = *from++, kind = TOML_NUMBER;
        if (*from == '+' || *from == '-') *to++ = *from++;
        if (!copy_digits(&to, &from, digits)) return -1;
    }
    *to = 0;
    if (*from) return -1;
    if (kind == TOML_INTEGER) {
        errno = 0;
        long long x = strtoll(out, NULL, 10);
        if (errno) return -1;
        snprintf(out, size, "%lld", x);                 /* -0 is 0 */
    }
    return kind;
}

static int is_date(const char *word)
{
    size_t digits = strspn(word, "0123456789");
    return (digits == 4 && word[4] == '-') || (digits == 2 && word[2] == ':');
}

static int read_word(Reader *r, TomlValue *v)
{
    char        word[128], text[128];
    size_t      length = strcspn(r->at, " \t\n,]#");
    const char *what = "a string in quotation marks, a number, true, false or an array [...]";
    if (*r->at == '{') return wrong(r, "inline tables {...} are not read here: give each key a line");
    if (*r->at == '[') return wrong(r, "arrays in arrays are not read here");
    if (!length || length >= sizeof word) return expected(r, what);
    memcpy(word, r->at, length);
    word[length] = 0;
    if (is_date(word)) return wrong(r, "dates and times are not read here, found %s: a text needs quotation marks", word);
    int kind = !strcmp(word, "true") || !strcmp(word, "false") ? TOML_BOOL : read_based(text, sizeof text, word) == 0 ? TOML_INTEGER : -1;
    if (kind < 0) kind = read_decimal(text, sizeof text, word);
    if (kind < 0) return expected(r, what);
    r->at += length;
    v->kind = (TomlKind)kind;
    v->text = kind == TOML_BOOL ? keep(r, word, length + 1) : keep(r, text, strlen(text) + 1);
    return v->text ? 0 : -1;
}

/* ---- values ---- */

static int read_scalar(Reader *r, TomlValue *v)
{
    *v = (TomlValue){ .kind = TOML_STRING };
    if (*r->at != '"' && *r->at != '\'') return read_word(r, v);
    if (read_string(r, 1)) return -1;
    v->text = keep(r, r->scratch, strlen(r->scratch) + 1);
    return v->text ? 0 : -1;
}

static int read_array(Reader *r, TomlValue *v)
{
    TomlValue item[TOML_ITEMS];
    int       count = 0;
    r->at++;
    for (skip_lines(r); *r->at != ']'; skip_lines(r)) {
        if (count == TOML_ITEMS) return wrong(r, "expected at most %d values in an array", TOML_ITEMS);
        if (read_scalar(r, &item[count++])) return -1;
        skip_lines(r);
        if (*r->at == ',') r->at++;
        else if (*r->at != ']') return expected(r, "',' or ']'");
    }
    r->at++;
    *v = (TomlValue){ TOML_ARRAY, NULL, keep(r, item, (size_t)count * sizeof *item), count };
    return v->item ? 0 : -1;
}

/* ---- lines ---- */

/* Appends the parts of a key, "a . 'b'", to path. */
static int read_key(Reader *r, char path[TOML_PATH])
{
    static const char bare[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for (;; r->at++) {
        skip_blanks(r);
        const char *part = r->at;
        size_t      used = strlen(path), length = strspn(part, bare);
        if (*part == '"' || *part == '\'') {
            if (read_string(r, 0)) return -1;
            part = r->scratch, length = strlen(part);
            for (size_t k = 0; k < length; k++)
                if (part[k] == '.' || (unsigned char)part[k] < ' ') return wrong(r, "expected a key without dots and control characters");
        } else {
            r->at += length;
        }
        if (!length) return expected(r, "a key, of letters, digits, _ and -");
        if (used + length + 2 > TOML_PATH) return wrong(r, "expected a key of fewer than %d bytes, those of its tables included", TOML_PATH - 1);
        if (used) path[used++] = '.';
        memcpy(path + used, part, length);
        path[used + length] = 0;
        skip_blanks(r);
        if (*r->at != '.') return 0;
    }
}

/* Is the path that of `outer`, or of something inside it? */
static int is_within(const char *path, const char *outer)
{
    size_t length = strlen(outer);
    return !strncmp(path, outer, length) && (!path[length] || path[length] == '.');
}

static int read_table(Reader *r)
{
    r->at++;
    if (*r->at == '[') return wrong(r, "arrays of tables [[...]] are not read here");
    *r->table = 0;
    if (read_key(r, r->table)) return -1;
    if (*r->at != ']') return expected(r, "']' after the name of a table");
    r->at++;
    for (int k = 0; k < r->tables; k++)
        if (!strcmp(r->seen[k], r->table)) return wrong(r, "[%s] is given twice", r->table);
    for (int k = 0; k < r->file->toml.count; k++)
        if (is_within(r->table, r->file->entry[k].path)) return wrong(r, "[%s]: %s has a value already", r->table, r->file->entry[k].path);
    if (r->tables == TOML_ENTRIES) return wrong(r, "expected at most %d tables", TOML_ENTRIES);
    r->seen[r->tables] = keep(r, r->table, strlen(r->table) + 1);
    return r->seen[r->tables++] ? 0 : -1;
}

static int read_entry(Reader *r)
{
    Toml      *toml = &r->file->toml;
    TomlEntry *e = &r->file->entry[toml->count];
    strcpy(r->key, r->table);
    if (read_key(r, r->key)) return -1;
    if (toml->count == TOML_ENTRIES) return wrong(r, "expected at most %d values in a file", TOML_ENTRIES);
    for (int k = 0; k < toml->count; k++)
        if (is_within(r->key, toml->entry[k].path) || is_within(toml->entry[k].path, r->key))
            return wrong(r, "given twice, first in line %d", toml->entry[k].line);
    for (int k = 0; k < r->tables; k++)
        if (is_within(r->seen[k], r->key)) return wrong(r, "is a table already, [%s]", r->seen[k]);
    if (*r->at != '=') return expected(r, "'='");
    r->at++;
    skip_blanks(r);
    e->line = r->line;
    if (*r->at == '[' ? read_array(r, &e->value) : read_scalar(r, &e->value)) return -1;
    if (!(e->path = keep(r, r->key, strlen(r->key) + 1))) return -1;
    const char *dot = strrchr(e->path, '.');
    e->key = dot ? dot + 1 : e->path;
    toml->count++;
    return 0;
}

static int read_lines(Reader *r)
{
    for (skip_lines(r); *r->at; skip_lines(r)) {
        if (*r->at == '[' ? read_table(r) : read_entry(r)) return -1;
        skip_comment(r);
        if (*r->at && *r->at != '\n') return expected(r, "the end of the line");
        *r->key = 0;
    }
    return 0;
}

Toml *toml_open(const char *path)
{
    size_t size;
    char  *text = file_read(path, TOML_LIMIT, &size);
    if (!text) return NULL;
    Reader r = { .at = text, .line = 1, .file = calloc(1, sizeof *r.file), .scratch = malloc(size + 1) };
    int    status = r.file && r.scratch ? 0 : err("%s: out of memory", path);
    if (!status) {
        r.file->toml = (Toml){ path, 0, r.file->entry };
        const char *own = keep(&r, path, strlen(path) + 1);
        status = own ? 0 : -1;
        r.file->toml.path = own ? own : path;
    }
    if (!status) status = clean(&r, text, size) || read_lines(&r) ? -1 : 0;
    free(r.scratch);
    free(text);
    if (!status) return &r.file->toml;
    toml_close((Toml *)r.file);
    return NULL;
}
