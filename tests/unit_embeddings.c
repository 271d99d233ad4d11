/* Textual inversion in prompts: ids and text states against the web UI's matching and torch (golden/embeddings.py), what is refused, what a picture says. */
#include "base/err.h"
#include "diffusion/embeddings.h"
#include "diffusion/words.h"
#include "tmp.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { LENGTH = 77, WIDTH = 12, COUNT = LENGTH * WIDTH };
#define DIR "golden/embeddings/dir"
static const char   model_path[] = "golden/parity/a/model", gal[] = "golden/embeddings/gal.pt";
static const double agree = 1e-10;                      /* of the largest value: two float64 computations of the same thing */

static void ok(int status)
{
    if (status) fail_msg("%s", err_text());
}

static void open_model(Pipeline *p)
{
    ok(pipeline_open(p, &(ModelSource){ .path = model_path }, "ref64"));
    assert_true(p->tokenizer.length == LENGTH && p->model.clip.config.width == WIDTH);
}

static void add_prompt(PromptLines *lines, const char *prompt, const char *negative)
{
    PromptLine l = { .steps = 1 };
    snprintf(l.prompt, sizeof l.prompt, "%s", prompt);
    snprintf(l.negative_prompt, sizeof l.negative_prompt, "%s", negative);
    ok(prompt_lines_add(lines, &l));
}

static void text_states(double *out, Pipeline *p, const int32_t *ids)
{
    tape_reset(&p->tape, TAPE_INFER);
    Var *text = pipeline_text(p, ids, 1);
    ok(tape_status(&p->tape));
    ok(p->set->download(p->set, tensor_of(out, T_F64, 1, 1, LENGTH, WIDTH), text->t));
}

static void check_prompt(Pipeline *p, const Safetensors *golden, int i, const char *prompt)
{
    int32_t ids[LENGTH], want_ids[LENGTH];
    double  got[COUNT], want[COUNT], largest = 0;
    ok(safetensors_read(golden, safetensors_find(golden, name("ids.%d", i).s), T_I32, want_ids));
    ok(safetensors_read(golden, safetensors_find(golden, name("hidden.%d", i).s), T_F64, want));
    assert_true(tokenizer_pad(&p->tokenizer, prompt, ids) >= 0);
    for (int k = 0; k < LENGTH; k++)
        if (ids[k] != want_ids[k]) fail_msg("\"%s\": token %d is %d, %d expected", prompt, k, ids[k], want_ids[k]);
    text_states(got, p, ids);
    for (int k = 0; k < COUNT; k++) largest = fmax(largest, fabs(want[k]));
    for (int k = 0; k < COUNT; k++)
        if (!(fabs(got[k] - want[k]) <= agree * largest)) fail_msg("\"%s\": element %d is %.17g, %.17g expected", prompt, k, got[k], want[k]);
}

/* The prompts by turns as negative ones: these have the same words. Files of other widths and damaged ones lie in the folder: nobody asks for them. */
static void test_golden(void **state)
{
    Pipeline     p;
    Embeddings   e = { 0 };
    PromptLines  lines = { 0 };
    Safetensors *golden = safetensors_open("golden/embeddings/want.safetensors");
    const char  *prompt;
    int          n = 0, learned = 0;
    (void)state;
    if (!golden) fail_msg("%s", err_text());
    for (; (prompt = safetensors_meta(golden, name("prompt.%d", n).s)); n++) add_prompt(&lines, n % 2 ? "" : prompt, n % 2 ? prompt : "");
    assert_int_equal(n, 15);
    open_model(&p);
    ok(embeddings_offer(&e, DIR));
    ok(embeddings_offer(&e, gal));
    ok(embeddings_learn(&e, &p, &lines));
    for (int i = 0; i < e.count; i++) learned += e.word[i].n;
    assert_int_equal(learned, 3 + 1 + 2 + 4 + 20 + 1);
    for (int i = 0; i < n; i++) check_prompt(&p, golden, i, safetensors_meta(golden, name("prompt.%d", i).s));
    embeddings_close(&e);
    prompt_lines_close(&lines);
    pipeline_close(&p);
    safetensors_close(golden);
}

