#include "train/run.h"
#include "base/err.h"
#include "io/file.h"
#include "ops/trace.h"
#include "train/dry_run.h"
#include "train/log.h"
#include "train/metadata.h"
#include "train/preview.h"
#include "train/report.h"
#include "train/state.h"
#include "train/step_dump.h"
#include "train/stop.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void print_plan(const Trainer *t)
{
    const TrainConfig *c = t->config;
    fprintf(stderr, "model        %s, %dx%d, set %s\n", c->pretrained_model_name_or_path, t->w, t->h, t->pipeline.set->name);
    fprintf(stderr, "LoRA         %d modules, %zu numbers, rank %d, alpha %g: scale %g", t->lora.modules, t->lora.params.count, c->network_dim,
            c->network_alpha, c->network_alpha / c->network_dim);
    if (c->conv_dim) fprintf(stderr, "; convolutions rank %d, alpha %g: scale %g", c->conv_dim, c->conv_alpha, c->conv_alpha / c->conv_dim);
    fprintf(stderr, "\nplan         %d samples an epoch, %d batches of up to %d in %d bucket%s, %d steps an epoch; %d steps, %.2f epochs\n",
            concepts_samples(&t->concepts), t->epoch_batches, c->train_batch_size, t->buckets.count,
            t->buckets.count == 1 ? "" : "s", t->epoch_steps, t->steps, (double)t->steps / t->epoch_steps);
}

static void print_memory(const Trainer *t)
{
    const StepCost *c = &t->cost;
    const double    mb = 1 << 20;
    fprintf(stderr, "memory       %.0f MB: weights %.0f, trainable %.0f, activations %.0f, scratch %.0f, gradients %.0f; %s%s\n", (double)step_memory(c) / mb,
            (double)c->weights / mb, (double)c->trainable / mb, (double)c->activations / mb, (double)c->scratch / mb, (double)c->gradients / mb,
            tape_mode_name(t->mode), t->mode == TAPE_TRAIN || t->config->gradient_checkpointing ? "" : ", for memory is short");
}

/* ---- what is written ---- */

/* NAME in output_dir, with the mark of where the run is: "", "-000003" or "-step00001000", and an ending. */
static int output_path(char path[PATH_SIZE], const TrainConfig *c, const char *mark, const char *ending)
{
    char file[PATH_SIZE];
    snprintf(file, sizeof file, "%s%s%s", c->output_name, mark, ending);
    return path_join(path, c->output_dir, file);
}

static int save(const Trainer *t, Metadata *m, const char *mark, int with_state)
{
    const TrainConfig *c = t->config;
    char               lora[PATH_SIZE], state[PATH_SIZE];
    if (output_path(lora, c, mark, ".safetensors") || output_path(state, c, mark, "-state") || metadata_update(m, t)) return -1;
    if (lora_save(&t->lora, lora, c->save_precision, m->pair, m->pairs)) return -1;
    return with_state ? state_save(t, state) : 0;
}

/* The files of a mark, where they are: a later save has taken their place. */
static void forget(const TrainConfig *c, const char *mark)
{
    char lora[PATH_SIZE], state[PATH_SIZE];
    if (output_path(lora, c, mark, ".safetensors") || output_path(state, c, mark, "-state")) return;
    unlink(lora);
    state_remove(state);
}

/* Saves under the mark that `format` makes of `now`, and, where only the last few are kept, removes the one that is `every` times as many before. */
static int save_counted(const Trainer *t, Metadata *m, const char *format, int now, int every)
{
    const TrainConfig *c = t->config;
    char               mark[32];
    int64_t            old = now - (int64_t)every * c->save_last_n;
    snprintf(mark, sizeof mark, format, now);
    if (save(t, m, mark, c->save_state)) return -1;
    if (!c->save_last_n || old <= 0) return 0;
    snprintf(mark, sizeof mark, format, (int)old);
    forget(c, mark);
    return 0;
}

static const char epoch_mark[] = "-%06d", step_mark[] = "-step%08d";

/* After a step that is not the last: the files that are due. */
static int save_due(const Trainer *t, Metadata *m)
{
    int epochs = t->config->save_every_n_epochs, steps = t->config->save_every_n_steps;
    if (t->at.step == t->steps) return 0;
    if (epochs && t->at.batch == 0 && t->at.epoch % epochs == 0 && save_counted(t, m, epoch_mark, t->at.epoch, epochs)) return -1;
    return steps && t->at.step % steps == 0 ? save_counted(t, m, step_mark, t->at.step, steps) : 0;
}

/* ---- the run ---- */

/* What watches the run, and what its files say. */
typedef struct {
    Log         log;
    Metadata    metadata;
    PromptLines prompts;
    Report     *report;                                 /* NULL: none is wanted */
} Watch;

static void watch_close(Watch *w)
{
    metadata_close(&w->metadata);
    prompt_lines_close(&w->prompts);
    report_close(w->report);
    log_close(&w->log);
}

