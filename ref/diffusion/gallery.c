#include "diffusion/gallery.h"
#include "base/err.h"
#include "diffusion/embeddings.h"
#include "diffusion/words.h"
#include "io/file.h"
#include "io/grid.h"
#include "lora/lora.h"
#include "ops/trace.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { PASSES = 2 };                                    /* passes: without the LoRAs, with them */

typedef struct {
    const SampleConfig *config;
    Pipeline            pipeline;
    Lora                lora;
    PromptLines         prompts;
    Embeddings          embeddings;
    int                 pictures;                       /* prompts * n_iter */
    uint32_t            seed;                           /* of picture 0 */
    int                 number;                         /* of picture 0's file */
    Image              *image[PASSES];
    Progress            progress;
    int                 done;
    int                 lost;                           /* pictures whose numbers are not finite: they are not written */
    char                why[ERR_SIZE];                  /* of the first of them */
} Gallery;

/* ---- what to make ---- */

/* The command line's prompt or the file's, each at its own place in the row of seeds, at the model's size unless it says another. */
static int read_prompts(Gallery *g)
{
    const SampleConfig *c = g->config;
    PromptLine          first = prompt_line_of(c);
    first.seed = g->seed;
    if (c->from_file ? prompt_lines_read(&g->prompts, c->from_file, &first, c->n_iter) : prompt_lines_add(&g->prompts, &first)) return -1;
    for (int i = 0; i < g->prompts.count; i++) {
        PromptLine *line = &g->prompts.line[i];
        if (!line->width) line->width = g->pipeline.model.native_w;
        if (!line->height) line->height = g->pipeline.model.native_h;
        if (pipeline_takes(&g->pipeline, line->width, line->height) || sampler_takes(c->sampler_name, c->scheduler, line->steps, &g->pipeline.schedule))
            return c->from_file ? err("%s: \"%s\": %s", c->from_file, line->prompt, err_text()) : -1;
    }
    return 0;
}

/* Words that prompts have are learned, and told: what is not told is no word. */
static int learn_embeddings(Gallery *g)
{
    Embeddings *e = &g->embeddings;
    for (int i = 0; i < g->config->embeddings.count; i++)
        if (embeddings_offer(e, g->config->embeddings.item[i])) return -1;
    if (embeddings_learn(e, &g->pipeline, &g->prompts)) return -1;
    for (int i = 0; i < e->count; i++)
        if (e->word[i].n) fprintf(stderr, "embedding    %s: %d vector%s, %s\n", e->word[i].word, e->word[i].n, e->word[i].n == 1 ? "" : "s", e->word[i].path);
    return 0;
}

/* The folder of the grid's file, made as that of the pictures is; the file comes last, and it would be late to find that there is no way in. */
static int make_grid_folder(const char *grid)
{
    char dir[PATH_SIZE];
    if (path_join(dir, "", grid)) return -1;
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) *slash = 0;
    else strcpy(dir, slash ? "/" : ".");
    if (dir_make(dir)) return -1;
    return access(dir, W_OK | X_OK) ? err("--grid %s: cannot be written: %s", grid, strerror(errno)) : 0;
}

/* One more than any picture NUMBER.png in the folder has; 0: none, or no such folder. -1 and err(). */
static int next_number(const char *dir)
{
    Names names;
    int   next = 0;
    if (!is_dir(dir)) return 0;
    if (dir_list(&names, dir)) return -1;
    for (int i = 0; i < names.count; i++) {
        size_t digits = strspn(names.name[i], "0123456789");
        int    number = digits && digits < 9 && !strcmp(names.name[i] + digits, ".png") ? atoi(names.name[i]) : -1;
        if (number >= next) next = number + 1;
    }
    names_free(&names);
    return next;
}

/* Pictures that are there stay: numbers go on behind theirs, as the web UI's do. */
static int number_files(Gallery *g)
{
    char without[PATH_SIZE];
    if (dir_make(g->config->output_dir) || path_join(without, g->config->output_dir, "without")) return -1;
    int with = next_number(g->config->output_dir), alone = g->config->compare ? next_number(without) : 0;
    g->number = with > alone ? with : alone;
    return with < 0 || alone < 0 ? -1 : 0;
}

/* Everything that can be wrong with what was asked for is found before the first picture is begun. */
static int plan(Gallery *g)
{
    const SampleConfig *c = g->config;
    char                path[PATH_SIZE];
    double              weight;
    for (int i = 0; i < c->lora.count; i++) {
        if (lora_argument(path, sizeof path, &weight, c->lora.item[i])) return -1;
        if (is_file(path) || is_dir(path)) continue;
        return err("%s: no such file%s", path, strchr(path, ':') ? "; a weight is the number behind a last colon" : "");
    }
    g->seed = (uint32_t)c->seed;
    if (c->seed < 0 && getrandom(&g->seed, sizeof g->seed, 0) != sizeof g->seed) return err("--seed -1: the system gives no random numbers");
    if (read_prompts(g) || learn_embeddings(g)) return -1;
    if (g->prompts.count > INT32_MAX / 4096 / c->n_iter) return err("%d prompts, %d pictures each: too many", g->prompts.count, c->n_iter);
    g->pictures = g->prompts.count * c->n_iter;
    for (int pass = 0; pass < PASSES; pass++)
        if (!(g->image[pass] = calloc((size_t)g->pictures, sizeof(Image)))) return err("out of memory for %d pictures", g->pictures);
    if (number_files(g) || (c->grid && make_grid_folder(c->grid))) return -1;
    if (c->seed < 0) fprintf(stderr, "seed         %u\n", g->seed);
    return 0;
}

