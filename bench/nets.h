/* nets.h - the nets of a model and what is timed of them: a pass of one net, a training step.
 *
 * The model is a folder, a single file, or a built-in one's shapes filled with random numbers: the time does not depend on the numbers. Everything else
 * (latents, tokens, targets) is random. Adapters are put on and taken off between jobs, outside the time that is taken. Errors end the program. */
#ifndef BENCH_NETS_H
#define BENCH_NETS_H
#include "train/step.h"

typedef struct {
    int task;                                           /* net_task */
    int w, h, batch, threads;                           /* pixels; threads 0: as they are */
} Job;

typedef struct {
    const char *path;                                   /* of the model */
    Set        *set, *plain, *traced;                   /* what runs: plain, or the same with the time of every operation taken (ops/trace.h) */
    Checkpoint  model;
    LoraRules   rules;                                  /* ranks; which halves is the job's business */
    Lora        lora;
    int         adapted;                                /* bits of the halves that have adapters now */
    Tape        tape;
    Job         shape;                                  /* of the batch */
    StepBatch   batch;
} Nets;

typedef struct { double seconds, flops; size_t trainable; } Spent;        /* of one pass; of adapters the numbers */

int         net_task(const char *name);                 /* -1: there is none of this name */
const char *net_task_name(int task);

/* set: its name; trace: with a Trace of it all, in `traced`; rules: of the adapters. */
void  nets_open(Nets *nets, const char *path, const char *set, int trace, const LoraRules *rules);
void  nets_close(Nets *nets);

/* The mean of as many passes as half a second takes, one at least. */
Spent nets_time(Nets *nets, const Job *job);
#endif