/* What is learned of these paths for one prompt; the caller closes it. */
static int learn(Pipeline *p, Embeddings *e, const char *path, const char *prompt)
{
    PromptLines lines = { 0 };
    *e = (Embeddings){ 0 };
    open_model(p);
    add_prompt(&lines, "round", prompt);
    int status = embeddings_offer(e, path) || embeddings_learn(e, p, &lines) ? -1 : 0;
    prompt_lines_close(&lines);
    return status;
}

static void close_both(Pipeline *p, Embeddings *e)
{
    embeddings_close(e);
    pipeline_close(p);
}

static void test_refusals(void **state)
{
    static const struct { const char *path, *prompt, *text; } want[] = {
        { DIR, "a xl", DIR "/xl.safetensors: expected vectors of this model's text encoder, 12 wide, found clip_g, 1280, as for SDXL" },
        { DIR, "two", DIR "/two.safetensors: expected vectors of this model's text encoder, 12 wide, found 1024, as for Stable Diffusion 2.x" },
        { DIR, "nan", DIR "/nan.safetensors: emb_params: a number that is infinite or none" },
        { DIR, "whole", "emb_params: vectors (n,c) of floating-point numbers were expected" },
        { DIR, "pair", "an embedding was expected: string_to_param, emb_params, or a word as the only tensor; found 2 tensors, the first a" },
        { DIR, "cut", DIR "/cut.pt: " },
        { DIR, "red, (Embedding:three:1.1)", "Embedding:three:1.1: no file of that name is among the --embeddings" },
        { DIR "/cut.pt", "red", DIR "/cut.pt: " },
        { "golden/parity/a/lora.safetensors", "red", "an embedding was expected" },
        { "golden/none", "red", "golden/none: no such file or folder" },
        { "golden/bpe", "red", "golden/bpe: this folder was expected to hold embeddings" },
    };
    Pipeline   p;
    Embeddings e;
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        if (!learn(&p, &e, want[i].path, want[i].prompt)) fail_msg("%s, \"%s\": taken", want[i].path, want[i].prompt);
        if (!strstr(err_text(), want[i].text)) fail_msg("wanted \"%s\" in: %s", want[i].text, err_text());
        close_both(&p, &e);
    }
    ok(learn(&p, &e, DIR, "nank, embedding: cutter myembedding:three"));     /* words of none of these files */
    close_both(&p, &e);
}

/* A LoRA's own word is refused where a prompt has an embedding of that name, or it keeps the embedding's meaning; where no prompt has it, it is the LoRA's. */
static void test_beside_lora(void **state)
{
    static const char lora[] = "golden/words/kohya.safetensors";
    Pipeline   p;
    Embeddings e;
    char       said[64];
    size_t     size;
    char      *data = file_read(DIR "/Cat.pt", 1 << 20, &size);
    (void)state;
    assert_non_null(data);
    ok(dir_make(tmp_path("words")));
    ok(file_write(tmp_path("words/Mocha.pt"), data, size));
    free(data);
    ok(learn(&p, &e, tmp_path("words"), "the mocha"));
    assert_int_equal(words_learn(said, sizeof said, &p, lora, 0), -1);
    assert_non_null(strstr(err_text(), "mocha: this word has a meaning already"));
    ok(words_learn(said, sizeof said, &p, lora, 1));
    assert_string_equal(said, "");
    close_both(&p, &e);
    ok(learn(&p, &e, tmp_path("words"), "mochas"));
    ok(words_learn(said, sizeof said, &p, lora, 0));
    assert_string_equal(said, "mocha");
    close_both(&p, &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_refusals), cmocka_unit_test(test_beside_lora) };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
