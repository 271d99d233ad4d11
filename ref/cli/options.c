/* options.c - reading a command line and a settings file by the tables of option_table.c. */
#include "cli/options.h"
#include "base/err.h"
#include "cli/foreign.h"
#include "diffusion/sample_config.h"
#include "io/toml.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPTIONS = 128, PLACE_SIZE = 512 };

/* ---- names ---- */

/* Is a[0..length) the name b? */
static bool same_name(const char *a, size_t length, const char *b)
{
    for (size_t j = 0; j < length; j++)
        if ((a[j] == '-' ? '_' : a[j]) != b[j]) return false;
    return !b[length];
}

/* Edits (insert, delete, replace a letter) that make b of a[0..length): Levenshtein 1966, a row at a time. */
static int distance(const char *a, size_t length, const char *b)
{
    int    row[64];
    size_t width = strlen(b);
    if (width >= 64) return 64;
    for (size_t j = 0; j <= width; j++) row[j] = (int)j;
    for (size_t i = 1; i <= length; i++) {
        int corner = row[0];                            /* row[j-1] of the row above */
        row[0] = (int)i;
        for (size_t j = 1; j <= width; j++) {
            int cost = corner + ((a[i - 1] == '-' ? '_' : tolower((unsigned char)a[i - 1])) != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < cost) cost = row[j] + 1;
            if (row[j - 1] + 1 < cost) cost = row[j - 1] + 1;
            row[j] = cost;
        }
    }
    return row[width];
}

/* NULL: there is none of that name; then *nearest is the row whose name is nearest, and *edits what lies between. */
static const Option *find(const Command *command, const char *name, size_t length, const Option **nearest, int *edits)
{
    *nearest = NULL;
    for (int k = 0; k < command->count; k++) {
        const Option *option = &command->options[k];
        if (!option->name) continue;
        if (same_name(name, length, option->name) || (option->alias && same_name(name, length, option->alias))) return option;
        int here = distance(name, length, option->name), other = option->alias ? distance(name, length, option->alias) : here;
        if (other < here) here = other;
        if (!*nearest || here < *edits) *nearest = option, *edits = here;
    }
    return NULL;
}

static const Option *find_or_say(const Command *command, const char *name, size_t length)
{
    const Option  *nearest, *option;
    const Foreign *foreign = foreign_find(command->foreign, name, length, NULL);
    int            edits = 0;
    if ((option = find(command, name, length, &nearest, &edits))) return option;
    if (!nearest) return err("--%.*s: no such option; %s has none", (int)length, name, command->name), NULL;
    bool alike = 2 * edits <= (int)length;
    if (foreign && foreign->why) err("--%.*s: is no option here: %s", (int)length, name, foreign->why);
    else err("--%.*s: no such option%s%s (`sdlora help %s` lists them all)", (int)length, name, alike ? "; the nearest is --" : ", and none is near",
             alike ? nearest->name : "", command->name);
    return NULL;
}

const Option *options_find(const Command *command, const char *name) { return find_or_say(command, name, strlen(name)); }

/* ---- values ---- */

static int bad_value(const Option *option, const char *value)
{
    char expected[OPTION_LINE];
    option_expected(expected, option);
    return err("--%s: %s was expected, not \"%s\" (%s)", option->name, expected, value, option->help);
}

static bool in_range(const Option *option, double x) { return x >= option->low && (option->high <= 0 || x <= option->high); }

/* Reads a whole number that ends at `stop`. */
static bool read_whole(int64_t *x, const char *text, char stop)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *x = value;
    return end != text && *end == stop && !errno && !isspace((unsigned char)*text);
}

static bool read_real(double *x, const char *text, const char *tail)
{
    char *end;
    if (!*text || text[strspn(text, "+-.0123456789eE%")]) return false; /* no "inf", "nan" or hexadecimal numbers */
    *x = strtod(text, &end);
    return end != text && !strcmp(end, tail) && isfinite(*x);
}

