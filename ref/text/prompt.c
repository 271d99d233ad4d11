#include "text/prompt.h"
#include "base/err.h"
#include "io/utf8.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 60 };                                    /* bytes of a piece in a message */

static int is_of_name(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* ---- parts ---- */

/* The last colon of [p, end), behind which nothing but a number stands; NULL: there is none. */
static const char *find_weight(double *weight, const char *p, const char *end)
{
    const char *colon = end;
    char       *stop;
    double      value;
    while (end > p && isspace((unsigned char)end[-1])) end--;
    while (colon > p && colon[-1] != ':') colon--;
    if (colon == p) return NULL;
    const char *number = colon;
    while (number < end && isspace((unsigned char)*number)) number++;
    if (number == end || strspn(number, "+-.0123456789") < (size_t)(end - number)) return NULL;
    value = strtod(number, &stop);
    if (stop != end) return NULL;
    *weight = value;
    return colon - 1;
}

static int add_part(Prompt *prompt, const char *p, const char *end, double weight, Emphasis emphasis, int steps)
{
    PromptPart *more = realloc(prompt->part, ((size_t)prompt->count + 1) * sizeof *more);
    if (more) prompt->part = more;
    char *text = more ? strndup(p, (size_t)(end - p)) : NULL;
    if (!text) return err("out of memory for a prompt of %d parts", prompt->count + 1);
    PromptPart *part = &more[prompt->count++];
    part->weight = weight;
    int status = emphasis == EMPHASIS_NONE ? edit_plain(&part->edit, text, steps) : edit_read(&part->edit, text, steps);
    free(text);
    return status;
}

int prompt_read(Prompt *prompt, const char *text, int negative, Emphasis emphasis, int steps)
{
    const char *end = text + strlen(text), *at = NULL;
    *prompt = (Prompt){ 0 };
    for (const char *p = text; p; p = at ? at + strlen("AND") : NULL) {
        at = negative || emphasis == EMPHASIS_NONE ? NULL : emphasis_word(p, end, "AND");
        double      weight = 1;
        const char *stop = at ? at : end, *colon = at || prompt->count ? find_weight(&weight, p, stop) : NULL;
        if (!(fabs(weight) <= MAX_EMPHASIS))
            return err("\"%.*s\": a weight from %d to %d was expected", utf8_cut(p, (size_t)(stop - p), SHOWN), p, -MAX_EMPHASIS, MAX_EMPHASIS);
        if (add_part(prompt, p, colon ? colon : stop, weight, emphasis, steps)) return -1;
    }
    return 0;
}

void prompt_free(Prompt *prompt)
{
    for (int i = 0; i < prompt->count; i++) edit_free(&prompt->part[i].edit);
    free(prompt->part);
    *prompt = (Prompt){ 0 };
}

/* ---- what is refused ---- */

/* <name:...>, name of letters, digits and _. */
static int check_tags(const char *prompt)
{
    for (const char *at = prompt; (at = strchr(at, '<')); at++) {
        size_t name = 0;
        while (is_of_name(at[1 + name])) name++;
        const char *end = name && at[1 + name] == ':' ? strchr(at, '>') : NULL;
        if (!end || end == at + name + 2) continue;
        size_t size = (size_t)(end + 1 - at);
        if (strncmp(at + 1, "lora:", 5) == 0 || strncmp(at + 1, "lyco:", 5) == 0)
            return err("%.*s: `sdlora sample` takes LoRAs as --lora FILE:WEIGHT, a prompt has none", utf8_cut(at, size, SHOWN), at);
        return err("%.*s: the web UI's extra networks are not known here; leave it out of the prompt", utf8_cut(at, size, SHOWN), at);
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
                       "--cfg_scale, --seed, --width and --height", utf8_cut(line, strcspn(line, "\n"), SHOWN), line);
    }
    return 0;
}

static int check_weights(const Edit *edit, Emphasis emphasis)
{
    int status = 0;
    for (int i = 0; i < edit->count && !status; i++) {
        EmphasisParts parts;
        status = emphasis_read(&parts, edit->text[i].text, emphasis);
        emphasis_free(&parts);
    }
    return status;
}

int prompt_check(const char *text, int negative, Emphasis emphasis, int steps)
{
    Prompt prompt;
    if (emphasis == EMPHASIS_NONE) return 0;
    if (check_infotext(text) || check_tags(text)) return -1;
    int status = prompt_read(&prompt, text, negative, emphasis, steps);
    for (int i = 0; i < prompt.count && !status; i++) status = check_weights(&prompt.part[i].edit, emphasis);
    prompt_free(&prompt);
    return status;
}
