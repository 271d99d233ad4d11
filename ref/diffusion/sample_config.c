/* sample_config.c - what a sampling run needs beside its options: their agreement, prompt lines, LoRA arguments. */
#include "diffusion/sample_config.h"
#include "base/err.h"
#include "io/file.h"
#include "io/utf8.h"
#include "text/prompt.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int sample_config_check(const SampleConfig *config)
{
    if (config->grid && strcasecmp(path_extension(config->grid), ".png")) return err("--grid %s: a name that ends in .png was expected", config->grid);
    if (!config->prompt && !config->from_file) return err("--prompt: a prompt was expected, or --from_file with a file of prompts");
    if (config->prompt && config->from_file) return err("--prompt: --from_file was given as well; prompts come from one of the two");
    if (config->compare && !config->lora.count) return err("--compare: shows pictures without and with LoRAs, but no --lora was given");
    if (config->prompt && strlen(config->prompt) >= MAX_PROMPT) return err("--prompt: %d bytes at most were expected", MAX_PROMPT - 1);
    if (strlen(config->negative_prompt) >= MAX_PROMPT) return err("--negative_prompt: %d bytes at most were expected", MAX_PROMPT - 1);
    return 0;
}

int sample_config_prompts(const SampleConfig *config)
{
    if (config->prompt && prompt_check(config->prompt, 0, config->emphasis, config->steps)) return err("--prompt: %s", err_text());
    if (prompt_check(config->negative_prompt, 1, config->emphasis, config->steps)) return err("--negative_prompt: %s", err_text());
    return 0;
}

PromptLine prompt_line_of(const SampleConfig *config)
{
    PromptLine line = { .width = config->width, .height = config->height, .steps = config->steps, .seed = config->seed, .cfg_scale = config->cfg_scale,
                        .emphasis = config->emphasis };
    snprintf(line.prompt, sizeof line.prompt, "%s", config->prompt ? config->prompt : "");
    snprintf(line.negative_prompt, sizeof line.negative_prompt, "%s", config->negative_prompt);
    return line;
}

/* Reads a number that fills its text. */
static bool read_number(double *x, const char *text)
{
    char *end;
    if (!*text || text[strspn(text, "+-.0123456789eE")]) return false;      /* no "inf", "nan" or hexadecimal numbers */
    *x = strtod(text, &end);
    return end != text && !*end && isfinite(*x);
}

/* One part of a line after the prompt: its letter, a space, the value. */
static int prompt_option(PromptLine *line, const char *part, const char *path, int number)
{
    static const struct { char letter; const char *what; double low, high; bool whole; } rows[] = {
        { 'w', "width", MIN_SIDE, MAX_SIDE, true }, { 'h', "height", MIN_SIDE, MAX_SIDE, true }, { 'd', "seed", 0, (double)MAX_SEED, true },
        { 's', "steps", 1, MAX_STEPS, true },       { 'l', "cfg_scale", 0, MAX_CFG, false },
    };
    const char *value = part + strcspn(part, " ");      /* behind the letter and the spaces after it */
    value += strspn(value, " ");
    if (part[0] == 'n' && part[1] == ' ') {
        strcpy(line->negative_prompt, value);           /* shorter than the line, which fits */
        return 0;
    }
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        double x;
        if (part[0] != rows[k].letter || part[1] != ' ') continue;
        if (!read_number(&x, value) || x < rows[k].low || x > rows[k].high || (rows[k].whole && x != floor(x)))
            return err("%s:%d: --%c: the %s, a %snumber from %.10g to %.10g, was expected, not \"%s\"", path, number, rows[k].letter, rows[k].what,
                       rows[k].whole ? "whole " : "", rows[k].low, rows[k].high, value);
        switch (rows[k].letter) {
        case 'w': line->width = (int)x; break;
        case 'h': line->height = (int)x; break;
        case 'd': line->seed = (int64_t)x; break;
        case 's': line->steps = (int)x; break;
        case 'l': line->cfg_scale = x; break;
        }
        return 0;
    }
    return err("%s:%d: --%s: one of --n, --w, --h, --d, --s, --l and its value was expected", path, number, part);
}

static void strip_end(char *text)
{
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1])) text[--length] = 0;
}

int prompt_line_parse(PromptLine *line, const char *text, const char *path, int number)
{
    char rest[MAX_PROMPT], seen[256] = { 0 };
    text += strspn(text, " \t\r\n");
    if (!*text || *text == '#') return 0;
    if (strlen(text) >= sizeof rest) return err("%s:%d: a line of %d bytes at most was expected", path, number, MAX_PROMPT - 1);
    strcpy(rest, text);
    strip_end(rest);

    char *part = rest, *next = strstr(rest, " --");     /* a line may begin with an option: then its prompt stays what it was */
    if (strncmp(rest, "--", 2)) {
        if (next) *next = 0;
        strip_end(rest);
        strcpy(line->prompt, rest);
        part = next ? next + 1 : NULL;
    }
    for (; part; part = next ? next + 1 : NULL) {
        part += 2;
        next = strstr(part, " --");
        if (next) *next = 0;
        strip_end(part);
        if (seen[(unsigned char)*part]++) return err("%s:%d: --%c: given twice", path, number, *part);
        if (prompt_option(line, part, path, number)) return -1;
    }
    if (prompt_check(line->prompt, 0, line->emphasis, line->steps) || prompt_check(line->negative_prompt, 1, line->emphasis, line->steps))
        return err("%s:%d: %s", path, number, err_text());
    return 1;
}

