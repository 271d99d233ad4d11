#include "train/dry_run.h"
#include "base/err.h"
#include "io/file.h"
#include "train/plan.h"
#include "train/preview.h"
#include "train/trainer.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A trainer without a model's numbers, and how far it came. */
typedef struct {
    Trainer  trainer;
    Set     *null;                                      /* holds the description of the model */
    int      pictures, model, planned, lora;            /* is this part there? */
    Problems problems;
} Look;

/* ---- looking ---- */

/* Where status is not 0, what err() says becomes a problem of the list, and looking goes on: 0; -1 only where there is no memory for the list. */
static int note(Look *l, int status) { return status ? problems_take(&l->problems) : 0; }

/* The heads of the large files, in whatever form they are. */
static int look_at_numbers(Look *l, const ModelSource *source)
{
    int         status = 0;
    ModelFiles *f = model_files_open(source);
    if (!f) return note(l, -1);
    for (int p = 0; p < MODEL_PARTS && !status; p++) status = note(l, model_files_need(f, (ModelPart)p));
    model_files_close(f);
    return status;
}

/* The files of a diffusers folder, all of them, so that a download cut short is seen at once. */
static int look_at_files(Look *l)
{
    static const char *const large[] = { "text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors",
                                         "vae/diffusion_pytorch_model.safetensors" };
    ModelSource source = train_config_source(l->trainer.config);
    char        path[PATH_SIZE], missing[512] = "";
    for (int i = 0; i < CONFIGS && is_dir(source.path); i++) {
        size_t used = strlen(missing);
        if (path_join(path, source.path, config_files[i])) return note(l, -1);
        if (!is_file(path)) snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "", config_files[i]);
    }
    if (!*missing) return look_at_numbers(l, &source);
    for (int i = 0; i < 3; i++) {
        if (path_join(path, source.path, large[i])) return note(l, -1);
        Safetensors *weights = is_file(path) ? safetensors_open(path) : NULL;
        if (is_file(path) && note(l, weights ? 0 : -1)) return -1;
        safetensors_close(weights);
    }
    return err("%s: files of the model are missing: %s", source.path, missing), note(l, -1);
}

static int look_at_model(Look *l)
{
    Trainer  *t = &l->trainer;
    Pipeline *p = &t->pipeline;
    int       before = l->problems.count;
    if (!(p->set = set_open_on(t->config->set, t->config->device))) return note(l, -1);
    if (!(l->null = set_null(p->set)) || look_at_files(l)) return -1;
    if (l->problems.count > before) return 0;
    ModelSource source = train_config_source(t->config);
    int         status = checkpoint_describe_source(&p->model, &source, l->null);
    if (!status) status = pipeline_open_tokenizer(p) || pipeline_open_schedule(p, &source) ? -1 : 0;
    l->model = !status;
    return note(l, status);
}

static int look_at_pictures(Look *l)
{
    const TrainConfig *c = l->trainer.config;
    Concepts          *concepts = &l->trainer.concepts;
    int                before = l->problems.count;
    if (concepts_open(concepts, c->train_data_dir, c->caption_extension, &l->problems)) return note(l, -1);
    if (concepts_check(concepts, &l->problems, c->quiet)) return -1;
    l->pictures = concepts->pictures > 0;
    if (!l->pictures && l->problems.count == before) err("%s: no picture to train on", c->train_data_dir);
    return l->pictures || l->problems.count > before ? 0 : note(l, -1);
}

/* A LoRA of that name, from another run, is not written over unasked. */
static int look_for_result(Look *l)
{
    const TrainConfig *c = l->trainer.config;
    char               file[PATH_SIZE], path[PATH_SIZE];
    int                length = snprintf(file, sizeof file, "%s.safetensors", c->output_name);
    if (length >= (int)sizeof file || path_join(path, c->output_dir, file)) return note(l, -1);
    if (c->overwrite || c->resume || !is_file(path)) return 0;
    return err("%s: is there already: give another --output_name or --output_dir, or --overwrite", path), note(l, -1);
}

/* The folder of the results, or the nearest above it that is there, must take new files. */
static int look_at_output(Look *l)
{
    char path[PATH_SIZE];
    if (path_join(path, l->trainer.config->output_dir, "")) return note(l, -1);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/';) path[--n] = 0;
    while (!is_dir(path) && access(path, F_OK)) {
        char *slash = strrchr(path, '/');
        if (!slash) strcpy(path, ".");
        else slash[slash == path] = 0;
    }
    if (look_for_result(l)) return -1;
    if (!is_dir(path)) return err("--output_dir %s: %s is a file, not a folder", l->trainer.config->output_dir, path), note(l, -1);
    return note(l, access(path, W_OK | X_OK) ? err("--output_dir %s: cannot be written: %s", l->trainer.config->output_dir, strerror(errno)) : 0);
}

static int look_at_inputs(Look *l)
{
    const TrainConfig *c = l->trainer.config;
    Safetensors       *file = NULL;
    int                status = c->network_weights && !(file = safetensors_open(c->network_weights));
    safetensors_close(file);
    if (note(l, status)) return -1;
    if (c->resume && access(c->resume, R_OK)) return err("--resume %s: %s", c->resume, strerror(errno)), note(l, -1);
    return note(l, preview_check(c, l->model ? &l->trainer.pipeline : NULL));
}

static int look(Look *l, const TrainConfig *config)
{
    *l = (Look){ .trainer = { .config = config } };
    if (look_at_pictures(l) || look_at_model(l) || look_at_inputs(l) || look_at_output(l)) return -1;
    if (!l->pictures || !l->model) return 0;
    int before = l->problems.count;
    l->planned = trainer_plan(&l->trainer, &l->problems) == 0 && trainer_fit(&l->trainer, 0) == 0;
    if (!l->planned) return l->trainer.concepts.pictures || l->problems.count == before ? note(l, -1) : 0;
    LoraRules rules = trainer_lora_rules(config);
    l->lora = lora_attach(&l->trainer.lora, &l->trainer.pipeline.model, &rules) == 0;
    return note(l, !l->lora);
}

