#include "cli/manual.h"
#include "base/version.h"
#include "cli/options.h"
#include <ctype.h>
#include <string.h>

/* ---- the man page ---- */

/* In roff \ begins an escape, - is a hyphen that - searches do not find, and . or ' at the start of a line a request. */
static int print_escaped(FILE *out, const char *text, size_t length, int starts_line)
{
    int width = 0;
    for (size_t k = 0; k < length; k++) {
        if (k == 0 && starts_line && (*text == '.' || *text == '\'')) width += fprintf(out, "\\&");
        width += text[k] == '\\' ? fprintf(out, "\\e") : text[k] == '-' ? fprintf(out, "\\-") : fprintf(out, "%c", text[k]);
    }
    return width;
}

/* Words on lines of 78 columns at most; nroff fills them anew. */
static void print_filled(FILE *out, const char *text)
{
    int at = 0;
    for (size_t length; *text; text += length, text += strspn(text, " \n")) {
        length = strcspn(text, " \n");
        if (at && at + 2 * (int)length > 78) fputc('\n', out), at = 0;
        else if (at) fputc(' ', out), at++;
        at += print_escaped(out, text, length, at == 0);
    }
    if (at) fputc('\n', out);
}

/* Lines as they are. */
static void print_plain(FILE *out, const char *text)
{
    fputs(".PP\n.nf\n", out);
    for (size_t length; *text; text += length + (text[length] == '\n')) {
        length = strcspn(text, "\n");
        print_escaped(out, text, length, 1);
        fputc('\n', out);
    }
    fputs(".fi\n", out);
}

static void print_name(FILE *out, const char *name)
{
    fputs("\\fB\\-\\-", out);
    print_escaped(out, name, strlen(name), 0);
    fputs("\\fR", out);
}

static void page_option(FILE *out, const Option *option)
{
    char        line[OPTION_LINE];
    const char *word = option_word(option);
    fputs(".TP\n", out);
    print_name(out, option->name);
    if (option->alias) fputs(", ", out), print_name(out, option->alias);
    if (*word) fputs(" \\fI", out), print_escaped(out, word, strlen(word), 0), fputs("\\fR", out);
    fputc('\n', out);
    option_line(line, option);
    print_filled(out, line);
    if (option->more) fputs(".br\n", out), print_filled(out, option->more);
}

static void page_command(FILE *out, const Command *command)
{
    char line[OPTION_LINE];
    fprintf(out, ".SH SDLORA ");
    for (const char *c = command->name; *c; c++) fputc(toupper((unsigned char)*c), out);
    fprintf(out, "\n");
    snprintf(line, sizeof line, "It %s.", command->summary);
    print_filled(out, line);
    for (int k = command->shared; k < command->count; k++) {
        if (command->options[k].group) fprintf(out, ".SS %s\n", command->options[k].group);
        else page_option(out, &command->options[k]);
    }
    print_plain(out, command->lesson);
}

void manual_page(FILE *out)
{
    fputs(".\\\" made by `sdlora docs \\-\\-man`\n"
          ".TH SDLORA 1 \"\" \"sdlora " SDLORA_VERSION "\" \"User Commands\"\n"
          ".SH NAME\n"
          "sdlora \\- trains and samples Stable Diffusion 1.x and 2.x LoRA models\n"
          ".SH SYNOPSIS\n", out);
    for (int k = 0; all_commands[k]; k++) {
        fprintf(out, "%s.B sdlora %s\n", k ? ".br\n" : "", all_commands[k]->name);
        print_filled(out, all_commands[k]->usage);
    }
    fputs(".br\n.B sdlora help\n[COMMAND [OPTION]]\n"
          ".SH DESCRIPTION\n"
          "A LoRA is a small file that teaches a large picture model one thing more: a\n"
          "character, a style.\n"
          "An option is\n.B \\-\\-name value\nor\n.BR \\-\\-name=value ;\n"
          "in names \\- and _ are the same.\n"
          "It may be given once, unless it says otherwise.\n"
          "What stands in [] is the default.\n", out);
    for (int k = 0; all_commands[k]; k++) page_command(out, all_commands[k]);
    fputs(".SH EXIT STATUS\n"
          "0 done; 1 failed, 2 wrong usage: one line on standard error says why;\n"
          "3 train was ended by SIGINT (Ctrl-C) or SIGTERM, and has saved what \\-\\-resume needs:\n"
          "the step in hand is finished first; a second signal ends it at once, as one before the first step does.\n", out);
}

/* ---- bash ---- */

/* What bash can offer for a value: words, files, folders, nothing that it could know; or, of a flag, no value. */
typedef enum { VALUE_WORDS, VALUE_FILES, VALUE_FOLDERS, VALUE_OTHER, VALUE_NONE } Value;

