/* step_dump.h - a step of training with everything in it written to a file (nn/dump.h says what). */
#ifndef TRAIN_STEP_DUMP_H
#define TRAIN_STEP_DUMP_H
#include "train/trainer.h"

/* trainer_step, and DIR/step-00000001.safetensors. The file is written even where the step fails, to show why. 0, or -1 and err(). */
int step_dump_run(Trainer *t, TrainReport *report, const char *dir);

/* For trainer.c: sets aside what goes into the model with batch b, and lets the tape's tap set aside what follows. */
void step_dump_batch(Trainer *t, const Batch *b, const StepBatch *batch);
#endif
