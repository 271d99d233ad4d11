/* log.h - the numbers of each step: in log.csv and, where asked for, in TensorBoard's files.
 *
 * log.csv has a line a step: step,epoch,loss,average_loss,lr_unet,lr_text_encoder,gradient_norm,seconds,loss_t1,loss_t2,loss_t3,loss_t4. average_loss is the
 * mean over the last 100 steps; gradient_norm is empty where the step was skipped (loss_scale.h); loss_t1 ... the mean over the step's samples whose timestep
 * lies in the first quarter (least noise), the second ..., empty where there was none. A resumed run takes the file up where its state was saved: later lines
 * are dropped.
 *
 * TensorBoard gets loss/current, loss/average, lr/unet, lr/textencoder and norm/gradient, kohya's names. */
#ifndef TRAIN_LOG_H
#define TRAIN_LOG_H
#include "train/events.h"
#include "train/trainer.h"
#include <stdio.h>

enum { LOG_WINDOW = 100 };

typedef struct {
    FILE  *file;
    Events events;                                      /* .file NULL: not asked for */
    char  *path;
    double window[LOG_WINDOW];
    int    count;                                       /* losses seen */
    double opened;                                      /* monotonic seconds */
} Log;

int    log_open(Log *log, const char *path, int step);  /* step 0: a new file. 0, or -1 and err() */
int    log_events(Log *log, const char *dir, int step); /* from here on also to a new file in this folder. 0, or -1 and err() */
int    log_step(Log *log, const TrainPosition *at, const TrainReport *report);      /* at: behind the step */
double log_average(const Log *log);
int    log_close(Log *log);                             /* 0, or -1 and err(): not everything reached the disk */

/* A line read back. What is not there, a band without samples, is NAN. */
typedef struct {
    int    step, epoch;                                 /* epoch from 1 */
    double loss, average, lr_unet, lr_text, norm, seconds, band[BANDS];
} LogLine;
int log_read(LogLine **line, int *lines, const char *path);     /* *line is malloc'd. 0, or -1 and err() */
#endif