/* n, or a share: "0.05", "5%" */
static bool read_share(double *x, const char *text)
{
    if (read_real(x, text, "%")) {
        *x /= 100;
        return *x >= 0 && *x < 1;
    }
    return read_real(x, text, "") && (*x < 1 || *x == floor(*x));
}

static bool read_size(int *size, const Option *option, const char *text)
{
    const char *comma = strpbrk(text, ",x");
    int64_t     w, h;
    if (!read_whole(&w, text, comma ? *comma : 0)) return false;
    h = w;
    if (comma && !read_whole(&h, comma + 1, 0)) return false;
    if (!in_range(option, (double)w) || !in_range(option, (double)h)) return false;
    size[0] = (int)w, size[1] = (int)h;
    return true;
}

static bool read_colour(int *colour, const char *text)
{
    static const Choice names[] = { { "white", 0xffffff }, { "black", 0 }, { "grey", 0x808080 }, { "gray", 0x808080 }, { 0 } };
    int64_t part[3];
    for (const Choice *c = names; c->name; c++)
        if (!strcmp(text, c->name)) return *colour = c->value, true;
    for (int k = 0; k < 3; k++) {
        const char *comma = k < 2 ? strchr(text, ',') : text + strlen(text);
        if (!comma || !read_whole(&part[k], text, *comma) || part[k] < 0 || part[k] > 255) return false;
        text = comma + 1;
    }
    return *colour = (int)(part[0] << 16 | part[1] << 8 | part[2]), true;
}

/* The next letter of a choice as it is compared: "DPM++ 2M" is "dpmpp_2m". */
static int choice_letter(const char **text)
{
    while (**text && strchr(" -_", **text)) ++*text;
    int c = (unsigned char)**text;
    if (c) ++*text;
    return c == '+' ? 'p' : tolower(c);
}

const Choice *option_choice(const Option *option, const Choice *before)
{
    for (const Choice *c = before ? before + 1 : option->choices; c->name; c++) {
        const Choice *first = option->choices;
        while (option->kind == OPT_CHOICE && first->value != c->value) first++;
        if (option->kind != OPT_CHOICE || first == c) return c;
    }
    return NULL;
}

static const Choice *read_choice(const Option *option, const char *text)
{
    for (const Choice *choice = option->choices; choice->name; choice++) {
        const char *a = choice->name, *b = text;
        int         x, y;
        do x = choice_letter(&a), y = choice_letter(&b);
        while (x && x == y);
        if (x == y) return choice;
    }
    return NULL;
}

/* Writes `text` to the option's place in the config. A default that stands for something else (`unset`) may lie outside the range. */
static int set_value(const Option *option, void *config, const char *text, bool any)
{
    void *place = (char *)config + option->offset;
    bool  good = true;
    switch (option->kind) {
    case OPT_FLAG: *(bool *)place = true; break;
    case OPT_INT:
    case OPT_LONG: {
        int64_t x;
        good = read_whole(&x, text, 0) && (any || in_range(option, (double)x)) && (option->kind == OPT_LONG || (x >= INT32_MIN && x <= INT32_MAX));
        if (good && option->kind == OPT_INT) *(int *)place = (int)x;
        else if (good) *(int64_t *)place = x;
        break;
    }
    case OPT_REAL: good = read_real(place, text, "") && (any || in_range(option, *(double *)place)); break;
    case OPT_SHARE: good = read_share(place, text) && (any || in_range(option, *(double *)place)); break;
    case OPT_COLOUR: good = read_colour(place, text); break;
    case OPT_SIZE: good = read_size(place, option, text); break;
    case OPT_TEXT: *(const char **)place = text; break;
    case OPT_CHOICE: {
        const Choice *choice = read_choice(option, text);
        good = choice;
        if (good) *(int *)place = choice->value;
        break;
    }
    case OPT_LIST: {
        TextList *list = place;
        if (list->count == MAX_TEXTS) return err("--%s: may be given %d times at most", option->name, MAX_TEXTS);
        list->item[list->count++] = text;
        break;
    }
    case OPT_PAIRS:
    case OPT_SETTINGS: CHECK(0, "--%s: sets other options, itself it has no value", option->name);
    }
    return good ? 0 : bad_value(option, text);
}

