/* Words that LoRA files bring with them: ids and text states as transformers has them (golden/words.py), and what is refused. */
#include "base/err.h"
#include "diffusion/words.h"
#include "lora/lora.h"
#include "tmp.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { LENGTH = 77, WIDTH = 12, COUNT = LENGTH * WIDTH };
static const char   model_path[] = "golden/parity/a/model", s1_s2[] = "golden/words/cloneofsimo.safetensors", mocha[] = "golden/words/kohya.safetensors";
static const double agree = 1e-10;                      /* of the largest value: two float64 computations of the same thing */

static void ok(int status)
{
    if (status) fail_msg("%s", err_text());
}

static void open_model(Pipeline *p, const char *set)
{
    ok(pipeline_open(p, &(ModelSource){ .path = model_path }, set));
    assert_true(p->tokenizer.length == LENGTH && p->model.clip.config.width == WIDTH);
}

/* What the file says is learned, its LoRA and its words. */
static void load(Pipeline *p, const char *path, const char *words)
{
    char said[64];
    ok(lora_merge(&p->model, path, 1, 0));
    ok(words_learn(said, sizeof said, p, path, 0));
    assert_string_equal(said, words);
}

static void text_states(double *out, Pipeline *p, const int32_t *ids)
{
    tape_reset(&p->tape, TAPE_INFER);
    Var *text = pipeline_text(p, ids, 1);
    ok(tape_status(&p->tape));
    ok(p->set->download(p->set, tensor_of(out, T_F64, 1, 1, LENGTH, WIDTH), text->t));
}

static void test_golden(void **state)
{
    Pipeline     p;
    Safetensors *golden = safetensors_open("golden/words/want.safetensors");
    const char  *prompt;
    int          i = 0, learned = 0;
    (void)state;
    if (!golden) fail_msg("%s", err_text());
    open_model(&p, "ref64");
    load(&p, s1_s2, "<s1>, <s2>");
    load(&p, mocha, "mocha");
    for (; (prompt = safetensors_meta(golden, name("prompt.%d", i).s)); i++) {
        int32_t ids[LENGTH], want_ids[LENGTH];
        double  got[COUNT], want[COUNT], largest = 0;
        ok(safetensors_read(golden, safetensors_find(golden, name("ids.%d", i).s), T_I32, want_ids));
        ok(safetensors_read(golden, safetensors_find(golden, name("hidden.%d", i).s), T_F64, want));
        assert_true(tokenizer_pad(&p.tokenizer, prompt, ids) >= 0);
        for (int k = 0; k < LENGTH; k++) {
            if (ids[k] != want_ids[k]) fail_msg("\"%s\": token %d is %d, %d expected", prompt, k, ids[k], want_ids[k]);
            learned += ids[k] >= p.model.clip.config.vocab;
        }
        text_states(got, &p, ids);
        for (int k = 0; k < COUNT; k++) largest = fmax(largest, fabs(want[k]));
        for (int k = 0; k < COUNT; k++)
            if (!(fabs(got[k] - want[k]) <= agree * largest)) fail_msg("\"%s\": element %d is %.17g, %.17g expected", prompt, k, got[k], want[k]);
    }
    assert_true(i == 9 && learned > 40);
    safetensors_close(golden);
    pipeline_close(&p);
}

/* The same on a set whose table is as narrow as the file's: the vectors are not. */
static void test_precision(void **state)
{
    Pipeline p, exact;
    int32_t  ids[LENGTH];
    double   got[COUNT], want[COUNT], largest = 0;
    (void)state;
    open_model(&p, "cpu");
    open_model(&exact, "ref64");
    load(&p, mocha, "mocha");
    load(&exact, mocha, "mocha");
    assert_true(p.model.clip.token.type == T_F16 && p.model.clip.learned.type == T_F32 && p.model.clip.learned.n == 3);
    assert_int_equal(tokenizer_pad(&p.tokenizer, "the mocha cat", ids), 0);
    text_states(got, &p, ids);
    text_states(want, &exact, ids);
    for (int k = 0; k < COUNT; k++) largest = fmax(largest, fabs(want[k]));
    for (int k = 0; k < COUNT; k++)
        if (!(fabs(got[k] - want[k]) <= 64 * FLT_EPSILON * largest)) fail_msg("element %d is %.9g, %.9g expected", k, got[k], want[k]);
    pipeline_close(&exact);
    pipeline_close(&p);
}

/* ---- where a word is a word ---- */

/* How often the word 900, 901 is in the text. */
static int times(const Tokenizer *tok, const char *text)
{
    int32_t ids[64];
    int     n = tokenizer_encode(tok, text, ids, 64), found = 0;
    assert_true(n <= 64);
    for (int i = 0; i + 1 < n; i++) found += ids[i] == 900 && ids[i + 1] == 901;
    return found;
}

