/* log.h - log.csv, a line a step: step,epoch,loss,average_loss,lr_unet,lr_text_encoder,gradient_norm,seconds.
 *
 * average_loss is the mean over the last 100 steps. A resumed run takes the file up where its state was saved: later lines are dropped. */
#ifndef TRAIN_LOG_H
#define TRAIN_LOG_H
#include "train/trainer.h"
#include <stdio.h>

enum { LOG_WINDOW = 100 };

typedef struct {
    FILE  *file;
    char  *path;
    double window[LOG_WINDOW];
    int    count;                                       /* losses seen */
    double opened;                                      /* monotonic seconds */
} Log;

int    log_open(Log *log, const char *path, int step);  /* step 0: a new file. 0, or -1 and err() */
int    log_step(Log *log, const TrainPosition *at, const TrainReport *report);      /* at: behind the step */
double log_average(const Log *log);
int    log_close(Log *log);                             /* 0, or -1 and err(): not everything reached the disk */
#endif
