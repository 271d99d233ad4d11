/* state.h - a stopped run on disk: one file, DIR/state.safetensors, with the block of trainable numbers, both moments, the position, and the settings that
 * decide the run. Resuming with other settings would be another run: it is refused, and the message names the first that differs. */
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H
#include "train/trainer.h"

/* Writes the state to the folder `dir`, which is made. The file is replaced whole or not at all. 0, or -1 and err(). */
int state_save(const Trainer *t, const char *dir);

void state_remove(const char *dir);                     /* such a folder, and nothing else that may be in it */

/* Takes up the state of `path`, such a folder or the file itself. 0, or -1 and err(). */
int state_load(Trainer *t, const char *path);
#endif
