/* options.h - one table of options a command: parsing, --help and docs/cli.md all come from it.
 *
 * An option is `--name value` or `--name=value`; in names `-` and `_` are the same. A table's row says where in the command's config struct the value goes,
 * what it is by default, which values are fit and what it means. A row with a group and no name is a heading: it opens the group of the rows after it. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef enum {                                          /* what is written to the config at the row's offset */
    OPT_FLAG,                                           /* bool: true where the option stands */
    OPT_INT, OPT_LONG, OPT_REAL,                        /* int, int64_t, double */
    OPT_SHARE,                                          /* double: a whole number of things, or, below 1, a share of all: "100", "0.05" or "5%" */
    OPT_COLOUR,                                         /* int 0xRRGGBB: "R,G,B", each 0 to 255, or white, black, grey */
    OPT_SIZE,                                           /* int[2]: "W,H" or "WxH", or one number for both */
    OPT_TEXT,                                           /* const char *, into argv */
    OPT_CHOICE,                                         /* int: the number that the choice stands for */
    OPT_LIST,                                           /* TextList: the option may be repeated */
    OPT_PAIRS,                                          /* nothing: `key=value` words up to the next --option; each sets the option `key`, one of `choices` */
    OPT_SETTINGS                                        /* Toml *: a file of options; what is on the command line wins over it */
} OptionKind;

typedef struct {
    const char *name;
    int         value;                                  /* OPT_CHOICE alone */
} Choice;

typedef struct {
    const char   *group;                                /* a heading: nothing else is set */
    const char   *name, *alias;
    OptionKind    kind;
    size_t        offset;
    const char   *value;                                /* the default, as on the command line; NULL: 0, false or NULL */
    const char   *unset;                                /* what the default means, in words, shown in its place */
    double        low, high;                            /* range of a number, and of both numbers of a size; high 0: no upper end */
    const Choice *choices;                              /* ended by a NULL name; compared without case, space, - and _ ; + is p. Of OPT_CHOICE a later row
                                                         * of the same value is another name for it, and stands in no list */
    const char   *word;                                 /* what stands for the value in help: "FILE"; NULL: by kind */
    bool          required, positional;                 /* positional: may be given without its name */
    bool          several;                              /* takes all words up to the next --option: OPT_LIST; OPT_REAL, where all have to be the same */
    const char   *help;                                 /* one line: what it is */
    const char   *more;                                 /* what a newcomer should know, or NULL: `sdlora help COMMAND OPTION`, docs/cli.md */
} Option;

typedef struct {
    const char   *name, *summary;
    const char   *usage;                                /* what follows the command's name */
    const Option *options;
    int           count;
    const struct Foreign *foreign;                      /* options that other programs have (foreign.h), or NULL */
    int           shared;                               /* the first rows are another command's: taken here, too, but explained there and not required */
    size_t        size;                                 /* of its config struct */
    const char   *lesson;                               /* closes the help: worked example, and how the numbers hang together */
} Command;

extern const Command train_command, plan_command, sample_command, info_command, selftest_command, devices_command;    /* option_table.c */
extern const Command convert_command, merge_command, resize_command, extract_command;                 /* tool_table.c */
extern const Command *const all_commands[];             /* ended by NULL */

/* Fills *config, of command->size bytes, with the defaults and then from argv[0..argc). 0; 1: help was asked for, *config is not ready; -1 and err().
 * Texts point into argv, or into the settings file that stands in *config, which is the caller's to close (toml_close) when the texts are not needed any more.
 *
 * In a settings file a key is an option's name; names of tables mean nothing. A flag is true or false, a number may be a string, "5%", and a size, a list or
 * pairs may be an array: resolution = [512, 768], network_args = ["conv_dim=16"]. */
int options_parse(const Command *command, void *config, int argc, char **argv);

/* Fills *config with the defaults alone. */
void options_defaults(const Command *command, void *config);

/* The row of that name or alias, or NULL and err() with the nearest name. */
const Option *options_find(const Command *command, const char *name);

/* The choice after this one that lists name: at first that of NULL; NULL: there is none. */
const Choice *option_choice(const Option *option, const Choice *before);

/* Pieces of what is said about an option: what stands for its value, "FILE", "" for a flag; what it is, its choices, its default in []. */
enum { OPTION_LINE = 2048 };
const char *option_word(const Option *option);
void        option_line(char line[OPTION_LINE], const Option *option);
void        option_expected(char line[OPTION_LINE], const Option *option);     /* which values are fit: "a whole number from 1 to 8" */

void options_help(FILE *out, const Command *command);                   /* 100 columns at most */
void options_explain(FILE *out, const Command *command, const Option *option);
void options_markdown(FILE *out, const Command *command);               /* its part of docs/cli.md */
#endif
