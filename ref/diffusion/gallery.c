#include "diffusion/gallery.h"
#include "base/err.h"
#include "diffusion/pipeline.h"
#include "io/file.h"
#include "io/grid.h"
#include "lora/lora.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { MAX_PROMPT_FILE = 64 << 20, PASSES = 2 };        /* passes: without the LoRAs, with them */

typedef struct {
    const SampleConfig *config;
    Pipeline            pipeline;
    PromptLine         *line;
    int                 lines, room, pictures;          /* pictures = lines * n_iter */
    uint32_t            seed;                           /* of picture 0 */
    Image              *image[PASSES];
    Progress            progress;
    int                 done;
} Gallery;

/* ---- what to make ---- */

/* The line that a prompt starts from: the command line's options, its own place in the row of seeds, the model's size. */
static PromptLine next_line(const Gallery *g)
{
    PromptLine line = prompt_line_of(g->config);
    line.seed = (int64_t)g->seed + (int64_t)g->lines * g->config->n_iter;
    return line;
}

static int add_line(Gallery *g, PromptLine line)
{
    if (g->lines == g->room) {
        int         room = g->room ? 2 * g->room : 16;
        PromptLine *more = realloc(g->line, (size_t)room * sizeof *more);
        if (!more) return err("out of memory for %d prompts", room);
        g->line = more, g->room = room;
    }
    if (!line.width) line.width = g->pipeline.model.native_w;
    if (!line.height) line.height = g->pipeline.model.native_h;
    g->line[g->lines++] = line;
    return 0;
}

static int read_lines(Gallery *g, const char *path)
{
    char *text = file_read(path, MAX_PROMPT_FILE, NULL), *at = text;
    if (!text) return -1;
    int status = 0;
    for (int number = 1; at && *at && !status; number++) {
        char *end = strchr(at, '\n');
        if (end) *end = 0;
        PromptLine line = next_line(g);
        int        found = prompt_line_parse(&line, at, path, number);
        status = found < 0 || (found > 0 && add_line(g, line)) ? -1 : 0;
        at = end ? end + 1 : NULL;
    }
    free(text);
    return !status && g->lines == 0 ? err("%s: expected a prompt a line, found none", path) : status;
}

static int plan(Gallery *g)
{
    const SampleConfig *c = g->config;
    g->seed = (uint32_t)c->seed;
    if (c->seed < 0 && getrandom(&g->seed, sizeof g->seed, 0) != sizeof g->seed) return err("--seed -1: the system gives no random numbers");
    if (c->from_file ? read_lines(g, c->from_file) : add_line(g, next_line(g))) return -1;
    if (g->lines > INT32_MAX / 4096 / c->n_iter) return err("%d prompts, %d pictures each: too many", g->lines, c->n_iter);
    g->pictures = g->lines * c->n_iter;
    for (int pass = 0; pass < PASSES; pass++)
        if (!(g->image[pass] = calloc((size_t)g->pictures, sizeof(Image)))) return err("out of memory for %d pictures", g->pictures);
    return 0;
}

/* ---- making it ---- */

static uint32_t seed_of(const Gallery *g, int k) { return (uint32_t)(g->line[k / g->config->n_iter].seed + k % g->config->n_iter); }

static int same_settings(const PromptLine *a, const PromptLine *b)
{
    return a->width == b->width && a->height == b->height && a->steps == b->steps && a->cfg_scale == b->cfg_scale;
}

/* The file's `parameters`, as the web UI writes and reads them. */
static void describe(char *out, size_t size, const Gallery *g, int k, int pass)
{
    const SampleConfig *c = g->config;
    const PromptLine   *l = &g->line[k / c->n_iter];
    size_t              at = (size_t)snprintf(out, size, "%s", l->prompt);
    char                path[PATH_SIZE];
    double              weight;
    for (int i = 0; pass == 1 && i < c->lora.count && at < size; i++) {
        if (lora_argument(path, sizeof path, &weight, c->lora.item[i])) continue;
        const char *file = path_name(path);
        at += (size_t)snprintf(out + at, size - at, " <lora:%.*s:%g>", (int)(strlen(file) - strlen(path_extension(file))), file, weight);
    }
    if (at < size && *l->negative_prompt) at += (size_t)snprintf(out + at, size - at, "\nNegative prompt: %s", l->negative_prompt);
    if (at >= size) return;
    at += (size_t)snprintf(out + at, size - at, "\nSteps: %d, Sampler: %s, ", l->steps, sampler_label(c->sampler_name));
    if (at < size && c->sampler_name != SAMPLER_DDIM) at += (size_t)snprintf(out + at, size - at, "Schedule type: %s, ", sigmas_label(c->scheduler));
    if (at < size)
        snprintf(out + at, size - at, "CFG scale: %g, Seed: %u, Size: %dx%d, Model: %s, RNG: CPU, Version: sdlora", l->cfg_scale, seed_of(g, k), l->width,
                 l->height, path_name(c->model));
}

