#include "lora/peft.h"
#include "nn/weights.h"
#include <ctype.h>
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

void peft_alpha(double *alpha, int *rslora, Json *j, const char *front, const char *path)
{
    Search s = { .path = path };
    Name   pattern = name("%salpha_pattern", front), plain = name("%slora_alpha", front), lycoris = name("%salpha", front);
    *alpha = json_double(j, plain.s, json_double(j, lycoris.s, *alpha));
    *rslora = json_bool(j, name("%suse_rslora", front).s, 0);
    json_each_double(j, pattern.s, try_key, &s);
    if (s.bad) json_fail(j, pattern.s, "expected regular expressions as POSIX has them, found %.80s", s.bad);
    if (s.found) *alpha = s.value;
}
