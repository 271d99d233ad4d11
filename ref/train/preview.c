#include "train/preview.h"
#include "base/err.h"
#include "io/file.h"
#include "train/stop.h"
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 30 };                                    /* kohya's, as is the scale */

/* The size is the run's own, cut to what the model can draw. */
static PromptLine first_line(const Trainer *t)
{
    int step = checkpoint_step(&t->pipeline.model);
    return (PromptLine){ .width = t->w / step * step, .height = t->h / step * step, .steps = STEPS, .seed = t->config->seed, .cfg_scale = 7.5 };
}

/* A size that a prompt leaves open, 0, will be one that the model can draw. */
static int check_line(const PromptLine *line, const Pipeline *model, const TrainConfig *c)
{
    int step = checkpoint_step(&model->model), bad = line->width % step ? line->width : line->height;
    int status = bad % step ? err("width and height must be multiples of %d for this model, not %d", step, bad)
                            : sampler_takes(c->sample_sampler, SIGMAS_AUTOMATIC, line->steps, &model->schedule);
    return status ? err("%s: \"%s\": %s", c->sample_prompts, line->prompt, err_text()) : 0;
}

int preview_check(const TrainConfig *config, const Pipeline *model)
{
    PromptLines prompts = { 0 };
    int         status = config->sample_prompts ? prompt_lines_read(&prompts, config->sample_prompts, &(PromptLine){ .steps = STEPS }, 0) : 0;
    for (int i = 0; model && i < prompts.count && !status; i++) status = check_line(&prompts.line[i], model, config);
    prompt_lines_close(&prompts);
    return status;
}

int preview_open(PromptLines *prompts, const Trainer *t)
{
    const TrainConfig *c = t->config;
    *prompts = (PromptLines){ 0 };
    if (!c->sample_prompts) return 0;
    PromptLine first = first_line(t);
    int        status = prompt_lines_read(prompts, c->sample_prompts, &first, 1);
    for (int i = 0; i < prompts->count && !status; i++) {
        PromptLine *line = &prompts->line[i];
        if (!line->width) line->width = first.width;
        if (!line->height) line->height = first.height;
        line->seed = (uint32_t)line->seed;
        status = pipeline_takes(&t->pipeline, line->width, line->height);
    }
    if (status) prompt_lines_close(prompts);
    return status;
}

/* What the names of the pictures say of the time: "e000002", "000100", or "" where none are due. Where an epoch and a number of steps end together it is the
 * epoch's. */
static void due(char mark[16], const TrainConfig *c, TrainPosition at)
{
    int epoch = at.batch == 0 && at.step > 0 && c->sample_every_n_epochs && at.epoch % c->sample_every_n_epochs == 0;
    int step = at.step > 0 && c->sample_every_n_steps && at.step % c->sample_every_n_steps == 0;
    *mark = 0;
    if (epoch || (at.step == 0 && c->sample_at_first)) snprintf(mark, 16, "e%06d", at.epoch);
    else if (step) snprintf(mark, 16, "%06d", at.step);
}

static int draw(Trainer *t, const PromptLine *line, const char *dir, const char *mark, int place)
{
    const TrainConfig *c = t->config;
    SampleSettings     s = { c->sample_sampler, SIGMAS_AUTOMATIC, line->width, line->height, line->steps, line->cfg_scale, line->emphasis, stop_wanted };
    ModelSource        source = train_config_source(c);
    SamplePicture      picture = { line->prompt, line->negative_prompt, (uint32_t)line->seed };
    char               file[PATH_SIZE], path[PATH_SIZE], lora[PATH_SIZE], text[MAX_PARAMETERS];
    Image              image;
    snprintf(file, sizeof file, "%s_%s_%02d_%u.png", c->output_name, mark, place, picture.seed);
    snprintf(lora, sizeof lora, " <lora:%s:1>", c->output_name);
    if (prompt_line_describe(text, sizeof text, line, picture.seed, s.sampler, s.sigmas, lora, &source, "") || path_join(path, dir, file)) return -1;
    int status = pipeline_sample(&t->pipeline, &s, &picture, 1, &image, NULL, NULL);
    if (status < 0) return stop_wanted() ? 0 : -1;
    if (status) return err("%s: %s", path, err_text());
    status = image_save(path, &image, text);
    image_free(&image);
    return status;
}

int preview_step(const PromptLines *prompts, Trainer *t)
{
    char mark[16], dir[PATH_SIZE];
    due(mark, t->config, t->at);
    if (!prompts->count || !*mark) return 0;
    if (path_join(dir, t->config->output_dir, "sample") || dir_make(dir)) return -1;
    for (int i = 0; i < prompts->count && !stop_wanted(); i++)
        if (draw(t, &prompts->line[i], dir, mark, i)) return -1;
    return 1;
}
