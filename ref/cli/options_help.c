/* options_help.c - what the tables say about an option: help, its explanation, docs/cli.md. */
#include "base/err.h"
#include "cli/options.h"
#include <stdarg.h>
#include <string.h>

enum { WIDTH = 100, HELP_COLUMN = 36, MAX_LINE = OPTION_LINE };

/* ---- pieces ---- */

const char *option_word(const Option *option)
{
    static const char *const by_kind[] = {
        [OPT_FLAG] = "", [OPT_INT] = "N", [OPT_LONG] = "N", [OPT_REAL] = "X", [OPT_SHARE] = "N|P%", [OPT_COLOUR] = "COLOUR", [OPT_SIZE] = "W,H",
        [OPT_TEXT] = "TEXT", [OPT_CHOICE] = "NAME", [OPT_LIST] = "TEXT", [OPT_PAIRS] = "KEY=VALUE ...", [OPT_SETTINGS] = "FILE"
    };
    return option->word ? option->word : by_kind[option->kind];
}

/* Appends to a line of MAX_LINE bytes. */
__attribute__((format(printf, 2, 3))) static void append(char *line, const char *format, ...)
{
    size_t  used = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(line + used, MAX_LINE - used, format, arguments);
    va_end(arguments);
    CHECK(wanted >= 0 && (size_t)wanted < MAX_LINE - used, "a text of the table of options is too long: %.60s", line);
}

static void append_choices(char *line, const Option *option)
{
    for (const Choice *c = NULL; (c = option_choice(option, c));) append(line, "%s%s", c == option->choices ? "" : ", ", c->name);
}

static void append_expected(char *line, const Option *option)
{
    switch (option->kind) {
    case OPT_INT:
    case OPT_LONG: append(line, "a whole number"); break;
    case OPT_REAL: append(line, "a number"); break;
    case OPT_SHARE: append(line, "a whole number, or a share below 1 or 100%%,"); break;
    case OPT_SIZE: append(line, "WIDTH,HEIGHT or one number for both, each a whole number"); break;
    case OPT_COLOUR: append(line, "white, black, grey, or R,G,B, each a whole number from 0 to 255"); return;
    case OPT_CHOICE: append(line, "one of "), append_choices(line, option); return;
    case OPT_PAIRS: append(line, "KEY=VALUE with a key of "), append_choices(line, option); return;
    default: append(line, "a text"); return;
    }
    append(line, " from %.10g", option->low);
    if (option->high > 0) append(line, " to %.10g", option->high);
}

void option_expected(char line[OPTION_LINE], const Option *option)
{
    *line = 0;
    append_expected(line, option);
}

/* ---- help ---- */

/* Prints the words of text from `column` on, where the cursor stands, breaking lines before WIDTH. */
static void print_wrapped(FILE *out, int column, const char *text)
{
    int at = column;
    for (size_t length; *text; text += length, text += strspn(text, " ")) {
        length = strcspn(text, " ");
        if (at > column && at + 1 + (int)length > WIDTH) fprintf(out, "\n%*s", column, ""), at = column;
        at += fprintf(out, "%s%.*s", at > column ? " " : "", (int)length, text);
    }
    fputc('\n', out);
}

static void append_default(char *line, const Option *option)
{
    const char *value = option->unset ? option->unset : option->value;
    if (option->required) append(line, "required");
    else if (value) append(line, "%s", *value ? value : "\"\"");
}

/* One line on the option: what it is, the choices, the default. */
static void append_help(char *line, const Option *option)
{
    append(line, "%s", option->help);
    if (option->choices) append(line, ": "), append_choices(line, option);
    char value[MAX_LINE] = "";
    append_default(value, option);
    if (*value) append(line, " [%s]", value);
}

void option_line(char line[OPTION_LINE], const Option *option)
{
    *line = 0;
    append_help(line, option);
}

void options_help(FILE *out, const Command *command)
{
    fprintf(out, "sdlora %s - %s\n\nUsage: sdlora %s%s%s\n", command->name, command->summary, command->name, *command->usage ? " " : "", command->usage);
    for (int k = command->shared; k < command->count; k++) {
        const Option *option = &command->options[k];
        char          line[MAX_LINE] = "";
        if (option->group) {
            fprintf(out, "\n%s\n", option->group);
            continue;
        }
        int column = fprintf(out, *option_word(option) ? "  --%s %s" : "  --%s", option->name, option_word(option));
        if (column >= HELP_COLUMN) fputc('\n', out), column = 0;
        fprintf(out, "%*s", HELP_COLUMN - column, "");
        append_help(line, option);
        print_wrapped(out, HELP_COLUMN, line);
    }
    if (command->count) fprintf(out, "\n`sdlora help %s OPTION` says more about an option.\n", command->name);
    fprintf(out, "\n%s", command->lesson);
}

void options_explain(FILE *out, const Command *command, const Option *option)
{
    char line[MAX_LINE] = "";
    fprintf(out, "sdlora %s --%s %s\n", command->name, option->name, option_word(option));
    if (option->alias) fprintf(out, "  also --%s\n", option->alias);
    append_help(line, option);
    append(line, ".");
    if (option->high > 0) append(line, " Takes "), append_expected(line, option), append(line, ".");
    fputs("  ", out), print_wrapped(out, 2, line);
    if (option->more) fputs("\n  ", out), print_wrapped(out, 2, option->more);
}

/* Prints text inside a cell of a Markdown table. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') fputc('\\', out);
        fputc(*text, out);
    }
}

void options_markdown(FILE *out, const Command *command)
{
    fprintf(out, "## sdlora %s\n\nIt %s.\n\n```\nsdlora %s %s\n```\n", command->name, command->summary, command->name, command->usage);
    for (int k = command->shared; k < command->count; k++) {
        const Option *option = &command->options[k];
        char          line[MAX_LINE] = "";
        if (option->group) {
            fprintf(out, "\n### %s\n\n| option | default | meaning |\n|---|---|---|\n", option->group);
            continue;
        }
        fprintf(out, "| `--%s%s", option->name, *option_word(option) ? " " : "");
        print_cell(out, option_word(option));
        fputs(option->alias ? "`, `--" : "`", out);
        if (option->alias) fprintf(out, "%s`", option->alias);
        fputs(" | ", out);
        append_default(line, option);
        print_cell(out, line);
        fputs(" | ", out), print_cell(out, option->help);
        if (option->choices) *line = 0, append_choices(line, option), fputs(": ", out), print_cell(out, line);
        fputs(".", out);
        if (option->more) fputs(" ", out), print_cell(out, option->more);
        fputs(" |\n", out);
    }
    fprintf(out, "\n```\n%s```\n", command->lesson);
}
