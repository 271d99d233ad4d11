/* preview.h - pictures drawn while training, with the adapters as they are: kohya's --sample_* options.
 *
 * Each line of the file of prompts gives one picture,  output_dir/sample/NAME_e000002_00_SEED.png  after epoch 2,  NAME_000100_00_SEED.png  after step 100,
 * NAME_e000000_00_SEED.png  before the first; 00 is the prompt's place. A line without --d has the run's seed plus its place, so that pictures of different
 * epochs differ by what was learned alone. Training's random numbers are functions of (seed, epoch, place): drawing changes no bit of the run. */
#ifndef TRAIN_PREVIEW_H
#define TRAIN_PREVIEW_H
#include "diffusion/sample_config.h"
#include "train/trainer.h"

/* Can the file of prompts be read and understood, and can this model, NULL: none is there, draw their sizes? 0, or -1 and err(). */
int preview_check(const TrainConfig *config, const Pipeline *model);

/* Reads the prompts of the run's configuration, none where no pictures are asked for; prompt_lines_close frees them. 0, or -1 and err(). */
int preview_open(PromptLines *prompts, const Trainer *t);

/* Draws what is due where the run is: before the first step, or just behind a step. 1: pictures were drawn, or some of
 * them: a signal that ends the run (stop.h) is not kept waiting; 0: nothing is due; -1 and err(). */
int preview_step(const PromptLines *prompts, Trainer *t);
#endif