/* ---- many lines ---- */

int prompt_lines_add(PromptLines *lines, const PromptLine *line)
{
    if (lines->count == lines->room) {
        int         room = lines->room ? 2 * lines->room : 16;
        PromptLine *more = realloc(lines->line, (size_t)room * sizeof *more);
        if (!more) return err("out of memory for %d prompts", room);
        lines->line = more, lines->room = room;
    }
    if (!utf8_valid(line->prompt, strlen(line->prompt)) || !utf8_valid(line->negative_prompt, strlen(line->negative_prompt)))
        return err("prompt %d: text in UTF-8 was expected", lines->count + 1);
    lines->line[lines->count++] = *line;
    return 0;
}

void prompt_lines_close(PromptLines *lines)
{
    free(lines->line);
    *lines = (PromptLines){ 0 };
}

int prompt_lines_read(PromptLines *lines, const char *path, const PromptLine *first, int seeds)
{
    enum { FILE_LIMIT = 64 << 20 };
    int   status = 0, before = lines->count;
    char *text = file_read(path, FILE_LIMIT, NULL), *at = text;
    if (!text) return -1;
    for (int number = 1; at && *at && !status; number++) {
        char *end = strchr(at, '\n');
        if (end) *end = 0;
        PromptLine line = *first;
        line.seed += (int64_t)(lines->count - before) * seeds;
        int found = prompt_line_parse(&line, at, path, number);
        status = found < 0 || (found > 0 && prompt_lines_add(lines, &line)) ? -1 : 0;
        at = end ? end + 1 : NULL;
    }
    free(text);
    return !status && lines->count == before ? err("%s: expected a prompt a line, found none", path) : status;
}

/* ---- what a picture says of itself ---- */

/* The model's name as the web UI has it, and its length: "sd15" of dir/sd15.safetensors, "tiny-sd" of the folder dir/tiny-sd/. */
static int model_name(const char **name, const char *path)
{
    size_t end = strlen(path), start;
    while (end > 1 && path[end - 1] == '/') end--;
    for (start = end; start > 0 && path[start - 1] != '/';) start--;
    *name = path + start;
    return (int)(end - start - (is_file(path) ? strlen(path_extension(path)) : 0));
}

int prompt_line_describe(char *out, size_t size, const PromptLine *l, uint32_t seed, SamplerKind sampler, SigmaKind sigmas, const char *loras,
                         const ModelSource *model, const char *words)
{
    int         brackets = strpbrk(l->prompt, "([") || strpbrk(l->negative_prompt, "([");
    const char *name, *emphasis = brackets && l->emphasis != EMPHASIS_ORIGINAL ? ", Emphasis: " : "";
    char        skip[32] = "";
    int         length = model_name(&name, model->path), ddim = sampler == SAMPLER_DDIM, negative = *l->negative_prompt != 0;
    if (model->clip_skip > 1) snprintf(skip, sizeof skip, ", Clip skip: %d", model->clip_skip);
    int used = snprintf(out, size,
                        "%s%s%s%s\nSteps: %d, Sampler: %s, %s%s%sCFG scale: %g, Seed: %u, Size: %dx%d, Model: %.*s%s, RNG: CPU%s%s%s, Version: sdlora",
                        l->prompt, loras, negative ? "\nNegative prompt: " : "", l->negative_prompt, l->steps, sampler_label(sampler),
                        ddim ? "" : "Schedule type: ", ddim ? "" : sigmas_label(sigmas), ddim ? "" : ", ", l->cfg_scale, seed, l->width, l->height, length,
                        name, skip, words, emphasis, *emphasis ? emphasis_label(l->emphasis) : "");
    return used < 0 ? err("out of memory for what a picture says of itself") : 0;
}

int lora_argument(char *path, size_t size, double *weight, const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t      length = colon && read_number(weight, colon + 1) ? (size_t)(colon - text) : strlen(text);
    if (!text[length]) *weight = 1;
    if (length == 0 || length >= size) return err("--lora: FILE or FILE:WEIGHT was expected, a file name of 1 to %zu bytes, not \"%s\"", size - 1, text);
    memcpy(path, text, length);
    path[length] = 0;
    return 0;
}

ModelSource sample_config_source(const SampleConfig *c)
{
    return (ModelSource){ c->model, c->vae, c->text_encoder, c->tokenizer, c->ema, c->v2, c->v_parameterization, c->clip_skip };
}
