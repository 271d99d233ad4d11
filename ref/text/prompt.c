#include "text/prompt.h"
#include "base/err.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 60 };                                    /* bytes of a piece in a message */

static int shown(size_t size) { return (int)(size < SHOWN ? size : SHOWN); }

static int is_of_word(char c) { return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80; }

static int check_and(const char *prompt)
{
    for (const char *at = prompt; (at = strstr(at, "AND")); at += 3)
        if ((at == prompt || !is_of_word(at[-1])) && !is_of_word(at[3]))
            return err("AND: several prompts for one picture are not known here; as a word it is \"and\"");
    return 0;
}

/* <name:...>, name of letters, digits and _. */
static int check_tags(const char *prompt)
{
    for (const char *at = prompt; (at = strchr(at, '<')); at++) {
        size_t name = 0;
        while (is_of_word(at[1 + name])) name++;
        const char *end = name && at[1 + name] == ':' ? strchr(at, '>') : NULL;
        if (!end || end == at + name + 2) continue;
        size_t size = (size_t)(end + 1 - at);
        if (strncmp(at + 1, "lora:", 5) == 0 || strncmp(at + 1, "lyco:", 5) == 0)
            return err("%.*s: `sdlora sample` takes LoRAs as --lora FILE:WEIGHT, a prompt has none", shown(size), at);
        return err("%.*s: the web UI's extra networks are not known here; leave it out of the prompt", shown(size), at);
    }
    return 0;
}

/* Is [p, end) a number between blanks? */
static int is_number(const char *p, const char *end)
{
    char *stop;
    while (p < end && isspace((unsigned char)*p)) p++;
    while (end > p && isspace((unsigned char)end[-1])) end--;
    if (p == end || strspn(p, "+-.0123456789eE") < (size_t)(end - p)) return 0;
    strtod(p, &stop);
    return stop == end;
}

/* The bracket [ at p, up to its own ]: does it hold a | or end in :NUMBER, outside of all brackets in it? */
static int check_bracket(const char *p)
{
    const char *colon = NULL, *bar = NULL, *at = p + 1;
    for (int depth = 0; *at && (depth || *at != ']'); at++) {
        if (*at == '\\' && at[1]) at++;
        else if (*at == '[' || *at == '(') depth++;
        else if (*at == ']' || *at == ')') depth--;
        else if (*at == '|' && !depth) bar = at;
        else if (*at == ':' && !depth) colon = at;
        if (depth < 0) return 0;
    }
    if (!*at || !(bar || (colon && is_number(colon + 1, at)))) return 0;
    return err("%.*s: prompts that change from step to step are not known here; take one of its texts, or write \\[ and \\] for brackets of the text",
               shown((size_t)(at + 1 - p)), p);
}

static int check_brackets(const char *prompt)
{
    for (const char *at = prompt; *at; at++) {
        if (*at == '\\' && at[1]) at++;
        else if (*at == '[' && check_bracket(at)) return -1;
    }
    return 0;
}

/* The lines that follow the prompt in what the web UI writes. */
static int check_infotext(const char *prompt)
{
    static const char negative[] = "Negative prompt:", steps[] = "Steps: ";
    for (const char *line = prompt; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        int is_steps = strncmp(line, steps, sizeof steps - 1) == 0 && isdigit((unsigned char)line[sizeof steps - 1]);
        if (is_steps || strncmp(line, negative, sizeof negative - 1) == 0)
            return err("\"%.*s\": this is all that a picture says of itself; give its parts as --prompt, --negative_prompt, --steps, --sampler_name, "
                       "--cfg_scale, --seed, --width and --height", shown(strcspn(line, "\n")), line);
    }
    return 0;
}

int prompt_check(const char *prompt, int negative, Emphasis emphasis)
{
    EmphasisParts parts;
    if (emphasis == EMPHASIS_NONE) return 0;
    if (check_infotext(prompt) || check_tags(prompt) || check_brackets(prompt) || (!negative && check_and(prompt))) return -1;
    int status = emphasis_read(&parts, prompt, emphasis);
    emphasis_free(&parts);
    return status;
}
