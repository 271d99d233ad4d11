/* cmd.h - the commands of sdlora. */
#ifndef CLI_CMD_H
#define CLI_CMD_H
#include "base/version.h"
#include "check/selftest.h"
#include "diffusion/sample_config.h"
#include "train/plan.h"
#include <stdio.h>

typedef struct {
    const char *file;
    bool        verbose, json;
} InfoConfig;

/* The work itself: main.c has parsed and checked the configuration. 0, or -1 and err(). */
int cmd_train(const TrainConfig *config);               /* or 1: stopped by a signal, everything saved */
int cmd_plan(const PlanConfig *config);
int cmd_sample(const SampleConfig *config);
int cmd_info(const InfoConfig *config);
int cmd_selftest(const SelftestConfig *config);

/* cmd_help.c: what `sdlora --help` prints; docs/cli.md; what `sdlora help [COMMAND [OPTION]]` prints: 0, or -1 and err(). */
void help_overview(FILE *out);
void help_docs(FILE *out);
int  help_about(FILE *out, int argc, char **argv);
#endif
