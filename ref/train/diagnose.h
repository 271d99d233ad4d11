/* diagnose.h - which number went wrong first, when a loss or a gradient is not finite. */
#ifndef TRAIN_DIAGNOSE_H
#define TRAIN_DIAGNOSE_H
#include "train/step.h"

/* Runs the batch again and names the first of the model's named values, in the order of computation, that holds a number that is not finite. "the loss" when
 * all of them are finite. */
Name diagnose_forward(Tape *t, const Checkpoint *model, const Lora *lora, const StepBatch *b);

/* The first adapter matrix, in the order of the block, with a gradient that is not finite, by its key in the file. */
Name diagnose_gradient(const Lora *lora);
#endif
