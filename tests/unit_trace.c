/* --trace: every call is there, under its module; its work is what a plan foretells; and looking changes no bit. */
#include "ops/trace.h"
#include "io/hash.h"
#include "train/run.h"
#include "train/trainer.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

enum { STEPS = 3 };

static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 4; i++) job_picture("data/2_a", i, 16, 16);
    return 0;
}

/* Trains STEPS steps; t stays open. The hash is that of what was learned. */
static void train(Trainer *t, TrainConfig *config, char text[4096], const char *options, char hash[HASH_SIZE])
{
    TrainReport report;
    *config = job_train(text, options);
    if (trainer_open(t, config)) fail_msg("%s", err_text());
    for (int k = 0; k < STEPS; k++)
        if (trainer_step(t, &report)) fail_msg("%s", err_text());
    hash_data(hash, t->lora.params.w.p, t->lora.params.count * sizeof(float));
}

static double flops_of(const Trace *t, const char *part)
{
    double sum = 0;
    for (int k = 0; k < t->entries; k++)
        if (!strcmp(t->entry[k].place.part, part)) sum += t->entry[k].cost.flops;
    return sum;
}

static void its_work_is_the_plans(void **state)
{
    static const char *const options[] = { "--conv_dim 2", "--gradient_checkpointing", "--network_train_unet_only --train_batch_size 2" };
    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        char        text[2][4096], line[256], hash[2][HASH_SIZE];
        TrainConfig config[2];
        Trainer     plain, traced;
        snprintf(line, sizeof line, "%s --trace @/trace", options[i]);
        train(&plain, &config[0], text[0], options[i], hash[0]);
        train(&traced, &config[1], text[1], line, hash[1]);
        assert_string_equal(hash[0], hash[1]);
        const Trace *t = trace_of(traced.trace);
        double       pass = traced.cost.forward + traced.cost.backward, unet = flops_of(t, "UNet"), text_encoder = flops_of(t, "text encoder");
        double       got = unet + flops_of(t, "loss") + (config[1].network_train_unet_only ? 0 : text_encoder);
        if (!(fabs(got - STEPS * pass) <= 1e-12 * got)) fail_msg("%s: %.17g FLOPs in %d steps, %.17g were planned", options[i], got, STEPS, STEPS * pass);
        assert_true(flops_of(t, "optimizer") == STEPS * traced.cost.update);
        assert_true(text_encoder > 0 && unet > text_encoder && flops_of(t, "autoencoder") > 0);
        trainer_close(&plain);
        trainer_close(&traced);
    }
}

