/* dry_run.h - what a run would do and everything that is wrong with it, before it begins.
 *
 * Every picture is read to its end, every caption and every configuration file; of the model's weights only the heads of their files, none of the numbers. */
#ifndef TRAIN_DRY_RUN_H
#define TRAIN_DRY_RUN_H
#include "train/config.h"
#include <stdio.h>

/* Prints the plan of what can be trained on, then the problems. 0: there are none; -1 and err(): "N problems". */
int dry_run(const TrainConfig *config, FILE *out);

/* The same look before a run, in silence: 0, or -1 and err(), which is the problem or says how many are on stderr. */
int dry_run_check(const TrainConfig *config);
#endif