/* ---- making it ---- */

static uint32_t seed_of(const Gallery *g, int k) { return (uint32_t)(g->prompts.line[k / g->config->n_iter].seed + k % g->config->n_iter); }

static int same_settings(const PromptLine *a, const PromptLine *b)
{
    return a->width == b->width && a->height == b->height && a->steps == b->steps && a->cfg_scale == b->cfg_scale;
}

/* The LoRAs of the pass, as the web UI writes them into a prompt: " <lora:name:1>" each. */
static void lora_words(char *out, size_t size, const Gallery *g, int pass)
{
    char   path[PATH_SIZE];
    double weight;
    size_t at = 0;
    *out = 0;
    for (int i = 0; pass == 1 && i < g->config->lora.count && at < size; i++) {
        if (lora_argument(path, sizeof path, &weight, g->config->lora.item[i])) continue;
        const char *file = path_name(path);
        at += (size_t)snprintf(out + at, size - at, " <lora:%.*s:%g>", (int)(strlen(file) - strlen(path_extension(file))), file, weight);
    }
}

/* FOLDER/00000.png, or a later number, of picture k; FOLDER is made. */
static int file_path(char path[PATH_SIZE], const Gallery *g, const char *folder, int k, int pass, const char *ending)
{
    char dir[PATH_SIZE], file[32];
    snprintf(file, sizeof file, "%05d%s", g->number + k, ending);
    return path_join(dir, folder, g->config->compare && pass == 0 ? "without" : "") || dir_make(dir) || path_join(path, dir, file) ? -1 : 0;
}

static int save_picture(const Gallery *g, int k, int pass)
{
    enum { LORAS = MAX_TEXTS * PATH_SIZE, TEXT = MAX_PARAMETERS + LORAS };
    const SampleConfig *c = g->config;
    char                path[PATH_SIZE];
    if (file_path(path, g, c->output_dir, k, pass, ".png")) return -1;
    const PromptLine *line = &g->prompts.line[k / c->n_iter];
    char             *words = embeddings_hashes(&g->embeddings, &g->pipeline.tokenizer, line);
    if (!words) return -1;
    ModelSource source = sample_config_source(c);
    size_t size = TEXT + strlen(words);
    char  *text = malloc(size + LORAS), *loras = text + size;
    int    status = text ? 0 : err("%s: out of memory", path);
    if (!status) {
        lora_words(loras, LORAS, g, pass);
        status = prompt_line_describe(text, size, line, seed_of(g, k), c->sampler_name, c->scheduler, loras, &source, words) ||
                 image_save(path, &g->image[pass][k], text) ? -1 : 0;
    }
    free(text);
    free(words);
    return status;
}

/* pipeline_sample into the images from k on, and everything in it to a file where that was asked for. */
static int draw(Gallery *g, const SampleSettings *s, const SamplePicture *picture, int n, int k, int pass)
{
    Dump d;
    char path[PATH_SIZE];
    if (!g->config->dump) return pipeline_sample(&g->pipeline, s, picture, n, g->image[pass] + k, &g->progress, &g->done);
    if (file_path(path, g, g->config->dump, k, pass, ".safetensors")) return -1;
    dump_open(&d, g->pipeline.set);
    dump_note(&d, "format", "sdlora-dump-1");
    dump_note(&d, "sampler", "%s", sampler_label(s->sampler));
    dump_note(&d, "cfg_scale", "%.17g", s->cfg);
    dump_note(&d, "prediction", "%s", g->pipeline.schedule.prediction == PREDICT_V ? "v" : "epsilon");
    g->pipeline.dump = &d;
    int status = pipeline_sample(&g->pipeline, s, picture, n, g->image[pass] + k, &g->progress, &g->done);
    g->pipeline.dump = NULL;
    return dump_write(&d, path) ? -1 : status;
}

/* A picture that is not to be: the others are made nevertheless. 0, or -1 and err(). */
static int lose_picture(Gallery *g, int k, int pass)
{
    char path[PATH_SIZE];
    if (g->lost++) return 0;
    if (file_path(path, g, g->config->output_dir, k, pass, ".png")) return -1;
    err("%s: %s", path, err_text());
    snprintf(g->why, sizeof g->why, "%s", err_text());
    return 0;
}

/* In memory stays what the grid shows. */
static void let_go(Gallery *g, int k, int pass)
{
    int rows = g->config->grid_rows, shown = g->config->grid && (!rows || k / g->config->n_iter < rows);
    if (!shown) image_free(&g->image[pass][k]);
}