static Value value_of(const Option *option)
{
    const char *word = option_word(option);
    if (option->group || option->kind == OPT_FLAG) return VALUE_NONE;
    if (option->choices) return VALUE_WORDS;
    if (!strcmp(word, "DIR")) return VALUE_FOLDERS;
    return !strncmp(word, "FILE", 4) || !strcmp(word, "PATH") ? VALUE_FILES : VALUE_OTHER;
}

static bool has_positional(const Command *command)
{
    for (int k = 0; k < command->count; k++)
        if (command->options[k].positional) return true;
    return false;
}

/* The names of a command's options with something before each, as one word list. */
static void print_names(FILE *out, const Command *command, const char *before)
{
    for (int k = 0, first = 1; k < command->count; k++)
        if (command->options[k].name) fprintf(out, "%s%s%s", first ? "" : " ", before, command->options[k].name), first = 0;
}

/* Part of a pattern for `case`: COMMAND.NAME|COMMAND.ALIAS */
static void print_pattern(FILE *out, const Command *command, const Option *option)
{
    fprintf(out, "%s.%s", command->name, option->name);
    if (option->alias) fprintf(out, "|%s.%s", command->name, option->alias);
}

static void print_choices(FILE *out, const Option *option)
{
    for (const Choice *choice = NULL; (choice = option_choice(option, choice));) {
        if (choice != option->choices) fputc(' ', out);
        for (const char *c = choice->name; *c; c++) fputc(*c == ' ' ? '_' : *c, out);   /* the program takes _ for a space */
        if (option->kind == OPT_PAIRS) fputc('=', out);
    }
}

/* What may follow the option $prev: one branch an option with choices, one for all files, folders and others. */
static void print_values(FILE *out, const Command *command)
{
    static const char *const kinds[] = { [VALUE_FILES] = "files", [VALUE_FOLDERS] = "folders", [VALUE_OTHER] = "other" };
    for (int k = 0; k < command->count; k++) {
        const Option *option = &command->options[k];
        if (value_of(option) != VALUE_WORDS) continue;
        fputs("    ", out), print_pattern(out, command, option), fputs(") kind=words; words=\"", out), print_choices(out, option), fputs("\" ;;\n", out);
    }
    for (Value value = VALUE_FILES; value <= VALUE_OTHER; value++) {
        int found = 0;
        for (int k = 0; k < command->count; k++)
            if (value_of(&command->options[k]) == value) fputs(found++ ? "|" : "    ", out), print_pattern(out, command, &command->options[k]);
        if (found) fprintf(out, ") kind=%s ;;\n", kinds[value]);
    }
}

void manual_completion(FILE *out)
{
    fputs("# bash completion for sdlora; made by `sdlora docs --bash`\n"
          "_sdlora()\n"
          "{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev= command=${COMP_WORDS[1]} words= kind=options\n"
          "    if [ \"$COMP_CWORD\" -gt 1 ]; then prev=${COMP_WORDS[COMP_CWORD-1]}; fi\n"
          "    if [ \"$cur\" = = ]; then cur=\n"                           /* --name=value comes in three words */
          "    elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
          "    case $prev in --*) prev=${prev#--}; prev=${prev//-/_} ;; *) prev= ;; esac\n"
          "    case $command.$prev in\n", out);
    for (int n = 0; all_commands[n]; n++) print_values(out, all_commands[n]);
    fputs("    esac\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then words=\"", out);
    for (int n = 0; all_commands[n]; n++) fprintf(out, "%s ", all_commands[n]->name);
    fputs("help docs version\"\n"
          "    elif [ $kind = options ]; then\n"
          "        case $command in\n", out);
    for (int n = 0; all_commands[n]; n++) {
        fprintf(out, "        %s) words=\"", all_commands[n]->name);
        print_names(out, all_commands[n], "--");
        fputs(" --help\"", out);
        if (has_positional(all_commands[n])) fputs("; if [ $COMP_CWORD -eq 2 ] && [ \"${cur#-}\" = \"$cur\" ]; then kind=files; fi", out);
        fputs(" ;;\n", out);
    }
    fputs("        help)\n"
          "            case $COMP_CWORD.${COMP_WORDS[2]} in\n"
          "            2.*) words=\"", out);
    for (int n = 0; all_commands[n]; n++) fprintf(out, "%s%s", n ? " " : "", all_commands[n]->name);
    fputs("\" ;;\n", out);
    for (int n = 0; all_commands[n]; n++) {
        fprintf(out, "            3.%s) words=\"", all_commands[n]->name);
        print_names(out, all_commands[n], "");
        fputs("\" ;;\n", out);
    }
    fputs("            esac ;;\n"
          "        esac\n"
          "    fi\n"
          "    case $kind in\n"
          "    folders) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); compopt -o filenames 2>/dev/null ;;\n"
          "    files) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); compopt -o filenames 2>/dev/null ;;\n"
          "    *) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\") ;;\n"
          "    esac\n"
          "    case ${COMPREPLY[0]} in *=) compopt -o nospace 2>/dev/null ;; esac\n"
          "}\n"
          "complete -F _sdlora sdlora\n", out);
}
