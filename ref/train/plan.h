/* plan.h - what a run would take and how long it would last, before there is a picture, a model or a machine for it: `sdlora plan`. And the parts of that page
 * that --dry_run prints as well, which needs all of them.
 *
 * Everything is counted, nothing guessed: the same functions make buckets and steps, and a step is replayed on a set that only counts (step.h). MB and GB
 * are 2^20 and 2^30 bytes, a FLOP is a multiplication or an addition (ops/cost.h). */
#ifndef TRAIN_PLAN_H
#define TRAIN_PLAN_H
#include "train/trainer.h"
#include <stdio.h>

typedef struct {
    TrainConfig train;                                  /* first: options of `train` are options of `plan` */
    const char *images;                                 /* "96x10,259x10": pictures x repeats of each concept, instead of train_data_dir; NULL: not given */
    const char *vram;                                   /* "8GB": a card's memory */
    double      rate;                                   /* steps a second; 0: not given */
} PlanConfig;

int plan_config_check(PlanConfig *config);              /* 0, or -1 and err(): what contradicts itself or is no number. Once, after parsing */
int plan_run(const PlanConfig *config, FILE *out);      /* prints the plan. 0, or -1 and err() */

/* Of a trainer with a plan and, for the last, a measured step. A section each, which begins with an empty line. */
void plan_print_buckets(FILE *out, const Trainer *t);
void plan_print_lora(FILE *out, const Trainer *t);      /* adapters are attached */
void plan_print_steps(FILE *out, const Trainer *t);
void plan_print_memory(FILE *out, const Trainer *t);
void plan_print_text(FILE *out, const Clip *clip);      /* a line more about the model, where clip skip is at work */

/* Share of a resized picture that is cut away; is the picture itself smaller than what is asked of it? */
double plan_cut_away(const BucketFit *fit, BucketSize size);
int    plan_enlarged(const BucketFit *fit, const Picture *picture);

/* Host memory that a run touches beside the set's: encoded pictures, a batch, text states, the tokenizer, the program. On a CPU it is the same memory. */
size_t plan_host_memory(const Trainer *t);
#endif