static int save_picture(const Gallery *g, int k, int pass)
{
    enum { TEXT = 2 * MAX_PROMPT + MAX_TEXTS * PATH_SIZE + 1024 };
    char dir[PATH_SIZE], path[PATH_SIZE], file[32];
    snprintf(file, sizeof file, "%05d.png", k);
    if (path_join(dir, g->config->output_dir, g->config->compare && pass == 0 ? "without" : "") || dir_make(dir) || path_join(path, dir, file)) return -1;
    char *text = malloc(TEXT);
    if (!text) return err("%s: out of memory", path);
    describe(text, TEXT, g, k, pass);
    int status = image_save(path, &g->image[pass][k], text);
    free(text);
    return status;
}

/* Pictures [k, k + n), which share their settings. */
static int make_batch(Gallery *g, int k, int n, int pass)
{
    const SampleConfig *c = g->config;
    const PromptLine   *first = &g->line[k / c->n_iter];
    SampleSettings      s = { c->sampler_name, c->scheduler, first->width, first->height, first->steps, first->cfg_scale };
    SamplePicture      *picture = malloc((size_t)n * sizeof *picture);
    if (!picture) return err("out of memory for %d pictures", n);
    for (int i = 0; i < n; i++) {
        const PromptLine *l = &g->line[(k + i) / c->n_iter];
        picture[i] = (SamplePicture){ l->prompt, l->negative_prompt, seed_of(g, k + i) };
    }
    int status = pipeline_sample(&g->pipeline, &s, picture, n, g->image[pass] + k, &g->progress, &g->done);
    for (int i = 0; i < n && !status; i++) status = save_picture(g, k + i, pass);
    free(picture);
    return status;
}

/* The batch that begins with picture k: as many as share its settings. */
static int batch_size(const Gallery *g, int k)
{
    int n = 1, n_iter = g->config->n_iter;
    while (n < g->config->batch_size && k + n < g->pictures && same_settings(&g->line[k / n_iter], &g->line[(k + n) / n_iter])) n++;
    return n;
}

static int make_pass(Gallery *g, int pass)
{
    for (int k = 0, n; k < g->pictures; k += n) {
        n = batch_size(g, k);
        if (make_batch(g, k, n, pass)) return -1;
    }
    return 0;
}

static int total_steps(const Gallery *g)
{
    int steps = 0;
    for (int k = 0, n; k < g->pictures; k += n) {
        n = batch_size(g, k);
        steps += g->line[k / g->config->n_iter].steps;
    }
    return steps * (g->config->compare ? 2 : 1);
}

static int merge_loras(Gallery *g)
{
    char   path[PATH_SIZE];
    double weight;
    for (int i = 0; i < g->config->lora.count; i++)
        if (lora_argument(path, sizeof path, &weight, g->config->lora.item[i]) || lora_merge(&g->pipeline.model, path, weight)) return -1;
    return 0;
}

/* ---- the grid ---- */

/* A row a prompt; n_iter columns, with compare n_iter pairs. */
static int save_grid(const Gallery *g)
{
    const SampleConfig *c = g->config;
    int                 rows = c->grid_rows && c->grid_rows < g->lines ? c->grid_rows : g->lines, per = c->compare ? 2 : 1, cols = per * c->n_iter;
    Image              *cell = calloc((size_t)(rows * cols), sizeof *cell), out = { 0 };
    const char        **label = calloc((size_t)rows, sizeof *label), **title = calloc((size_t)cols, sizeof *title);
    int                 status = cell && label && title ? 0 : err("%s: out of memory", c->grid);
    for (int r = 0; r < rows && !status; r++) {
        label[r] = g->line[r].prompt;
        for (int i = 0; i < cols; i++) cell[r * cols + i] = g->image[c->compare ? i % 2 : 1][r * c->n_iter + i / per];
    }
    for (int i = 0; i < cols && !status; i++) title[i] = i % 2 ? "after: with the LoRA" : "before: without it";
    int scale = g->line[0].width <= 128 ? 2 : 1;
    if (!status) status = grid_draw(&out, &(Grid){ rows, cols, scale, cell, c->compare ? title : NULL, label });
    if (!status) status = image_save(c->grid, &out, NULL);
    image_free(&out);
    free(cell);
    free(label);
    free(title);
    return status;
}

static void gallery_close(Gallery *g)
{
    for (int pass = 0; pass < PASSES; pass++) {
        for (int k = 0; g->image[pass] && k < g->pictures; k++) image_free(&g->image[pass][k]);
        free(g->image[pass]);
    }
    free(g->line);
    pipeline_close(&g->pipeline);
}

int gallery_run(const SampleConfig *config)
{
    Gallery g = { .config = config };
    if (pipeline_open(&g.pipeline, config->model, config->set)) return -1;
    int status = plan(&g);
    if (!status) g.progress = progress_open("sample", 0, total_steps(&g));
    if (!status && config->compare) status = make_pass(&g, 0);
    if (!status) status = merge_loras(&g) || make_pass(&g, 1) ? -1 : 0;
    if (!status) progress_close(&g.progress);
    if (!status && config->grid) status = save_grid(&g);
    gallery_close(&g);
    return status;
}
