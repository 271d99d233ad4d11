/* trainer_job.h - a small job whose training is open, a step at a time: for cmocka, which tells what went wrong. */
#ifndef TESTS_TRAINER_JOB_H
#define TESTS_TRAINER_JOB_H
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"
#include "train/trainer.h"

typedef struct {
    char        text[4096];
    TrainConfig config;
    Trainer     trainer;                                /* the test closes it */
} Job;

static inline void open_job(Job *job, const char *options)
{
    job->config = job_train(job->text, options);
    if (trainer_open(&job->trainer, &job->config)) fail_msg("%s: %s", options, err_text());
}

static inline TrainReport step(Trainer *t)
{
    TrainReport report;
    if (trainer_step(t, &report)) fail_msg("%s", err_text());
    return report;
}
#endif