static void test_places(void **state)
{
    static const struct { const char *word, *text; int times; } want[] = {
        { "cat", "cat", 1 }, { "cat", "a CAT, the cat.", 2 }, { "cat", "cats", 0 }, { "cat", "concat cat", 1 }, { "cat", "cat2", 0 }, { "cat", "2cat", 0 },
        { "cat", "catcat", 0 }, { "cat", "(cat)-cat_cat", 3 }, { "cat", "\xc3\xa9" "cat", 0 }, { "cat", "cat\xc3\xa9 cat", 1 },
        { "cat", "cat<|endoftext|>cat", 2 }, { "cat", "the cat's dog", 1 }, { "cat", "\xf0\x9f\x98\x80" "cat\xf0\x9f\x98\x80", 1 },
        { "<s1>", "a<s1><s1>b", 2 }, { "<s1>", "<S1>", 1 }, { "<s1>", "< s1>", 0 }, { "bad-hands-5", "bad-hands-5, bad-hands-50", 1 },
        { "My Cat", "my  cat", 1 }, { " cat ", "cats cat", 1 }, { "\xc3\x85ngstr\xc3\xb6m", "a\xcc\x8angstro\xcc\x88m", 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        Tokenizer tok;
        ok(tokenizer_open(&tok, "golden/bpe"));
        assert_int_equal(tokenizer_learn(&tok, want[i].word, 900, 2), 0);
        if (times(&tok, want[i].text) != want[i].times) fail_msg("\"%s\" is %d times in \"%s\"", want[i].word, times(&tok, want[i].text), want[i].text);
        tokenizer_close(&tok);
    }
}

static void test_longest(void **state)
{
    Tokenizer tok;
    int32_t   ids[3];
    (void)state;
    ok(tokenizer_open(&tok, "golden/bpe"));
    assert_int_equal(tokenizer_learn(&tok, "red cat", 700, 1), 0);
    assert_int_equal(tokenizer_learn(&tok, "red", 800, 1), 0);
    assert_int_equal(tokenizer_learn(&tok, "red cats", 600, 1), 0);
    assert_int_equal(tokenizer_learn(&tok, "RED", 900, 1), 1);
    assert_int_equal(tokenizer_learn(&tok, "<|EndOfText|>", 900, 1), 1);
    assert_int_equal(tokenizer_learn(&tok, " ", 900, 1), -1);
    assert_int_equal(tokenizer_encode(&tok, "red red cats red cat", ids, 3), 3);
    assert_true(ids[0] == 800 && ids[1] == 600 && ids[2] == 700);
    tokenizer_close(&tok);
}

/* ---- refusals ---- */

static void expect_refused(Pipeline *p, const char *path, const char *word, const char *text)
{
    char said[64];
    assert_int_equal(words_learn(said, sizeof said, p, path, 0), -1);
    if (!strstr(err_text(), path) || !strstr(err_text(), word) || !strstr(err_text(), text)) fail_msg("wanted \"%s\" in: %s", text, err_text());
}

static void test_refusals(void **state)
{
    static const struct { int rows, columns; const char *text; } want[] = { { 1, 11, "text encoder's width, 12, found 11" }, { 12, 1, "found 1" },
                                                                            { 76, 12, "expected 1..75 vectors" }, { 0, 12, "expected 1..75 vectors" } };
    static const char  thing[] = "bundle_emb.thing.string_to_param.*";
    static const float numbers[76 * 12];
    const char        *path = tmp_path("words.safetensors");
    Pipeline           p;
    int32_t            ids[LENGTH];
    double             before[COUNT], after[COUNT];
    char               said[64];
    (void)state;
    open_model(&p, "ref64");
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        SafetensorsEntry e = { .name = thing, .type = T_F32, .rank = 2, .shape = { want[i].rows, want[i].columns }, .data = numbers };
        ok(safetensors_write(path, &e, 1, NULL, 0));
        expect_refused(&p, path, "thing", want[i].text);
    }
    load(&p, mocha, "mocha");
    assert_int_equal(tokenizer_pad(&p.tokenizer, "mocha", ids), 0);
    text_states(before, &p, ids);
    expect_refused(&p, mocha, "mocha", "has a meaning already");
    ok(words_learn(said, sizeof said, &p, mocha, 1));                       /* --allow_unmatched: the first meaning stays */
    assert_string_equal(said, "");
    assert_int_equal(tokenizer_pad(&p.tokenizer, "mocha", ids), 0);
    text_states(after, &p, ids);
    assert_memory_equal(before, after, sizeof before);
    pipeline_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),  cmocka_unit_test(test_precision), cmocka_unit_test(test_places),
        cmocka_unit_test(test_longest), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
