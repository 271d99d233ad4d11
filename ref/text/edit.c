#include "text/edit.h"
#include "base/err.h"
#include "io/utf8.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 60 };                                    /* bytes of a piece in a message */

/* Walks a prompt: once to find the steps behind which it changes, then once for each text. */
typedef struct {
    const char *prompt;
    const int  *close;                                  /* of pair_brackets */
    int         steps, step;                            /* step, from 1: whose text it is; 0: mark the steps */
    char       *mark;                                   /* (steps + 1) */
    char       *out;                                    /* end of the text so far */
} Walk;

/* Texts between [ and ], parted by bars or by colons, the last of which has a number behind it. */
typedef struct {
    const char *begin, *end, *first, *last;             /* behind [; the ]; the first and the last colon */
    int         bars, colons;
    double      when;
    int         is_share;
} Bracket;

/* close[i] = the place of the bracket that closes the one at i; 0: none does, or one of another kind stands before it. */
static void pair_brackets(int *close, int *open, const char *text)
{
    int opened = 0;
    for (int i = 0; text[i]; i++) {
        if (text[i] == '\\' && text[i + 1]) i++;
        else if (text[i] == '(' || text[i] == '[') open[opened++] = i;
        else if ((text[i] == ')' || text[i] == ']') && opened) {
            int from = open[--opened];
            if (text[from] == (text[i] == ')' ? '(' : '[')) close[from] = i;
            else opened = 0;
        }
    }
}

/* The bracket that closes the one at p. */
static const char *close_of(const Walk *w, const char *p) { return w->close[p - w->prompt] ? w->prompt + w->close[p - w->prompt] : NULL; }

/* A number between blanks fills [p, end). */
static int read_when(Bracket *b, const char *p, const char *end)
{
    char *stop;
    while (p < end && isspace((unsigned char)*p)) p++;
    while (end > p && isspace((unsigned char)end[-1])) end--;
    if (p == end || strspn(p, "+-.0123456789eE") < (size_t)(end - p)) return 0;
    b->when = strtod(p, &stop), b->is_share = memchr(p, '.', (size_t)(end - p)) != NULL;
    return stop == end;
}

/* 1: the [ at p begins an edit. */
static int read_bracket(Bracket *b, const Walk *w, const char *p)
{
    *b = (Bracket){ .begin = p + 1, .end = close_of(w, p) };
    for (const char *at = p + 1; b->end && at < b->end; at++) {
        if (*at == '\\') at++;
        else if (*at == '(' || *at == '[') at = close_of(w, at);
        else if (*at == '|') b->bars++;
        else if (*at == ':') b->first = b->colons++ ? b->first : at, b->last = at;
    }
    return b->bars ? !b->colons : (b->colons == 1 || b->colons == 2) && read_when(b, b->last + 1, b->end);
}

static int walk(Walk *w, const char *p, const char *end);

/* The step that n means, or -1 and err(). */
static int step_of(const Walk *w, const Bracket *b)
{
    if (b->is_share && !(b->when >= 0 && b->when <= 1))
        return err("%.*s: a step or a share of the steps, from 0.0 to 1.0, was expected last; (word:1.3) is a weight",
                   utf8_cut(b->begin - 1, (size_t)(b->end + 2 - b->begin), SHOWN), b->begin - 1);
    double step = b->is_share ? b->when * w->steps : b->when;
    return step < 0 ? 0 : step < w->steps ? (int)step : w->steps;
}

static int walk_change(Walk *w, const Bracket *b)
{
    int         step = step_of(w, b);
    const char *after = b->colons == 2 ? b->first + 1 : b->begin;
    if (step < 0) return -1;
    if (!w->step) w->mark[step] = 1;
    if (b->colons == 2 && w->step <= step && walk(w, b->begin, b->first)) return -1;
    return (!w->step || w->step > step) && walk(w, after, b->last) ? -1 : 0;
}

static int walk_turns(Walk *w, const Bracket *b)
{
    int         turn = w->step ? (w->step - 1) % (b->bars + 1) : -1, option = 0;
    const char *begin = b->begin;
    if (!w->step) memset(w->mark, 1, (size_t)w->steps + 1);
    for (const char *at = b->begin; at <= b->end; at++) {
        if (at < b->end && *at == '\\') at++;
        else if (at < b->end && (*at == '(' || *at == '[')) at = close_of(w, at);
        else if (at == b->end || *at == '|') {
            if ((turn < 0 || turn == option) && walk(w, begin, at)) return -1;
            option++, begin = at + 1;
        }
    }
    return 0;
}

static int walk(Walk *w, const char *p, const char *end)
{
    for (Bracket b; p < end; p++) {
        if (*p == '[' && read_bracket(&b, w, p)) {
            if (b.bars ? walk_turns(w, &b) : walk_change(w, &b)) return -1;
            p = b.end;
            continue;
        }
        if (*p == '\\' && p + 1 < end) *w->out++ = *p++;
        *w->out++ = *p;
    }
    return 0;
}

/* Adds a text, or counts it where it is there already: its place. -1 and err(). */
static int add(Edit *edit, const char *text)
{
    int i = 0;
    while (i < edit->count && strcmp(edit->text[i].text, text)) i++;
    if (i == edit->count) {
        EditText *more = realloc(edit->text, ((size_t)i + 1) * sizeof *more);
        if (more) edit->text = more, more[i] = (EditText){ strdup(text), 0 };
        if (!more || !more[i].text) return err("out of memory for %d texts of a prompt", i + 1);
        edit->count++;
    }
    edit->text[i].times++;
    return i;
}

static int open_edit(Edit *edit, int steps)
{
    *edit = (Edit){ .at = calloc((size_t)steps + 1, sizeof *edit->at) };
    return edit->at ? 0 : err("out of memory for a prompt of %d steps", steps);
}

int edit_plain(Edit *edit, const char *prompt, int steps) { return open_edit(edit, steps) || add(edit, prompt) < 0 ? -1 : 0; }

/* The text of a mark is that of all steps behind the mark before it, which count from 0: step n is still the text that ends with n. */
int edit_read(Edit *edit, const char *prompt, int steps)
{
    size_t      size = strlen(prompt) + 1;
    const char *end = prompt + size - 1;
    char       *text = malloc(size), *mark = calloc((size_t)steps + 1, 1);
    int        *close = calloc(2 * size, sizeof *close);
    int         status = open_edit(edit, steps) || !text || !mark || !close ? err("out of memory for a prompt of %d steps", steps) : 0;
    Walk        w = { .prompt = prompt, .close = close, .steps = steps, .mark = mark, .out = text };
    if (!status) pair_brackets(close, close + size, prompt);
    if (!status) status = walk(&w, prompt, end);
    if (!status) mark[steps] = 1;
    for (int step = 1, next = 0; step <= steps && !status; step++) {
        if (!mark[step]) continue;
        w.step = step, w.out = text;
        status = walk(&w, prompt, end);
        *w.out = 0;
        int place = status ? -1 : add(edit, text);
        if (place < 0) status = -1;
        for (; next <= step && next < steps && !status; next++) edit->at[next] = place;
    }
    free(text);
    free(mark);
    free(close);
    return status;
}

void edit_free(Edit *edit)
{
    for (int i = 0; i < edit->count; i++) free(edit->text[i].text);
    free(edit->text);
    free(edit->at);
    *edit = (Edit){ 0 };
}
