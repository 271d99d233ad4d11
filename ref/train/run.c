#include "train/run.h"
#include "base/err.h"
#include "io/file.h"
#include "train/log.h"
#include "train/state.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static void print_plan(const Trainer *t)
{
    const TrainConfig *c = t->config;
    fprintf(stderr, "model        %s, %dx%d, set %s\n", c->pretrained_model_name_or_path, t->w, t->h, c->set);
    fprintf(stderr, "LoRA         %d modules, %zu numbers, rank %d, alpha %g: scale %g", t->lora.modules, t->lora.params.count, c->network_dim,
            c->network_alpha, c->network_alpha / c->network_dim);
    if (c->conv_dim) fprintf(stderr, "; convolutions rank %d, alpha %g: scale %g", c->conv_dim, c->conv_alpha, c->conv_alpha / c->conv_dim);
    fprintf(stderr, "\nplan         %d samples an epoch, %d batches of up to %d in %d bucket%s, %d steps an epoch; %d steps, %.2f epochs\n",
            concepts_samples(&t->concepts), t->epoch_batches, c->train_batch_size, t->buckets.count,
            t->buckets.count == 1 ? "" : "s", t->epoch_steps, t->steps, (double)t->steps / t->epoch_steps);
}

static void print_memory(const Trainer *t)
{
    const StepMemory *m = &t->memory;
    const double      mb = 1 << 20;
    fprintf(stderr, "memory       %.0f MB: weights %.0f, trainable %.0f, activations %.0f, gradients %.0f%s\n", (double)step_memory_total(m) / mb,
            (double)m->weights / mb, (double)m->trainable / mb, (double)m->activations / mb, (double)m->gradients / mb,
            t->mode == TAPE_TRAIN                  ? ""
            : t->config->gradient_checkpointing ? "; gradient checkpointing"
                                                : "; gradient checkpointing, for memory is short");
}

/* ---- what is written ---- */

/* NAME in output_dir, with the mark of where the run is: "", "-000003" or "-step00001000", and an ending. */
static int output_path(char path[PATH_SIZE], const TrainConfig *c, const char *mark, const char *ending)
{
    char file[PATH_SIZE];
    snprintf(file, sizeof file, "%s%s%s", c->output_name, mark, ending);
    return path_join(path, c->output_dir, file);
}

static int save_lora(const Trainer *t, const char *path)
{
    const TrainConfig *c = t->config;
    char               dim[16], alpha[32], args[80], step[16], epoch[16], date[32], size[32], seed[24];
    time_t             now = time(NULL);
    snprintf(dim, sizeof dim, "%d", c->network_dim);
    snprintf(alpha, sizeof alpha, "%g", c->network_alpha);
    snprintf(args, sizeof args, c->conv_dim ? "{\"conv_dim\": \"%d\", \"conv_alpha\": \"%g\"}" : "{}", c->conv_dim, c->conv_alpha);
    snprintf(step, sizeof step, "%d", t->at.step);
    snprintf(epoch, sizeof epoch, "%d", t->at.batch ? t->at.epoch + 1 : t->at.epoch);
    snprintf(size, sizeof size, "%dx%d", t->w, t->h);
    snprintf(seed, sizeof seed, "%lld", (long long)c->seed);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", gmtime(&now));
    const SafetensorsPair pair[] = {
        { "ss_network_module", "networks.lora" },
        { "ss_network_dim", dim },
        { "ss_network_alpha", alpha },
        { "ss_network_args", args },
        { "ss_base_model_version", "sd_v1" },
        { "ss_v2", "False" },
        { "ss_output_name", c->output_name },
        { "ss_sd_model_name", path_name(c->pretrained_model_name_or_path) },
        { "ss_steps", step },
        { "ss_epoch", epoch },
        { "ss_seed", seed },
        { "modelspec.sai_model_spec", "1.0.1" },
        { "modelspec.architecture", "stable-diffusion-v1/lora" },
        { "modelspec.implementation", "sdlora" },
        { "modelspec.title", c->output_name },
        { "modelspec.resolution", size },
        { "modelspec.date", date },
        { "modelspec.prediction_type", t->pipeline.schedule.prediction == PREDICT_V ? "v" : "epsilon" },
    };
    return lora_save(&t->lora, path, c->save_precision, pair, (int)(sizeof pair / sizeof *pair));
}

static int save(const Trainer *t, const char *mark)
{
    char lora[PATH_SIZE], state[PATH_SIZE];
    if (output_path(lora, t->config, mark, ".safetensors") || output_path(state, t->config, mark, "-state") || save_lora(t, lora)) return -1;
    return t->config->save_state ? state_save(t, state) : 0;
}

/* After a step that is not the last: the files that are due. */
static int save_due(const Trainer *t)
{
    const TrainConfig *c = t->config;
    char               mark[32];
    if (t->at.step == t->steps) return 0;
    if (c->save_every_n_epochs && t->at.batch == 0 && t->at.epoch % c->save_every_n_epochs == 0) {
        snprintf(mark, sizeof mark, "-%06d", t->at.epoch);
        if (save(t, mark)) return -1;
    }
    if (c->save_every_n_steps && t->at.step % c->save_every_n_steps == 0) {
        snprintf(mark, sizeof mark, "-step%08d", t->at.step);
        if (save(t, mark)) return -1;
    }
    return 0;
}

/* ---- the run ---- */

static int run_steps(Trainer *t, Log *log)
{
    Progress progress = progress_open("train", t->at.step, t->steps);
    int      status = 0;
    while (t->at.step < t->steps && !status) {
        TrainReport report;
        status = trainer_step(t, &report) || log_step(log, &t->at, &report) || save_due(t) ? -1 : 0;
        if (!status && !t->config->quiet) progress_update(&progress, t->at.step, "loss %.4f (average %.4f)", report.loss, log_average(log));
    }
    if (!t->config->quiet) progress_close(&progress);
    return status;
}

static void print_end(const Trainer *t)
{
    struct rusage use;
    char          path[PATH_SIZE];
    if (output_path(path, t->config, "", ".safetensors") || getrusage(RUSAGE_SELF, &use)) return;
    fprintf(stderr, "wrote %s; peak memory %.0f MB\n", path, (double)use.ru_maxrss / 1024);
}

int train_run(const TrainConfig *config)
{
    Trainer t;
    Log     log;
    char    path[PATH_SIZE];
    if (path_join(path, config->output_dir, "log.csv") || dir_make(config->output_dir) || trainer_open(&t, config)) return -1;
    int status = config->resume ? state_load(&t, config->resume) : 0;
    if (!status && t.at.step >= t.steps)
        status = err("%s: has %d steps already; nothing is left of %d", config->resume ? config->resume : "plan", t.at.step, t.steps);
    if (!status && !config->quiet) print_plan(&t), print_memory(&t);
    if (!status && (status = log_open(&log, path, t.at.step)) == 0) {
        status = run_steps(&t, &log);
        if (log_close(&log)) status = -1;
    }
    if (!status) status = save(&t, "");
    if (!status && !config->quiet) print_end(&t);
    trainer_close(&t);
    return status;
}
