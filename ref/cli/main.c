/* main.c - `sdlora COMMAND ...`: finds the command, reads its options, and turns what it returns into an exit status and a line on stderr. */
#include "base/err.h"
#include "cli/cmd.h"
#include "cli/options.h"
#include <string.h>

enum { DONE, FAILED, USAGE };                           /* exit status, documented in `sdlora --help` */

static int train(int argc, char **argv)
{
    TrainConfig config;
    int         asked = options_parse(&train_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0 || train_config_check(&config)) return USAGE;
    return cmd_train(&config) ? FAILED : DONE;
}

static int sample(int argc, char **argv)
{
    SampleConfig config;
    int          asked = options_parse(&sample_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0 || sample_config_check(&config)) return USAGE;
    return cmd_sample(&config) ? FAILED : DONE;
}

static int help(int argc, char **argv) { return help_about(stdout, argc, argv) ? USAGE : DONE; }

static int docs(int argc, char **argv)
{
    if (argc) return err("docs: takes no options, \"%s\" was given", argv[0]), USAGE;
    help_docs(stdout);
    return DONE;
}

static int version(int argc, char **argv)
{
    if (argc) return err("version: takes no options, \"%s\" was given", argv[0]), USAGE;
    puts("sdlora " SDLORA_VERSION);
    return DONE;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);                  /* the words after the name; an exit status, err() unless it is DONE */
} commands[] = { { "train", train }, { "sample", sample }, { "help", help }, { "docs", docs }, { "version", version },
               { "--help", help }, { "-h", help }, { "--version", version } };

int main(int argc, char **argv)
{
    size_t k = 0, count = sizeof commands / sizeof *commands;
    int    status = USAGE;
    while (argc > 1 && k < count && strcmp(argv[1], commands[k].name)) k++;
    if (argc < 2) err("a command was expected: train, sample, help, docs or version (`sdlora --help` says more)");
    else if (k == count) err("\"%s\": no such command; there are train, sample, help, docs and version (`sdlora --help` says more)", argv[1]);
    else status = commands[k].run(argc - 2, argv + 2);
    if (status == DONE && (fflush(stdout) || ferror(stdout))) err("standard output: cannot be written"), status = FAILED;
    if (status != DONE) fprintf(stderr, "sdlora: %s\n", err_text());
    return status;
}