/* Pictures [k, k + n), which share their settings. */
static int make_batch(Gallery *g, int k, int n, int pass)
{
    const SampleConfig *c = g->config;
    const PromptLine   *first = &g->prompts.line[k / c->n_iter];
    SampleSettings      s = { c->sampler_name, c->scheduler, first->width, first->height, first->steps, first->cfg_scale, c->emphasis, NULL };
    SamplePicture      *picture = malloc((size_t)n * sizeof *picture);
    if (!picture) return err("out of memory for %d pictures", n);
    for (int i = 0; i < n; i++) {
        const PromptLine *l = &g->prompts.line[(k + i) / c->n_iter];
        picture[i] = (SamplePicture){ l->prompt, l->negative_prompt, seed_of(g, k + i) };
    }
    int status = draw(g, &s, picture, n, k, pass);
    for (int i = k; i < k + n && status >= 0; i++) {
        status = g->image[pass][i].rgb ? save_picture(g, i, pass) : lose_picture(g, i, pass);
        let_go(g, i, pass);
    }
    free(picture);
    return status;
}

/* The batch that begins with picture k: as many as share its settings. */
static int batch_size(const Gallery *g, int k)
{
    int n = 1, n_iter = g->config->n_iter;
    while (n < g->config->batch_size && k + n < g->pictures && same_settings(&g->prompts.line[k / n_iter], &g->prompts.line[(k + n) / n_iter])) n++;
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
        steps += g->prompts.line[k / g->config->n_iter].steps;
    }
    return steps * (g->config->compare ? 2 : 1);
}

/* The words are told: whoever forgets them in the prompt has half of the LoRA. */
static int put_loras(Gallery *g)
{
    const TextList *files = &g->config->lora;
    char            words[256], (*path)[PATH_SIZE] = malloc(MAX_TEXTS * sizeof *path);
    LoraTerm        term[MAX_TEXTS];
    int             unmatched = g->config->allow_unmatched, status = path ? 0 : err("out of memory for the names of %d LoRA files", files->count);
    for (int i = 0; i < files->count && !status; i++) {
        term[i].path = path[i];
        status = lora_argument(path[i], sizeof path[i], &term[i].ratio, files->item[i]);
    }
    if (!status && files->count) status = lora_put(&g->lora, &g->pipeline.model, term, files->count, unmatched);
    for (int i = 0; i < files->count && !status; i++) {
        status = words_learn(words, sizeof words, &g->pipeline, path[i], unmatched);
        if (!status && *words) fprintf(stderr, "words        %s: %s\n", words, path[i]);
    }
    free(path);
    return status;
}

/* ---- the grid ---- */

/* A row a prompt; n_iter columns, with compare n_iter pairs. */
static int save_grid(const Gallery *g)
{
    const SampleConfig *c = g->config;
    int                 lines = g->prompts.count, rows = c->grid_rows && c->grid_rows < lines ? c->grid_rows : lines;
    int                 per = c->compare ? 2 : 1, cols = per * c->n_iter;
    Image              *cell = calloc((size_t)(rows * cols), sizeof *cell), out = { 0 };
    const char        **label = calloc((size_t)rows, sizeof *label), **title = calloc((size_t)cols, sizeof *title);
    int                 status = cell && label && title ? 0 : err("%s: out of memory", c->grid);
    for (int r = 0; r < rows && !status; r++) {
        label[r] = g->prompts.line[r].prompt;
        for (int i = 0; i < cols; i++) cell[r * cols + i] = g->image[c->compare ? i % 2 : 1][r * c->n_iter + i / per];
    }
    for (int i = 0; i < cols && !status; i++) title[i] = i % 2 ? "after: with the LoRA" : "before: without it";
    int scale = g->prompts.line[0].width <= 128 ? 2 : 1;
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
    embeddings_close(&g->embeddings);
    prompt_lines_close(&g->prompts);
    lora_detach(&g->lora);
    pipeline_close(&g->pipeline);
}

int gallery_run(const SampleConfig *config)
{
    Gallery g = { .config = config };
    if (sample_config_prompts(config)) return -1;
    ModelSource source = sample_config_source(config);
    Set        *set = set_open_on(config->set, config->device), *trace = config->trace && set ? trace_open(set) : NULL;
    if ((config->trace && !trace) || pipeline_open_on(&g.pipeline, &source, trace ? trace : set)) return trace_close(trace), -1;
    int status = plan(&g);
    if (!status) g.progress = progress_open("sample", "step", 0, total_steps(&g));
    if (!status && config->compare) status = make_pass(&g, 0);
    if (!status) status = put_loras(&g) || make_pass(&g, 1) ? -1 : 0;
    progress_close(&g.progress);
    if (!status && config->grid) status = save_grid(&g);
    if (!status && trace) status = trace_write(trace, config->trace);
    if (!status && g.lost) status = err("%s: try less weight of a LoRA, or --set cpu; of %d pictures %d %s not made", g.why,
                                        g.pictures * (config->compare ? 2 : 1), g.lost, g.lost == 1 ? "is" : "are");
    gallery_close(&g);
    trace_close(trace);
    return status;
}
