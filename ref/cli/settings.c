#include "cli/settings.h"
#include "base/err.h"
#include "diffusion/sample_config.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_SIZE = 32 };

/* The value in words: into text, or a text that lives elsewhere. NULL: none. */
static const char *words(char text[WORD_SIZE], const Option *option, const void *config)
{
    const void *place = (const char *)config + option->offset;
    switch (option->kind) {
    case OPT_FLAG: return *(const bool *)place ? "yes" : "no";
    case OPT_INT: snprintf(text, WORD_SIZE, "%d", *(const int *)place); return text;
    case OPT_LONG: snprintf(text, WORD_SIZE, "%lld", (long long)*(const int64_t *)place); return text;
    case OPT_REAL:
    case OPT_SHARE: snprintf(text, WORD_SIZE, "%g", *(const double *)place); return text;
    case OPT_SIZE: snprintf(text, WORD_SIZE, "%d,%d", ((const int *)place)[0], ((const int *)place)[1]); return text;
    case OPT_COLOUR: snprintf(text, WORD_SIZE, "#%06x", *(const unsigned *)place); return text;
    case OPT_TEXT: return *(const char *const *)place;
    case OPT_LIST: snprintf(text, WORD_SIZE, "%d given", ((const TextList *)place)->count); return text;
    case OPT_CHOICE:
        for (const Choice *choice = option->choices; choice->name; choice++)
            if (choice->value == *(const int *)place) return choice->name;
        return NULL;
    default: return NULL;
    }
}

int settings_of(Setting **setting, const Command *command, const void *config)
{
    Setting    *s = calloc((size_t)command->count, sizeof *s + WORD_SIZE);
    void       *defaults = malloc(command->size);
    const char *group = "";
    int         count = 0;
    if (!s || !defaults) return free(s), free(defaults), err("out of memory for %d settings", command->count);
    char (*text)[WORD_SIZE] = (char (*)[WORD_SIZE])(s + command->count);
    options_defaults(command, defaults);
    for (int k = 0; k < command->count; k++) {
        const Option *option = &command->options[k];
        char          room[WORD_SIZE];
        if (option->group) group = option->group;
        if (!option->name || option->kind == OPT_PAIRS || option->kind == OPT_SETTINGS) continue;
        const char *value = words(text[k], option, config), *usual = words(room, option, defaults);
        bool        given = value && !(usual && !strcmp(value, usual));
        if (!given && option->unset) value = option->unset;
        s[count++] = (Setting){ group, option->name, value ? value : "none", given };
    }
    free(defaults);
    *setting = s;
    return count;
}