/* ---- the command line ---- */

typedef struct {
    const Command *command;
    void          *config;
    int            argc, next;
    char         **argv;
    bool           seen[MAX_OPTIONS];
    bool           settled[MAX_OPTIONS];                /* given on the command line, while a settings file is read */
    const char    *settings;                            /* its path, or NULL */
    char           place[PLACE_SIZE];                   /* while it is read: "FILE:LINE: ", else "--" */
    char           refused[ERR_SIZE];                   /* the last refusal of an option of other programs; those before it have been printed */
} Parse;

static bool is_option(const char *word) { return !strncmp(word, "--", 2) && word[2]; }

/* An option of other programs, or a value that only they know: says what becomes of it. False: it is none. */
static bool take_elsewhere(Parse *p, const char *name, size_t length, const char *value)
{
    const Foreign *row = foreign_find(p->command->foreign, name, length, value);
    char           line[ERR_SIZE];
    if (!row) return false;
    if (!row->why) return true;
    snprintf(line, sizeof line, "%s%.*s%s%.64s: %s: %s", p->place, (int)length, name, *value ? " " : "", value, row->passed ? "passed over" : "not here",
             row->why);
    if (row->passed) fprintf(stderr, "sdlora: %s\n", line);
    else if (*p->refused) fprintf(stderr, "sdlora: %s\n", p->refused);
    if (!row->passed) memcpy(p->refused, line, sizeof line);
    return true;
}

/* Is it the value that the option has already? */
static bool same_real(const Option *option, const void *config, const char *value)
{
    double x;
    return read_real(&x, value, "") && x == *(const double *)((const char *)config + option->offset);
}

/* Sets a value that the user gave: once, unless the option is a list. */
static int give(Parse *p, const Option *option, const char *value)
{
    bool *seen = &p->seen[option - p->command->options];
    if (p->settled[option - p->command->options]) return 0;
    if (*seen && option->kind == OPT_REAL && option->several)
        return same_real(option, p->config, value) ? 0 : err("--%s: one value was expected, or the same again, not %s after another", option->name, value);
    if (*seen && option->kind != OPT_LIST) return err("--%s: given twice%s%s", option->name, *value ? ", the second time as " : "", value);
    *seen = true;
    if (option->kind == OPT_SETTINGS) return p->settings = value, 0;    /* read when the command line is */
    if (option->kind == OPT_CHOICE && !read_choice(option, value) && take_elsewhere(p, option->name, strlen(option->name), value)) return 0;
    return set_value(option, p->config, value, false);
}

static int give_pair(Parse *p, const Option *option, const char *word)
{
    const char   *equals = strchr(word, '=');
    const Choice *key = option->choices;
    while (key->name && !(equals && same_name(word, (size_t)(equals - word), key->name))) key++;
    if (!key->name) return bad_value(option, word);
    const Option *target = options_find(p->command, key->name);
    CHECK(target, "--%s: its key %s has no row", option->name, key->name);
    return give(p, target, equals + 1);
}

static int give_pairs(Parse *p, const Option *option, const char *word)
{
    int count = 0;
    for (; word || (p->next < p->argc && !is_option(p->argv[p->next])); word = NULL, count++)
        if (give_pair(p, option, word ? word : p->argv[p->next++])) return -1;
    return count ? 0 : err("--%s: %s was expected after it", option->name, option_word(option));
}

