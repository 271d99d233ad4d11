/* lr_schedule.h - how the learning rate goes over a run: a factor a step, as diffusers' get_scheduler and kohya compute it. */
#ifndef TRAIN_LR_SCHEDULE_H
#define TRAIN_LR_SCHEDULE_H
#include "train/config.h"

/* The factor at optimizer step k, 0 <= k < total: k/warmup during warm-up (so the first step of a warm-up has rate 0), then with p = (k - warmup)/(total -
 * warmup) constant 1, linear 1 - p, cosine (1 + cos pi p)/2, and the same with the fractional part of `cycles` p for p where it restarts. */
double lr_factor(LrScheduler kind, int k, int warmup, int total, int cycles);
#endif
