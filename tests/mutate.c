/* mutate - wrong versions of C sources, one edit each: what tests/mutate.sh makes mutants with.
 *
 *   mutate pick SEED COUNT FILE...        COUNT edits, drawn without repeats from all there are:   FILE OFFSET LENGTH NEW, then a line that shows it
 *   mutate apply FILE OFFSET LENGTH NEW   the file with that edit, on standard output
 *
 * An edit turns an operator into its neighbour (+ and -, * and /, < and <=, == and !=, && and ||, +=, -=), a whole number into the next, a fraction into one a
 * hundredth larger, a dimension or a stride into another (.h into .w, .ld into .img). Left alone is what changes no result by construction: comments, strings,
 * the preprocessor and pragmas, a failure's -1 and the words of its message, and lines that only share out work (PARALLEL_..., chunks, strips, spans, lanes,
 * tiles).
 *
 * In this house a binary operator has a blank on either side, which tells it from a sign, a pointer or an address. */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EDITS = 20000, NEW = 24 };

typedef struct {
    const char *file;
    long        at, length, line;
    char        new[NEW];
} Edit;

static Edit *edits;
static int   count;

static const struct { const char *old, *new; } swaps[] = {
    { " + ", " - " }, { " - ", " + " }, { " * ", " / " }, { " / ", " * " }, { " % ", " / " }, { " += ", " -= " }, { " -= ", " += " }, { " *= ", " /= " },
    { " < ", " <= " }, { " <= ", " < " }, { " > ", " >= " }, { " >= ", " > " }, { " == ", " != " }, { " != ", " == " }, { " && ", " || " }, { " || ", " && " },
    { " ? ", " ? !" }, { ".n", ".h" }, { ".h", ".w" }, { ".w", ".h" }, { ".c", ".w" }, { ".ld", ".img" }, { ".img", ".ld" }, { "++", "--" },
};

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    long  size = -1;
    if (file && !fseek(file, 0, SEEK_END)) size = ftell(file), rewind(file);
    char *text = size < 0 ? NULL : calloc((size_t)size + 1, 1);
    if (!text || fread(text, 1, (size_t)size, file) != (size_t)size) fprintf(stderr, "mutate: %s: cannot be read\n", path), exit(2);
    fclose(file);
    return text;
}

static void add(const char *file, long at, long length, long line, const char *new)
{
    if (count == MAX_EDITS) fprintf(stderr, "mutate: more than %d edits\n", MAX_EDITS), exit(2);
    edits[count] = (Edit){ .file = file, .at = at, .length = length, .line = line };
    snprintf(edits[count++].new, NEW, "%s", new);
}

static int is_word(int c) { return isalnum(c) || c == '_'; }

/* Does the line only share out work, or hold no code that runs? */
static int is_left_alone(const char *line, size_t length)
{
    static const char *const words[] = { "PARALLEL_", "chunk", "Chunks", "strip", "Strip", "span", "Spans", "LANES", "lane[", "Plan", "plan.", "plan->", "slot",
                                         "tiles", "is_dense", "memset", "restrict", "gemm_open", "gemm_in_region" };
    const char *first = line + strspn(line, " ");
    if (*first == '#' || !strncmp(first, "enum", 4) || !strncmp(first, "typedef", 7)) return 1;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        const char *found = strstr(line, words[k]);
        if (found && found < line + length) return 1;
    }
    return 0;
}

/* A number: the next whole one, or a hundredth more. Returns its length. */
static long number(const char *file, const char *text, long at, long line)
{
    char *end, new[NEW];
    double x = strtod(text + at, &end);
    long length = end - (text + at);
    int  whole = !memchr(text + at, '.', (size_t)length) && !memchr(text + at, 'e', (size_t)length) && !memchr(text + at, 'p', (size_t)length);
    if (text[at] == '0' && (text[at + 1] == 'x' || text[at + 1] == 'X')) whole = 0;
    if (whole) snprintf(new, sizeof new, "%.0f", x + 1);
    else snprintf(new, sizeof new, "%.12g", x * 1.01);
    if (x < 1e6) add(file, at, length, line, new);
    while (is_word((unsigned char)text[at + length])) length++;
    return length;
}