/* 0: said what becomes of it; -1 and err(): no such option in other programs either. */
static int take_foreign(Parse *p, const char *name, size_t length, const char *value)
{
    const Foreign *row = foreign_find(p->command->foreign, name, length, NULL);
    if (!row) return find_or_say(p->command, name, length), -1;
    bool taken = take_elsewhere(p, name, length, value ? value : row->words && p->next < p->argc && !is_option(p->argv[p->next]) ? p->argv[p->next++] : "");
    CHECK(taken, "--%s: its last row is not about any value", row->name);
    while (!value && row->words == SEVERAL_WORDS && p->next < p->argc && !is_option(p->argv[p->next])) p->next++;
    return 0;
}

static int take_option(Parse *p, const char *word)
{
    size_t        length = strcspn(word + 2, "=");
    const char   *inline_value = word[2 + length] ? word + 2 + length + 1 : NULL;
    const Option *nearest, *option = find(p->command, word + 2, length, &nearest, &(int){ 0 });
    if (!option) return take_foreign(p, word + 2, length, inline_value);
    if (option->kind == OPT_PAIRS) return give_pairs(p, option, inline_value);
    if (option->kind == OPT_FLAG) return inline_value ? err("--%s: takes no value, \"%s\" was given", option->name, inline_value) : give(p, option, "");
    if (inline_value) return give(p, option, inline_value);
    if (p->next == p->argc || is_option(p->argv[p->next])) return err("--%s: %s was expected after it (%s)", option->name, option_word(option), option->help);
    do
        if (give(p, option, p->argv[p->next++])) return -1;
    while (option->several && p->next < p->argc && !is_option(p->argv[p->next]));
    return 0;
}

static int take_positional(Parse *p, const char *word)
{
    const Option *nearest, *meant = *word == '-' && word[1] ? find(p->command, word + 1, strcspn(word + 1, "="), &nearest, &(int){ 0 }) : NULL;
    if (meant) return err("%s: no such option; --%s is (%s)", word, meant->name, meant->help);
    if (*word == '-' && word[1]) return err("%s: no such option; their names begin with -- (`sdlora help %s` lists them all)", word, p->command->name);
    for (int k = 0; k < p->command->count; k++)
        if (p->command->options[k].positional && !p->seen[k]) return give(p, &p->command->options[k], word);
    return err("%s: \"%s\" belongs to no option (`sdlora help %s` lists them all)", p->command->name, word, p->command->name);
}

/* ---- the settings file ---- */

/* [512, 768] is "512,768". */
static int take_numbers(Parse *p, const Option *option, const TomlValue *v)
{
    char   text[TOML_ITEMS * 32] = "";
    size_t used = 0;
    for (int k = 0; k < v->count; k++) used += (size_t)snprintf(text + used, sizeof text - used, "%s%.24s", k ? "," : "", v->item[k].text);
    return give(p, option, text);
}

static int take_array(Parse *p, const Option *option, const TomlValue *v)
{
    if (option->kind == OPT_SIZE || option->kind == OPT_COLOUR) return take_numbers(p, option, v);
    bool numbers = option->kind == OPT_REAL && option->several;
    if (option->kind != OPT_LIST && option->kind != OPT_PAIRS && !numbers)
        return err("--%s: one value was expected, not an array (%s)", option->name, option->help);
    for (int k = 0; k < v->count; k++) {
        if (!numbers && v->item[k].kind != TOML_STRING) return err("--%s: an array of strings was expected, not %s", option->name, v->item[k].text);
        if (option->kind != OPT_PAIRS ? give(p, option, v->item[k].text) : give_pair(p, option, v->item[k].text)) return -1;
    }
    return 0;
}

/* A key that is no option here. What is false or empty is not asked for. */
static int take_foreign_setting(Parse *p, const char *key, const TomlValue *v)
{
    if (!foreign_find(p->command->foreign, key, strlen(key), NULL)) return find_or_say(p->command, key, strlen(key)), -1;
    if (v->kind == TOML_ARRAY) v = v->count ? &v->item[0] : NULL;
    if (v && *v->text && strcmp(v->text, "false")) take_elsewhere(p, key, strlen(key), strcmp(v->text, "true") ? v->text : "");
    return 0;
}

