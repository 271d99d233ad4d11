#include "lora/peft.h"
#include "nn/weights.h"
#include <ctype.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *path;
    double      value;
    int         found;
    const char *bad;                                    /* a key that cannot be read */
} Search;

static int is_foreign(const char *key)
{
    for (const char *at = strchr(key, '\\'); at; at = strchr(at + 2, '\\'))
        if (!at[1] || isalnum((unsigned char)at[1])) return 1;
    return strstr(key, "(?") != NULL;
}

static int try_key(void *context, const char *key, double value)
{
    Search *s = context;
    size_t  size = strlen(key) + 32;
    char   *text = malloc(size);
    regex_t pattern;
    if (s->found) return free(text), 0;
    if (text) snprintf(text, size, "^(.*\\.)?(%s)$", key);
    if (!text || is_foreign(key) || regcomp(&pattern, text, REG_EXTENDED | REG_NOSUB)) {
        s->bad = key;
        return free(text), -1;
    }
    if (regexec(&pattern, s->path, 0, NULL, 0) == 0) s->found = 1, s->value = value;
    regfree(&pattern);
    free(text);
    return 0;
}

/* The number of the first key of a pattern that fits, else `otherwise`. */
static double by_pattern(Json *j, Name key, const char *path, double otherwise)
{
    Search s = { .path = path };
    json_each_double(j, key.s, try_key, &s);
    if (s.bad) json_fail(j, key.s, "expected regular expressions as POSIX has them, found %.80s", s.bad);
    return s.found ? s.value : otherwise;
}

double peft_scale(double *alpha, int rank, Json *j, const char *front, const char *path)
{
    Name plain = name("%slora_alpha", front), lycoris = name("%salpha", front), r = name("%sr", front);
    *alpha = by_pattern(j, name("%salpha_pattern", front), path, json_double(j, plain.s, json_double(j, lycoris.s, rank)));
    double noted = rank ? rank : by_pattern(j, name("%srank_pattern", front), path, json_double(j, r.s, 0));
    return noted <= 0 ? 1 : *alpha / (json_bool(j, name("%suse_rslora", front).s, 0) ? sqrt(noted) : noted);
}