static void scan(const char *file)
{
    char *text = read_file(file);
    long  line = 1, skip_line = 0;
    for (long at = 0; text[at]; at++) {
        if (at == 0 || text[at - 1] == '\n') {
            if (at) line++;
            if (is_left_alone(text + at, strcspn(text + at, "\n"))) skip_line = line;
        }
        if (!strncmp(text + at, "/*", 2)) {             /* a comment: to its end, lines counted */
            for (at += 2; text[at] && strncmp(text + at, "*/", 2); at++) line += text[at + 1] == '\n' && text[at + 2] != 0;
            at++;
            continue;
        }
        if (text[at] == '"' || text[at] == '\'') {
            char quote = text[at];
            for (at++; text[at] && text[at] != quote; at++) at += text[at] == '\\';
            continue;
        }
        if (!strncmp(text + at, "err(\"", 5)) skip_line = line;  /* what a message says */
        if (skip_line == line) continue;
        if (isdigit((unsigned char)text[at])) {
            if (at && (is_word((unsigned char)text[at - 1]) || text[at - 1] == '.')) continue;
            if (at && text[at - 1] == '-' && text[at] == '1') continue;         /* failure: callers ask only whether it is 0 */
            at += number(file, text, at, line) - 1;
            continue;
        }
        for (size_t k = 0; k < sizeof swaps / sizeof *swaps; k++) {
            size_t length = strlen(swaps[k].old);
            if (strncmp(text + at, swaps[k].old, length)) continue;
            int field = swaps[k].old[0] == '.';
            if (field && (is_word((unsigned char)text[at + (long)length]) || !at || !(is_word((unsigned char)text[at - 1]) || text[at - 1] == ']'))) continue;
            add(file, at, (long)length, line, swaps[k].new);
            break;
        }
    }
    free(text);
}

/* splitmix64 */
static uint64_t random64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u, z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void show(const Edit *e)
{
    char *text = read_file(e->file);
    long  from = e->at, to = e->at;
    while (from > 0 && text[from - 1] != '\n') from--;
    while (text[to] && text[to] != '\n') to++;
    while (text[from] == ' ') from++;
    printf("%s:%ld: %.*s{%.*s ->%s%s}%.*s\n", e->file, e->line, (int)(e->at - from), text + from, (int)e->length, text + e->at,
           *e->new == ' ' ? "" : " ", e->new, (int)(to - e->at - e->length), text + e->at + e->length);
    free(text);
}

static int pick(uint64_t seed, int wanted, char **files)
{
    if (!(edits = calloc(MAX_EDITS, sizeof *edits))) return 2;
    for (; *files; files++) scan(*files);
    for (int k = 0; k < wanted && k < count; k++) {     /* Fisher-Yates, as far as it is needed */
        int  other = k + (int)(random64(&seed) % (uint64_t)(count - k));
        Edit e = edits[other];
        edits[other] = edits[k];
        printf("%s %ld %ld %s\n", e.file, e.at, e.length, e.new);
        show(&e);
    }
    fprintf(stderr, "mutate: %d edits to draw from\n", count);
    free(edits);
    return 0;
}

/* `new` comes without the blanks around an operator. */
static int apply(const char *file, long at, long length, const char *new)
{
    char *text = read_file(file);
    int   blank = text[at] == ' ';
    printf("%.*s%s%s%s%s", (int)at, text, blank ? " " : "", new, blank ? " " : "", text + at + length);
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 4 && !strcmp(argv[1], "pick")) return pick(strtoull(argv[2], NULL, 10), atoi(argv[3]), argv + 4);
    if (argc == 6 && !strcmp(argv[1], "apply")) return apply(argv[2], atol(argv[3]), atol(argv[4]), argv[5]);
    fprintf(stderr, "usage: mutate pick SEED COUNT FILE... | mutate apply FILE OFFSET LENGTH NEW\n");
    return 2;
}
