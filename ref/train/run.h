/* run.h - a whole training run: from the configuration to the LoRA file.
 *
 * In output_dir, NAME being output_name:  NAME.safetensors, the result;  NAME-000003.safetensors after epoch 3, NAME-step00001000.safetensors after step 1000,
 * where asked for;  NAME-state, NAME-000003-state, NAME-step00001000-state, folders to --resume from, with --save_state;  log.csv (log.h). */
#ifndef TRAIN_RUN_H
#define TRAIN_RUN_H
#include "train/config.h"

/* config: checked. 0; 1: SIGINT or SIGTERM came, the step was finished, LoRA and state are saved; -1 and err(). */
int train_run(const TrainConfig *config);
#endif