/* A weight's module is named, and its adapter's work apart; seconds add up to less than the whole. */
static void every_call_has_a_place(void **state)
{
    char        text[4096], hash[HASH_SIZE];
    TrainConfig config;
    Trainer     trainer;
    double      seconds = 0;
    size_t      adapters = 0, modules = 0;
    (void)state;
    train(&trainer, &config, text, "--trace @/trace --conv_dim 2", hash);
    const Trace *t = trace_of(trainer.trace);
    for (int k = 0; k < t->entries; k++) {
        const TraceEntry *e = &t->entry[k];
        assert_non_null(e->place.part);
        assert_true(e->calls > 0 && e->seconds >= 0);
        seconds += e->seconds;
        int weighty = e->kind <= OP_CONV_DW || e->kind == OP_NORM || e->kind == OP_NORM_DX;
        if (weighty && !e->place.module) fail_msg("%s of %s has no module", trace_kind(e->kind), e->place.part);
        modules += weighty, adapters += e->place.detail && !strcmp(e->place.detail, "LoRA") && e->kind == OP_LINEAR;
    }
    assert_true(seconds > 0 && seconds <= t->last - t->first);
    assert_true(modules > 100 && adapters > 50);
    trainer_close(&trainer);
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

/* The files of a run: tables that are sorted, a picture whose boxes lie inside it. */
static void files(void **state)
{
    char        args[4096];
    TrainConfig config = job_train(args, "--max_train_steps 2 --trace @/look.svg");
    double      before = 200, share, x, width, total = 0, rounding = 0;
    (void)state;
    if (train_run(&config)) fail_msg("%s", err_text());
    char *text = file_read(tmp_path("look.txt"), 1 << 24, NULL), *svg = file_read(tmp_path("look.svg"), 1 << 24, NULL);
    assert_true(text && svg);
    char *rows = strstr(text, "operation, module\n");
    assert_non_null(rows);
    for (char *line = strchr(rows, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
        assert_int_equal(sscanf(line, "%lf%%", &share), 1);
        assert_true(share <= before);
        before = share, total += share, rounding += 0.005;
    }
    assert_true(total > 0 && total <= 100 + rounding);  /* the rest is the host's: files, mostly */
    assert_non_null(strstr(text, " UNet.down_blocks.0.resnets.0.conv1\n"));
    assert_non_null(strstr(text, " UNet.mid_block.attentions.0.transformer_blocks.0.attn1\n"));      /* attn, between two modules */
    assert_int_equal(strncmp(svg, "<svg ", 5), 0);
    assert_true(count(svg, "<g>") > 100 && count(svg, "<g>") == count(svg, "</g>") && count(svg, "<title>") == count(svg, "<g>"));
    assert_int_equal(count(svg, "nan") + count(svg, "inf"), 0);
    for (const char *box = svg; (box = strstr(box, "<g><rect")); box++) {
        assert_int_equal(sscanf(box, "<g><rect x=\"%lf\" y=\"%*d\" width=\"%lf\"", &x, &width), 2);
        assert_true(x >= 19.9 && width >= 0 && x + width <= 1580.1);
    }
    free(text), free(svg);
    config = job_train(args, "--max_train_steps 1 --trace @/none/look");
    assert_int_equal(train_run(&config), -1);
    assert_non_null(strstr(err_text(), "none/look.txt"));
}

/* More places than a trace first has room for: each is one entry, in the order of first calls. */
static void many_places(void **state)
{
    enum { PLACES = 5000 };
    static char module[PLACES], x[1];
    Set        *null = set_null(set_open("ref")), *set = trace_open(null);
    (void)state;
    assert_non_null(set);
    for (int k = 0; k < 2 * PLACES; k++) {
        Op op = op_add(tensor_of(x, T_F32, 1, 1, 1, 4), tensor_of(x, T_F32, 1, 1, 1, 4), tensor_of(x, T_F32, 1, 1, 1, 4));
        op.place = (OpPlace){ "part", &module[k % PLACES], NULL };
        assert_int_equal(set->run(set, &op), 0);
    }
    const Trace *t = trace_of(set);
    assert_int_equal(t->entries, PLACES);
    for (int k = 0; k < PLACES; k++)
        assert_true(t->entry[k].place.module == &module[k] && t->entry[k].calls == 2 && t->entry[k].cost.flops == 8 && t->entry[k].cost.bytes == 96);
    trace_close(set);
    free(null);
}

static size_t little_room(const Set *set) { return (void)set, 1234; }
static int    large_tiles(const Set *set, const Op *op) { return (void)set, (void)op, 4; }

/* What a set says of itself, a set around it says, too. */
static void says_what_the_inner_says(void **state)
{
    Set plain = *set_open("ref"), rich = plain;
    (void)state;
    plain.room = NULL, plain.transform = NULL, rich.room = little_room, rich.transform = large_tiles;
    Set *around = trace_open(&plain);
    assert_true(around && !around->room && !around->transform);
    trace_close(around);
    around = trace_open(&rich);
    assert_true(around && around->room(around) == 1234 && around->transform(around, NULL) == 4);
    assert_string_equal(around->name, rich.name);
    trace_close(around);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(its_work_is_the_plans), cmocka_unit_test(every_call_has_a_place), cmocka_unit_test(files),
                                        cmocka_unit_test(many_places),         cmocka_unit_test(says_what_the_inner_says) };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
