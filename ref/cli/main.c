/* main.c - `sdlora COMMAND ...`: finds the command, reads its options, and turns what it returns into an exit status and a line on stderr. */
#include "base/err.h"
#include "cli/cmd.h"
#include "cli/manual.h"
#include "cli/options.h"
#include <signal.h>
#include <string.h>

enum { DONE, FAILED, USAGE, STOPPED };                  /* exit status, documented in `sdlora --help` */

/* A command whose options need no check beyond their own. */
#define COMMAND(name, Config)                                                                                                                                  \
    static int run_##name(int argc, char **argv)                                                                                                               \
    {                                                                                                                                                          \
        Config config;                                                                                                                                         \
        int    asked = options_parse(&name##_command, &config, argc, argv);                                                                                    \
        if (asked) return asked > 0 ? DONE : USAGE;                                                                                                            \
        return cmd_##name(&config) ? FAILED : DONE;                                                                                                            \
    }
COMMAND(info, InfoConfig)
COMMAND(convert, ConvertConfig)
COMMAND(merge, MergeConfig)
COMMAND(resize, ResizeConfig)
COMMAND(extract, ExtractConfig)
COMMAND(selftest, SelftestConfig)

static int run_train(int argc, char **argv)
{
    TrainConfig config;
    int         asked = options_parse(&train_command, &config, argc, argv);
    if (asked) return asked > 0 ? DONE : USAGE;
    int status = train_config_check(&config) ? USAGE : FAILED;
    if (status == FAILED) {
        int ran = cmd_train(&config);
        status = ran < 0 ? FAILED : ran ? STOPPED : DONE;
    }
    toml_close(config.config_file);
    return status;
}

static int run_plan(int argc, char **argv)
{
    PlanConfig config;
    int        asked = options_parse(&plan_command, &config, argc, argv);
    if (asked) return asked > 0 ? DONE : USAGE;
    int status = plan_config_check(&config) ? USAGE : cmd_plan(&config) ? FAILED : DONE;
    toml_close(config.train.config_file);
    return status;
}

static int run_sample(int argc, char **argv)
{
    SampleConfig config;
    int          asked = options_parse(&sample_command, &config, argc, argv);
    if (asked) return asked > 0 ? DONE : USAGE;
    return sample_config_check(&config) ? USAGE : cmd_sample(&config) ? FAILED : DONE;
}

static int run_devices(int argc, char **argv)
{
    char none;                                          /* of options */
    int  asked = options_parse(&devices_command, &none, argc, argv);
    if (asked) return asked > 0 ? DONE : USAGE;
    return cmd_devices() ? FAILED : DONE;
}

static int run_help(int argc, char **argv) { return help_about(stdout, argc, argv) ? USAGE : DONE; }

/* Markdown for docs/cli.md; --man and --bash are for `make install`. */
static int run_docs(int argc, char **argv)
{
    if (argc == 0) help_docs(stdout);
    else if (argc == 1 && !strcmp(argv[0], "--man")) manual_page(stdout);
    else if (argc == 1 && !strcmp(argv[0], "--bash")) manual_completion(stdout);
    else return err("docs: --man, --bash or nothing was expected, not \"%s\"", argv[argc - 1]), USAGE;
    return DONE;
}

static int run_version(int argc, char **argv)
{
    if (argc) return err("version: takes no options, \"%s\" was given", argv[0]), USAGE;
    puts("sdlora " SDLORA_VERSION);
    return DONE;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);                  /* the words after the name; an exit status, err() unless it is DONE */
} commands[] = {
    { "train", run_train },        { "plan", run_plan },          { "sample", run_sample },      { "info", run_info },
    { "convert", run_convert },    { "merge", run_merge },        { "resize", run_resize },      { "extract", run_extract },
    { "selftest", run_selftest },  { "devices", run_devices },    { "help", run_help },          { "docs", run_docs },
    { "version", run_version },    { "--help", run_help },        { "-h", run_help },            { "--version", run_version },
};

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