/* The log comes last: opening it cuts off what an earlier run left. */
static int watch_open(Watch *w, const Trainer *t)
{
    const TrainConfig *c = t->config;
    char               path[PATH_SIZE], dir[PATH_SIZE];
    *w = (Watch){ 0 };
    if (path_join(path, c->output_dir, "log.csv") || metadata_open(&w->metadata, t) || preview_open(&w->prompts, t)) return -1;
    if (!c->no_report && !(w->report = report_open(t))) return -1;
    if (log_open(&w->log, path, t->at.step)) return -1;
    return c->logging_dir && (path_join(dir, c->logging_dir, c->output_name) || log_events(&w->log, dir, t->at.step)) ? -1 : 0;
}

/* Behind a step: what is due. */
static int watch_step(Watch *w, Trainer *t, const TrainReport *report)
{
    if (log_step(&w->log, &t->at, report) || save_due(t, &w->metadata) || preview_step(&w->prompts, t) < 0) return -1;
    return w->report ? report_write(w->report, 0) : 0;
}

static int run_steps(Trainer *t, Watch *w)
{
    const TrainConfig *c = t->config;
    Progress           progress = progress_open("train", "step", t->at.step, t->steps);
    int                status = t->at.step == 0 && preview_step(&w->prompts, t) < 0 ? -1 : 0, dumped = c->dump ? t->at.step + c->dump_steps : 0;
    while (t->at.step < t->steps && !status && !stop_wanted()) {
        TrainReport report;
        status = t->at.step < dumped ? step_dump_run(t, &report, c->dump) : trainer_step(t, &report);
        if (!status) status = watch_step(w, t, &report);
        if (!status && !c->quiet) progress_update(&progress, t->at.step, "loss %.4f (average %.4f)", report.loss, log_average(&w->log));
    }
    if (!c->quiet) progress_close(&progress);
    return status;
}

static void print_skipped(const Trainer *t)
{
    if (t->loss_scale.skipped)
        fprintf(stderr, "%d of %d steps were skipped: a gradient was too large for the loss scale, now %g\n", t->loss_scale.skipped, t->at.step,
                t->loss_scale.scale);
}

static void print_end(const Trainer *t)
{
    struct rusage use;
    char          path[PATH_SIZE];
    if (output_path(path, t->config, "", ".safetensors") || getrusage(RUSAGE_SELF, &use)) return;
    fprintf(stderr, "wrote %s; peak memory %.0f MB\n", path, (double)use.ru_maxrss / 1024);
}

/* A signal came: the LoRA and the state of this step, whatever was asked for, and how to go on from them. */
static int save_stopped(const Trainer *t, Metadata *m)
{
    char mark[32], state[PATH_SIZE];
    snprintf(mark, sizeof mark, step_mark, t->at.step);
    if (output_path(state, t->config, mark, "-state") || save(t, m, mark, 1)) return -1;
    fprintf(stderr, "%s after step %d of %d: saved; go on with --resume %s\n", stop_wanted(), t->at.step, t->steps, state);
    return 0;
}

/* No step can follow: a loss or a gradient was not finite, or a file could not be written. What was learned since `first` is kept, and the message, which
 * err() has, says where. */
static int save_lost(const Trainer *t, Watch *w, int first)
{
    char mark[32], path[PATH_SIZE], why[ERR_SIZE];
    snprintf(why, sizeof why, "%s", err_text());
    log_close(&w->log);                                 /* of two reasons the first is told */
    snprintf(mark, sizeof mark, step_mark, t->at.step);
    if (t->at.step == first || output_path(path, t->config, mark, ".safetensors")) return err("%s", why);
    if (save(t, &w->metadata, mark, 1) == 0) return err("%s: saved in %s", why, path);
    return strcmp(why, err_text()) ? err("%s (and: %s)", why, err_text()) : -1;
}

int train_run(const TrainConfig *config)
{
    Trainer t;
    Watch   w = { 0 };
    if (config->dry_run) return dry_run(config, stdout);
    if (dry_run_check(config)) return -1;
    if (dir_make(config->output_dir) || trainer_open(&t, config)) return -1;
    int status = config->resume ? state_load(&t, config->resume) : 0;
    if (!status && t.at.step >= t.steps)
        status = err("%s: has %d steps already; nothing is left of %d", config->resume ? config->resume : "plan", t.at.step, t.steps);
    if (!status && !config->quiet) print_plan(&t), print_memory(&t);
    if (!status && (status = watch_open(&w, &t)) == 0) {
        int first = t.at.step;
        stop_listen();                                  /* before, there is nothing to save: a signal ends the program at once */
        if (run_steps(&t, &w) || log_close(&w.log)) status = save_lost(&t, &w, first);
    }
    int stopped = !status && t.at.step < t.steps;
    if (!status) status = stopped ? save_stopped(&t, &w.metadata) : save(&t, &w.metadata, "", config->save_state);
    if (!status && w.report) status = report_write(w.report, 1);
    if (!status && t.trace) status = trace_write(t.trace, config->trace);
    if (!status && !config->quiet) print_skipped(&t);
    if (!status && !stopped && !config->quiet) print_end(&t);
    watch_close(&w);
    trainer_close(&t);
    return status ? -1 : stopped;
}
