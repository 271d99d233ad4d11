#include "text/emphasis.h"
#include "base/err.h"
#include "io/utf8.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { SHOWN = 60 };                                    /* bytes of a piece in a message */
static const char blanks[] = " \t\n\v\f\r", marks[] = "\\()[]:", break_word[] = "BREAK";
static const double round_factor = 1.1, square_factor = 1 / 1.1;

/* The parts that the marks of the prompt cut it into, before equal ones are joined. A part takes up at least one byte of the prompt, but for the last. */
typedef struct {
    EmphasisParts *to;
    char          *end;                                 /* of the texts so far */
    int            breaks;                              /* since the last part */
    int           *round, *square;                      /* the first part of each bracket that is open */
    int            rounds, squares;
} Reader;

static void add(Reader *r, const char *text, size_t size)
{
    r->to->part[r->to->count++] = (EmphasisPart){ r->end, 1, r->breaks };
    memcpy(r->end, text, size);
    r->end[size] = 0;
    r->end += size + 1, r->breaks = 0;
}

static void weigh(Reader *r, int from, double factor)
{
    for (int i = from; i < r->to->count; i++) r->to->part[i].weight *= factor;
}

/* A letter, a number or _: what the \w of a regular expression is. */
static int is_of_word(int32_t code)
{
    utf8proc_category_t c = utf8proc_category(code);
    return code == '_' || (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) || (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO);
}

static int begins_word(const char *p, const char *end) { return p < end && is_of_word(utf8_next(&p, end)); }

const char *emphasis_word(const char *p, const char *end, const char *word)
{
    const size_t size = strlen(word);
    for (int within = 0; p < end;) {
        if (!within && (size_t)(end - p) >= size && memcmp(p, word, size) == 0 && !begins_word(p + size, end)) return p;
        within = is_of_word(utf8_next(&p, end));
    }
    return NULL;
}

/* A run without marks: texts between BREAKs. */
static void add_run(Reader *r, const char *p, size_t size)
{
    const char *end = p + size, *at;
    for (; (at = emphasis_word(p, end, break_word)); p = at + sizeof break_word - 1) {
        add(r, p, (size_t)(at - p));
        r->breaks++;
    }
    add(r, p, (size_t)(end - p));
}

/* Bytes of `: number )` at p, which sets the weight of the bracket that it closes, and the number; 0: the colon is text. */
static size_t weight_size(const char *p, const char **number, size_t *digits)
{
    const char *at = p + 1 + strspn(p + 1, blanks);
    *number = at;
    at += *at == '+' || *at == '-';
    size_t n = strspn(at, ".0123456789");
    at += n, *digits = (size_t)(at - *number);
    at += strspn(at, blanks);
    return n && *at == ')' ? (size_t)(at + 1 - p) : 0;
}

static int close_weighted(Reader *r, const char *number, size_t digits)
{
    char  *end;
    double factor = strtod(number, &end);
    if (end != number + digits) return err("(...:%.*s): a number was expected, such as (...:1.2)", (int)digits, number);
    weigh(r, r->round[--r->rounds], factor);
    return 0;
}

static int read_marks(Reader *r, const char *p)
{
    const char *number;
    size_t      size, digits;
    for (; *p; p += size) {
        size = 1;
        if (*p == '\\') {
            size = p[1] && strchr("\\()[]", p[1]) ? 2 : 1;
            add(r, p + 1, size - 1);
        } else if (*p == '(') r->round[r->rounds++] = r->to->count;
        else if (*p == '[') r->square[r->squares++] = r->to->count;
        else if (*p == ')' && r->rounds) weigh(r, r->round[--r->rounds], round_factor);
        else if (*p == ']' && r->squares) weigh(r, r->square[--r->squares], square_factor);
        else if (*p == ':' && r->rounds && (size = weight_size(p, &number, &digits))) {
            if (close_weighted(r, number, digits)) return -1;
        } else {
            size = strcspn(p, marks);
            add_run(r, p, size += !size);
        }
    }
    while (r->rounds) weigh(r, r->round[--r->rounds], round_factor);
    while (r->squares) weigh(r, r->square[--r->squares], square_factor);
    if (!r->to->count) add(r, "", 0);
    return 0;
}

/* Joins neighbours of equal weight, in place. */
static int join(EmphasisParts *parts, Emphasis emphasis)
{
    EmphasisPart *last = NULL;
    char         *to = parts->texts;
    int           count = parts->count;
    parts->count = 0;
    for (int i = 0; i < count; i++) {
        EmphasisPart part = parts->part[i];
        size_t       size = strlen(part.text) + 1;
        if (!(fabs(part.weight) <= MAX_EMPHASIS))
            return err("\"%.*s\" weighs %g times; from %d to %d was expected", utf8_cut(part.text, size - 1, SHOWN), part.text, part.weight, -MAX_EMPHASIS,
                       MAX_EMPHASIS);
        int joins = last && last->weight == part.weight && !part.breaks;
        to = memmove(to - joins, part.text, size);
        if (!joins) {
            last = &parts->part[parts->count++];
            *last = (EmphasisPart){ to, part.weight, part.breaks };
        }
        to += size;
    }
    for (int i = 0; i < parts->count && emphasis == EMPHASIS_IGNORE; i++) parts->part[i].weight = 1;
    return 0;
}

int emphasis_read(EmphasisParts *parts, const char *prompt, Emphasis emphasis)
{
    size_t n = strlen(prompt) + 1;
    int   *open = malloc(2 * n * sizeof *open);
    *parts = (EmphasisParts){ .part = malloc(n * sizeof *parts->part), .texts = malloc(2 * n) };
    Reader r = { .to = parts, .end = parts->texts, .round = open, .square = open ? open + n : NULL };
    int    status = open && parts->part && parts->texts ? 0 : err("out of memory for a prompt of %zu bytes", n - 1);
    if (!status && emphasis == EMPHASIS_NONE) add(&r, prompt, n - 1);
    else if (!status) status = read_marks(&r, prompt) || join(parts, emphasis) ? -1 : 0;
    free(open);
    return status;
}

void emphasis_free(EmphasisParts *parts)
{
    free(parts->part);
    free(parts->texts);
    *parts = (EmphasisParts){ 0 };
}

const char *emphasis_label(Emphasis emphasis)
{
    static const char *const label[EMPHASIS_COUNT] = { "Original", "No norm", "Ignore", "None" };
    return label[emphasis];
}