static void look_close(Look *l)
{
    trainer_close(&l->trainer);
    problems_close(&l->problems);
    free(l->null);
}

/* ---- telling ---- */

/* Tokens of a caption beyond those that are read; *tokens: all of them. */
static int beyond(const Tokenizer *tok, int room, const char *caption, int *tokens)
{
    *tokens = tokenizer_encode(tok, caption, NULL, 0);
    return *tokens > room ? *tokens - room : 0;
}

static void print_captions(FILE *out, const Look *l)
{
    const Tokenizer *tok = &l->trainer.pipeline.tokenizer;
    const Concepts  *c = &l->trainer.concepts;
    double           sum = 0;
    int              most = 0, over = 0, tokens, room = train_config_chunks(l->trainer.config) * (tok->length - 2);
    for (int i = 0; i < c->pictures; i++) {
        over += beyond(tok, room, c->picture[i].caption, &tokens) > 0;
        sum += tokens;
        if (tokens > most) most = tokens;
    }
    fprintf(out, "\ncaptions     %.1f tokens on average, %d at most; the text encoder reads %d\n", sum / c->pictures, most, room);
    if (over) fprintf(out, "             too long: %d; only the beginning of these is read:\n", over);
    for (int i = 0; i < c->pictures; i++) {
        int cut = beyond(tok, room, c->picture[i].caption, &tokens);
        if (cut) fprintf(out, "             %s: %d of %d tokens\n", c->picture[i].path, cut, tokens);
    }
    if (over && l->trainer.config->max_token_length < 225) fprintf(out, "             more is read with --max_token_length 150 or 225\n");
}

/* The picture that loses most, and every one that is shown larger than it is, while there are few. */
static void print_extremes(FILE *out, const Trainer *t)
{
    enum { FEW = 8 };
    int    count = 0, worst = 0;
    double most = 0;
    for (int i = 0; i < t->concepts.pictures; i++) {
        double share = plan_cut_away(&t->fit[i], t->buckets.size[t->fit[i].bucket]);
        if (share > most) most = share, worst = i;
        count += plan_enlarged(&t->fit[i], &t->concepts.picture[i]);
    }
    const Picture *p = &t->concepts.picture[worst];
    if (most >= 0.001) fprintf(out, "cut off most %s, %dx%d: %.1f%%\n", p->path, p->w, p->h, 100 * most);
    for (int i = 0; i < t->concepts.pictures && count <= FEW; i++) {
        p = &t->concepts.picture[i];
        if (plan_enlarged(&t->fit[i], p)) fprintf(out, "enlarged     %s, %dx%d to %dx%d\n", p->path, p->w, p->h, t->fit[i].w, t->fit[i].h);
    }
}

static void print_saves(FILE *out, const Trainer *t)
{
    const TrainConfig *c = t->config;
    char               file[PATH_SIZE], path[PATH_SIZE];
    int                length = snprintf(file, sizeof file, "%s.safetensors", c->output_name);
    if (length >= (int)sizeof file || path_join(path, c->output_dir, file)) return;
    fprintf(out, "\nto write     %s at the end%s\n", path, is_file(path) ? "; it is there and will be replaced" : "");
    if (c->save_every_n_epochs)
        fprintf(out, "             %s-NNNNNN.safetensors every %d epochs: %d\n", c->output_name, c->save_every_n_epochs,
                (t->steps - 1) / t->epoch_steps / c->save_every_n_epochs);
    if (c->save_every_n_steps)
        fprintf(out, "             %s-stepNNNNNNNN.safetensors every %d steps: %d\n", c->output_name, c->save_every_n_steps,
                (t->steps - 1) / c->save_every_n_steps);
    if (c->save_state) fprintf(out, "             beside each a folder to --resume from\n");
}

static void print_plan(FILE *out, const Look *l)
{
    const Trainer    *t = &l->trainer;
    const Checkpoint *m = &t->pipeline.model;
    if (t->concepts.pictures) concepts_print(&t->concepts, out);
    if (l->model) {
        if (t->concepts.pictures) print_captions(out, l);
        fprintf(out, "%smodel        %s, made for %dx%d; sides are multiples of %d\n", t->concepts.pictures ? "" : "\n",
                t->config->pretrained_model_name_or_path, m->native_w, m->native_h, checkpoint_step(m));
        plan_print_text(out, &m->clip);
    }
    if (l->planned) plan_print_buckets(out, t), print_extremes(out, t);
    if (l->lora) plan_print_lora(out, t);
    if (l->planned) plan_print_steps(out, t), plan_print_memory(out, t), print_saves(out, t);
    fputc('\n', out);
}

/* ---- the two questions ---- */

static int count_problems(int count) { return count ? err("%d problem%s", count, count == 1 ? "" : "s") : 0; }

int dry_run(const TrainConfig *config, FILE *out)
{
    Look l;
    int  status = look(&l, config);
    if (!status) {
        print_plan(out, &l);
        problems_print(&l.problems, out);
        if (!l.problems.count) fputs("no problems\n", out);
        status = count_problems(l.problems.count);
    }
    look_close(&l);
    return status;
}

int dry_run_check(const TrainConfig *config)
{
    Look l;
    int  status = look(&l, config), count = l.problems.count;
    if (!status && count == 1) status = err("%s", l.problems.text[0]);
    else if (!status && count) {
        problems_print(&l.problems, stderr);
        status = err("%d problems; nothing was begun", count);
    }
    look_close(&l);
    return status;
}
