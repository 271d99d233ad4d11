/* --shadow: sound sets agree through real steps, to the same bits as alone; a set with one wrong operation is told by that operation's name. */
#include "check/shadow.h"
#include "io/hash.h"
#include "ops/wrap.h"
#include "train/run.h"
#include "train/trainer.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "job.h"

static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 2; i++) job_picture("data/1_a", i, 16, 16);
    return 0;
}

/* ---- sound sets ---- */

static void train(char hash[HASH_SIZE], size_t *calls, const char *options)
{
    char        text[4096];
    Trainer     t;
    TrainReport report;
    TrainConfig config = job_train(text, options);
    if (trainer_open(&t, &config)) fail_msg("%s: %s", options, err_text());
    for (int k = 0; k < 2; k++)
        if (trainer_step(&t, &report)) fail_msg("%s: %s", options, err_text());
    *calls = t.shadow ? shadow_calls(t.shadow) : 0;
    hash_data(hash, t.lora.params.w.p, t.lora.params.count * type_size(t.lora.params.w.type));
    trainer_close(&t);
}

static void sound_sets_agree(void **state)
{
    static const struct { const char *set, *shadow; } pairs[] = { { "ref", "ref" }, { "ref", "ref64" }, { "ref16", "ref" }, { "ref16", "ref64" } };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char   options[256], alone[HASH_SIZE], watched[HASH_SIZE];
        size_t none, calls;
        snprintf(options, sizeof options, "--set %s --conv_dim 2", pairs[i].set);
        train(alone, &none, options);
        snprintf(options, sizeof options, "--set %s --conv_dim 2 --shadow %s", pairs[i].set, pairs[i].shadow);
        train(watched, &calls, options);
        assert_string_equal(alone, watched);
        assert_true(none == 0 && calls > 500);
    }
}

/* ---- one wrong operation ---- */

/* ref, but for the last element of the first output of one kind of op: off by a hundredth of the largest. */
typedef struct {
    Wrap   wrap;
    OpKind kind;
    int    ran;
} Mutant;

static int run(Set *set, const Op *op)
{
    Mutant *m = (Mutant *)set;
    Set    *inner = m->wrap.inner;
    Tensor  y = op->y[0];
    if (inner->run(inner, op)) return -1;
    if (op->kind != m->kind) return 0;
    size_t  count = tensor_count(y), at = op->kind == OP_SUMSQ ? CTL_SUMSQ : count - 1;
    double *value = malloc(count * sizeof *value), most = 0;
    Tensor  host = tensor_of(value, T_F64, y.n, y.h, y.w, y.c);
    assert_true(value && inner->download(inner, host, y) == 0);
    for (size_t k = 0; k < count; k++) most = fmax(most, fabs(value[k]));
    value[at] += 0.01 * most + (most == 0);
    assert_int_equal(inner->upload(inner, y, host), 0);
    free(value);
    return m->ran++, 0;
}

/* One step on p, with its update. */
static int step(Pipeline *p, Lora *lora)
{
    enum { N = 1, H = 8, W = 8, C = 4, MOST = 128 };
    static double x[N * H * W * C], target[N * H * W * C], weight[N] = { 1 }, sines[N * MOST], loss[N];
    static int32_t ids[N * MOST];
    const ParamUpdate update = { .lr = { 1e-3, 1e-3 }, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .clip = 1, .step = 1 };
    int length = p->tokenizer.length;
    Rng rng = rng_open(1, RNG_TEST, 0, 0);
    for (int k = 0; k < N * H * W * C; k++) x[k] = rng_normal(&rng), target[k] = rng_normal(&rng);
    unet_time(&p->model.unet.config, 400, sines);
    assert_true(length <= MOST && p->model.unet.config.channels[0] <= MOST && tokenizer_pad(&p->tokenizer, "thing, red", ids) >= 0);
    StepBatch b = { N, H, W, C, length, 1, ids, NULL, x, target, sines, weight };
    return params_clear(&lora->params) || step_pass(&p->tape, &p->model, lora, &b, TAPE_TRAIN, 1, loss) || params_update(&lora->params, &update) ? -1 : 0;
}

static void a_wrong_operation_is_named(void **state)
{
    static const OpKind kinds[] = { OP_LINEAR, OP_LINEAR_DX, OP_LINEAR_DW, OP_CONV, OP_CONV_DX, OP_NORM, OP_NORM_DX, OP_ATTN, OP_ATTN_DX, OP_ACT, OP_ACT_DX,
                                    OP_GEGLU, OP_GEGLU_DX, OP_UP2, OP_UP2_DX, OP_EMBED, OP_COPY, OP_LOSS, OP_SUMSQ, OP_UPDATE, OP_FILL };
    const LoraRules rules = { 2, 0, 1, 1, 1, 1 };
    const ModelSource model = { .path = JOB_MODEL };
    Mutant          mutant = { .kind = OP_COUNT };
    Pipeline        p;
    Lora            lora;
    (void)state;
    wrap_open(&mutant.wrap, set_open("ref"));
    mutant.wrap.set.run = run, mutant.wrap.set.name = "mutant";
    Set *shadow = shadow_open(&mutant.wrap.set, set_open("ref64"));
    assert_non_null(shadow);
    if (pipeline_open_on(&p, &model, shadow) || lora_attach(&lora, &p.model, &rules) || lora_init(&lora, 7)) fail_msg("%s", err_text());
    for (int i = 0; i < lora.params.params; i++) {      /* B too, so that there are gradients of A */
        const Param *a = &lora.params.param[i];
        size_t       count = (size_t)a->o * (size_t)a->k * (size_t)a->k * (size_t)a->i;
        double      *value = malloc(count * sizeof *value);
        assert_non_null(value);
        for (size_t k = 0; k < count; k++) value[k] = 0.1 * (double)((int)(k % 7) - 3);
        assert_int_equal(params_set(&lora.params, i, value), 0);
        free(value);
    }
    shadow_start(shadow);
    if (step(&p, &lora)) fail_msg("the mutant is sound, but: %s", err_text());
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char want[64];
        mutant.kind = kinds[i], mutant.ran = 0;
        assert_int_equal(step(&p, &lora), -1);
        assert_int_equal(mutant.ran, 1);
        snprintf(want, sizeof want, ", %s of ", op_name(kinds[i]));
        if (strncmp(err_text(), "call ", 5) || !strstr(err_text(), want) || !strstr(err_text(), ": y0 at (") || !strstr(err_text(), "mutant "))
            fail_msg("%s: \"%s\"", op_name(kinds[i]), err_text());
    }
    lora_detach(&lora);
    pipeline_close(&p);
    shadow_close(shadow);
}

/* ---- refusals ---- */

static void refusals(void **state)
{
    static const struct { const char *options, *text; } cases[] = {
        { "--set ref --shadow ref16", "shadow ref16: keeps f16 and f32, which cannot hold the f32 and f32 of set ref" },
        { "--set ref64 --shadow ref", "which cannot hold the f64 and f64" },
        { "--shadow none", "none: no such kernel set" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char        text[4096];
        TrainConfig config = job_train(text, cases[i].options);
        assert_int_equal(train_run(&config), -1);
        if (!strstr(err_text(), cases[i].text)) fail_msg("%s: \"%s\"", cases[i].options, err_text());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sound_sets_agree), cmocka_unit_test(a_wrong_operation_is_named), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
