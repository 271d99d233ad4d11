/* main.c - `sdlora COMMAND ...`: finds the command, reads its options, and turns what it returns into an exit status and a line on stderr. */
#include "base/err.h"
#include "cli/cmd.h"
#include "cli/manual.h"
#include "cli/options.h"
#include <signal.h>
#include <string.h>

enum { DONE, FAILED, USAGE, STOPPED };                  /* exit status, documented in `sdlora --help` */

static int train(int argc, char **argv)
{
    TrainConfig config;
    int         asked = options_parse(&train_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    int status = train_config_check(&config) ? USAGE : FAILED;
    if (status == FAILED) {
        int ran = cmd_train(&config);
        status = ran < 0 ? FAILED : ran ? STOPPED : DONE;
    }
    toml_close(config.config_file);
    return status;
}

static int plan(int argc, char **argv)
{
    PlanConfig config;
    int        asked = options_parse(&plan_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    int status = plan_config_check(&config) ? USAGE : cmd_plan(&config) ? FAILED : DONE;
    toml_close(config.train.config_file);
    return status;
}

static int sample(int argc, char **argv)
{
    SampleConfig config;
    int          asked = options_parse(&sample_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0 || sample_config_check(&config)) return USAGE;
    return cmd_sample(&config) ? FAILED : DONE;
}

static int info(int argc, char **argv)
{
    InfoConfig config;
    int        asked = options_parse(&info_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    return cmd_info(&config) ? FAILED : DONE;
}

static int convert(int argc, char **argv)
{
    ConvertConfig config;
    int          asked = options_parse(&convert_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    return cmd_convert(&config) ? FAILED : DONE;
}

static int merge(int argc, char **argv)
{
    MergeConfig config;
    int        asked = options_parse(&merge_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    return cmd_merge(&config) ? FAILED : DONE;
}

static int resize(int argc, char **argv)
{
    ResizeConfig config;
    int         asked = options_parse(&resize_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    return cmd_resize(&config) ? FAILED : DONE;
}

static int extract(int argc, char **argv)
{
    ExtractConfig config;
    int          asked = options_parse(&extract_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    return cmd_extract(&config) ? FAILED : DONE;
}

static int self_test(int argc, char **argv)
{
    SelftestConfig config;
    int            asked = options_parse(&selftest_command, &config, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    return cmd_selftest(&config) ? FAILED : DONE;
}

static int devices(int argc, char **argv)
{
    char none;                                          /* of options */
    int  asked = options_parse(&devices_command, &none, argc, argv);
    if (asked > 0) return DONE;
    if (asked < 0) return USAGE;
    return cmd_devices() ? FAILED : DONE;
}

static int help(int argc, char **argv) { return help_about(stdout, argc, argv) ? USAGE : DONE; }

/* Markdown for docs/cli.md; --man and --bash are for `make install`. */
static int docs(int argc, char **argv)
{
    if (argc == 0) help_docs(stdout);
    else if (argc == 1 && !strcmp(argv[0], "--man")) manual_page(stdout);
    else if (argc == 1 && !strcmp(argv[0], "--bash")) manual_completion(stdout);
    else return err("docs: --man, --bash or nothing was expected, not \"%s\"", argv[argc - 1]), USAGE;
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
} commands[] = { { "train", train }, { "plan", plan }, { "sample", sample }, { "info", info }, { "convert", convert }, { "merge", merge },
               { "resize", resize }, { "extract", extract }, { "selftest", self_test }, { "devices", devices },
               { "help", help }, { "docs", docs }, { "version", version },
               { "--help", help }, { "-h", help }, { "--version", version } };

/* "train, sample and info": the names before those that are options. */
static const char *list_commands(char list[256], const char *last)
{
    size_t used = 0;
    for (size_t k = 0; commands[k].name[0] != '-'; k++) {
        int end = commands[k + 1].name[0] == '-';
        used += (size_t)snprintf(list + used, 256 - used, "%s%s", k == 0 ? "" : end ? last : ", ", commands[k].name);
        CHECK(used < 256, "the list of commands is too long: %s", list);
    }
    return list;
}

int main(int argc, char **argv)
{
    char   list[256];
    size_t k = 0, count = sizeof commands / sizeof *commands;
    int    status = USAGE;
    signal(SIGXFSZ, SIG_IGN);                           /* a file at its size limit is an error of write(), not the end */
    while (argc > 1 && k < count && strcmp(argv[1], commands[k].name)) k++;
    if (argc < 2) err("a command was expected: %s (`sdlora --help` says more)", list_commands(list, " or "));
    else if (k == count) err("\"%s\": no such command; there are %s (`sdlora --help` says more)", argv[1], list_commands(list, " and "));
    else status = commands[k].run(argc - 2, argv + 2);
    if (status == DONE && (fflush(stdout) || ferror(stdout))) err("standard output: cannot be written"), status = FAILED;
    if (status == FAILED || status == USAGE) fprintf(stderr, "sdlora: %s\n", err_text());
    return status;
}