static int take_setting(Parse *p, const TomlEntry *entry)
{
    const Option    *nearest, *option = find(p->command, entry->key, strlen(entry->key), &nearest, &(int){ 0 });
    const TomlValue *v = &entry->value;
    if (!option) return take_foreign_setting(p, entry->key, v);
    bool text = option->kind == OPT_TEXT || option->kind == OPT_LIST || option->kind == OPT_PAIRS || (option->kind == OPT_CHOICE && v->kind == TOML_BOOL);
    if (option->kind == OPT_SETTINGS) return err("--%s: a settings file names no other one", option->name);
    if (v->kind == TOML_ARRAY) return take_array(p, option, v);
    if (option->kind == OPT_FLAG && v->kind != TOML_BOOL) return err("--%s: true or false was expected, not \"%s\" (%s)", option->name, v->text, option->help);
    if (option->kind == OPT_FLAG) return *v->text == 't' ? give(p, option, "") : 0;
    if (text && v->kind != TOML_STRING) return err("--%s: a text in quotation marks was expected, not %s (%s)", option->name, v->text, option->help);
    if (option->kind == OPT_TEXT && !option->required && !*v->text) return 0;   /* resume = "": as kohya's GUI writes what is not given */
    return option->kind == OPT_PAIRS ? give_pair(p, option, v->text) : give(p, option, v->text);
}

/* Puts FILE:LINE before the message of the option. */
static int read_settings(Parse *p, Toml **toml)
{
    const char *path = p->settings;
    if (!path) return 0;
    if (!(*toml = toml_open(path))) return -1;
    memcpy(p->settled, p->seen, sizeof p->seen);
    for (int k = 0; k < (*toml)->count; k++) {
        snprintf(p->place, sizeof p->place, "%.*s:%d: ", PLACE_SIZE - 16, path, (*toml)->entry[k].line);
        if (take_setting(p, &(*toml)->entry[k])) return err("%s%s", p->place, err_text() + strspn(err_text(), "-"));
    }
    return 0;
}

static int check_required(const Parse *p)
{
    for (int k = 0; k < p->command->count; k++) {
        const Option *option = &p->command->options[k];
        if (option->required && k >= p->command->shared && !p->seen[k]) return err("--%s: is required (%s)", option->name, option->help);
    }
    return 0;
}

/* ---- both ---- */

void options_defaults(const Command *command, void *config)
{
    CHECK(command->count <= MAX_OPTIONS, "%s: %d options", command->name, command->count);
    memset(config, 0, command->size);
    for (int k = 0; k < command->count; k++) {
        const Option *option = &command->options[k];
        if (option->value) CHECK(!set_value(option, config, option->value, option->unset), "%s: the default: %s", command->name, err_text());
    }
}

int options_parse(const Command *command, void *config, int argc, char **argv)
{
    Toml *toml = NULL;
    Parse p = { .command = command, .config = config, .argc = argc, .argv = argv, .place = "--" };
    int   status = 0;
    options_defaults(command, config);
    while (p.next < argc && !status) {
        const char *word = argv[p.next++];
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) return options_help(stdout, command), 1;
        status = is_option(word) ? take_option(&p, word) : take_positional(&p, word);
    }
    if (!status) status = read_settings(&p, &toml);
    if (*p.refused && status) fprintf(stderr, "sdlora: %s\n", p.refused);
    else if (*p.refused) status = err("%s", p.refused);
    if (status || check_required(&p)) return toml_close(toml), -1;
    for (int k = 0; k < command->count; k++)
        if (command->options[k].kind == OPT_SETTINGS) *(Toml **)((char *)config + command->options[k].offset) = toml;
    return 0;
}
