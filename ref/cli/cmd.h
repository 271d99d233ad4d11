/* cmd.h - the commands of sdlora. */
#ifndef CLI_CMD_H
#define CLI_CMD_H
#include "base/version.h"
#include "check/selftest.h"
#include "diffusion/sample_config.h"
#include "lora/tools.h"
#include "train/plan.h"
#include <stdio.h>

typedef struct {
    const char *file;
    bool        verbose, json;
} InfoConfig;

/* cmd_tools.c: fields under the names of kohya's scripts. */
typedef enum { TO_AUTO, TO_KOHYA, TO_DIFFUSERS, TO_PEFT, TO_CLONEOFSIMO, TO_LDM } ConvertTo;

typedef struct {
    const char *from, *save_to;
    ConvertTo   to;
    Type        save_precision;                         /* T_COUNT: as it is */
    bool        strip, v2, v_parameterization, ema;
} ConvertConfig;

typedef struct {
    TextList    models, ratios;
    const char *sd_model, *save_to;
    Type        save_precision;
    int         new_rank, new_conv_rank;                /* 0: not given */
    bool        no_metadata, quiet, allow_unmatched, v2, v_parameterization, ema;
} MergeConfig;

typedef struct {
    const char *model, *save_to;
    Type        save_precision;
    int         new_rank, new_conv_rank;
    LoraKeep    dynamic_method;
    double      dynamic_param;
    bool        no_metadata, quiet;
} ResizeConfig;

typedef struct {
    const char *model_org, *model_tuned, *save_to;
    Type        save_precision;
    int         dim, conv_dim;
    double      clamp_quantile, min_diff;
    bool        no_metadata, quiet, v2, v_parameterization;
} ExtractConfig;

/* The work itself: main.c has parsed and checked the configuration. 0, or -1 and err(). */
int cmd_train(const TrainConfig *config);               /* or 1: stopped by a signal, everything saved */
int cmd_plan(const PlanConfig *config);
int cmd_sample(const SampleConfig *config);
int cmd_info(const InfoConfig *config);
int cmd_convert(const ConvertConfig *config);
int cmd_merge(const MergeConfig *config);
int cmd_resize(const ResizeConfig *config);
int cmd_extract(const ExtractConfig *config);
int cmd_selftest(const SelftestConfig *config);
int cmd_devices(void);

/* cmd_help.c: what `sdlora --help` prints; docs/cli.md; what `sdlora help [COMMAND [OPTION]]` prints: 0, or -1 and err(). */
void help_overview(FILE *out);
void help_docs(FILE *out);
int  help_about(FILE *out, int argc, char **argv);
#endif
