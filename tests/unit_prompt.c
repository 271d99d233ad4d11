/* Prompts as the web UI reads them: weights and chunks, text states and what the U-Net makes of them (golden/prompts.py), what is refused. */
#include "base/err.h"
#include "diffusion/conditioning.h"
#include "diffusion/sample_config.h"
#include "diffusion/words.h"
#include "text/prompt.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { PROMPTS = 14, WITH_STATES = 6, LATENTS = 4 * 4 * 4 };
static const char   model_path[] = "golden/parity/a/model", mocha[] = "golden/words/kohya.safetensors";
static const double agree = 1e-10;                      /* of the largest value: two float64 computations of the same thing */

static void ok(int status)
{
    if (status) fail_msg("%s", err_text());
}

/* ---- weights ---- */

/* "text*weight|..." of the parts, with / for each BREAK before one. */
static void check_parts(const char *prompt, Emphasis emphasis, const char *want)
{
    EmphasisParts parts;
    char          got[512];
    int           at = 0;
    ok(emphasis_read(&parts, prompt, emphasis));
    for (int i = 0; i < parts.count; i++) {
        at += snprintf(got + at, sizeof got - (size_t)at, "%s", i ? "|" : "");
        for (int k = 0; k < parts.part[i].breaks; k++) at += snprintf(got + at, sizeof got - (size_t)at, "/");
        at += snprintf(got + at, sizeof got - (size_t)at, "%s", parts.part[i].text);
        if (parts.part[i].weight != 1) at += snprintf(got + at, sizeof got - (size_t)at, "*%.4g", parts.part[i].weight);
    }
    emphasis_free(&parts);
    if (strcmp(got, want)) fail_msg("\"%s\" is \"%s\", \"%s\" expected", prompt, got, want);
}

/* The first ten are the examples that the web UI's own parser documents. */
static void test_weights(void **state)
{
    static const char *const want[][2] = {
        { "normal text", "normal text" },
        { "an (important) word", "an |important*1.1| word" },
        { "(unbalanced", "unbalanced*1.1" },
        { "\\(literal\\]", "(literal]" },
        { "(unnecessary)(parens)", "unnecessaryparens*1.1" },
        { "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", "a |house*1.573| *1.1|on| a *1.1|hill*0.55|, sun, *1.1|sky*1.464|.*1.1" },
        { "", "" },
        { "()", "" },
        { "a)b]c", "a)b]c" },
        { "(a:b)", "a:b*1.1" },
        { "(a :1.5 )b", "a *1.5|b" },
        { "a:1.5)", "a:1.5)" },
        { "[a:1.5", "a:1.5*0.9091" },
        { "[a:1.5)b", "a:1.5)b*0.9091" },
        { "(a:-.5)(b:+2)(c:0)", "a*-0.5|b*2|c*0" },
        { "(a:1e3)", "a:1e3*1.1" },
        { "(a:1.0)b", "ab" },
        { "a\\b \\\\ c\\", "ab \\ c" },
        { "(a\\)b)", "a)b*1.1" },
        { "([a)b]", "a|b*0.9091" },
        { "a BREAK b", "a |/ b" },
        { "BREAK", "|/" },
        { "aBREAK BREAKb BREAK_ _BREAK 1BREAK \xc3\xa9" "BREAK", "aBREAK BREAKb BREAK_ _BREAK 1BREAK \xc3\xa9" "BREAK" },
        { "a,BREAK,b", "a,|/,b" },
        { "(a:1.2)BREAK(b:1.2)BREAK BREAK", "a*1.2||/|b*1.2||/ |/" },
        { "(a BREAK b:1.2)", "a *1.2|/ b*1.2" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) check_parts(want[i][0], EMPHASIS_ORIGINAL, want[i][1]);
    check_parts("a (b:2) BREAK c", EMPHASIS_IGNORE, "a |b| |/ c");
    check_parts("a (b:2) BREAK \\c", EMPHASIS_NONE, "a (b:2) BREAK \\c");
}

/* ---- states ---- */

static Emphasis emphasis_of(const char *text)
{
    static const char *const name[EMPHASIS_COUNT] = { "original", "no_norm", "ignore", "none" };
    int k = 0;
    while (k < EMPHASIS_COUNT && strcmp(name[k], text)) k++;
    assert_true(k < EMPHASIS_COUNT);
    return (Emphasis)k;
}

static void open_model(Pipeline *p, const char *set)
{
    char said[64];
    ok(pipeline_open(p, &(ModelSource){ .path = model_path }, set));
    ok(words_learn(said, sizeof said, p, mocha, 0));
}

/* got is as near to the golden tensor of that name as two computations in float64 are. */
static void check_values(const Safetensors *golden, const char *key, const double *got, size_t count)
{
    const SafetensorsEntry *e = safetensors_find(golden, key);
    double                 *want = malloc(count * sizeof *want), largest = 0;
    assert_true(want && e && e->count == count);
    ok(safetensors_read(golden, e, T_F64, want));
    for (size_t k = 0; k < count; k++) largest = fmax(largest, fabs(want[k]));
    for (size_t k = 0; k < count; k++)
        if (!(fabs(got[k] - want[k]) <= agree * largest)) fail_msg("%s: element %zu is %.17g, %.17g expected", key, k, got[k], want[k]);
    free(want);
}

static void check_ids(const Safetensors *golden, const char *key, const Chunks *c)
{
    const SafetensorsEntry *e = safetensors_find(golden, key);
    int32_t                *want = malloc(e->count * sizeof *want);
    assert_non_null(want);
    ok(safetensors_read(golden, e, T_I32, want));
    if (e->shape[0] != c->count || e->shape[1] != c->length) fail_msg("%s: %d chunks, %lld expected", key, c->count, (long long)e->shape[0]);
    for (int k = 0; k < c->count * c->length; k++)
        if (c->ids[k] != want[k]) fail_msg("%s: token %d is %d, %d expected", key, k, c->ids[k], want[k]);
    free(want);
}

/* The U-Net at t = 500, told these states. */
static void check_unet(Pipeline *p, const Safetensors *golden, const char *key, Tensor states)
{
    const UnetConfig *u = &p->model.unet.config;
    double            in[LATENTS], x[LATENTS], y[LATENTS], sines[64];
    ok(safetensors_read(golden, safetensors_find(golden, "in.latents"), T_F64, in));
    for (int c = 0; c < 4; c++)
        for (int at = 0; at < 16; at++) x[4 * at + c] = in[16 * c + at];
    unet_time(u, 500, sines);
    tape_reset(&p->tape, TAPE_INFER);
    Var *v = tape_constant(&p->tape, T_F64, tensor_of(x, T_F64, 1, 4, 4, 4));
    Var *time = tape_constant(&p->tape, T_F64, tensor_of(sines, T_F64, 1, 1, 1, u->channels[0]));
    v = unet_forward(&p->tape, &p->model.unet, v, time, tape_constant(&p->tape, T_F64, states));
    ok(tape_status(&p->tape) || p->set->download(p->set, tensor_of(y, T_F64, 1, 4, 4, 4), v->t));
    for (int c = 0; c < 4; c++)
        for (int at = 0; at < 16; at++) x[16 * c + at] = y[4 * at + c];
    check_values(golden, key, x, LATENTS);
}

static void test_golden(void **state)
{
    Pipeline     p;
    Safetensors *golden = safetensors_open("golden/prompts/want.safetensors");
    const char  *prompt;
    int          i = 0;
    (void)state;
    if (!golden) fail_msg("%s", err_text());
    open_model(&p, "ref64");
    for (; (prompt = safetensors_meta(golden, name("prompt.%d", i).s)); i++) {
        Emphasis     emphasis = emphasis_of(safetensors_meta(golden, name("emphasis.%d", i).s));
        Conditioning c = { 0 };
        ok(conditioning_read(&c, &p, &prompt, 1, emphasis));
        check_ids(golden, name("ids.%d", i).s, &c.chunks);
        if (i < WITH_STATES) {
            ok(conditioning_encode(&c, &p, emphasis));
            check_values(golden, name("states.%d", i).s, c.states.p, tensor_count(c.states));
            check_unet(&p, golden, name("unet.%d", i).s, conditioning_rows(&c, 0, 1));
        }
        conditioning_close(&c);
    }
    assert_int_equal(i, PROMPTS);
    safetensors_close(golden);
    pipeline_close(&p);
}

/* A short prompt without marks is what it was before there were marks: the ids of tokenizer_pad, the states of one call, bit for bit. */
static void test_plain(void **state)
{
    const char  *prompt[] = { "", "a cat, a dog: {red} thing. BREAKS <s1> 1.5", "dog cat" };
    Pipeline     p;
    Conditioning c = { 0 };
    (void)state;
    open_model(&p, "cpu");
    int      length = p.tokenizer.length, count = 3 * length * p.model.clip.config.width;
    int32_t *ids = malloc((size_t)(3 * length) * sizeof *ids);
    float   *want = malloc((size_t)count * sizeof *want);
    assert_true(ids && want);
    for (int i = 0; i < 3; i++) assert_int_equal(tokenizer_pad(&p.tokenizer, prompt[i], ids + i * length), 0);
    ok(conditioning_read(&c, &p, prompt, 3, EMPHASIS_ORIGINAL));
    assert_true(c.chunks.count == 3 && c.most == 1 && conditioning_run(&c, 0) == 3);
    assert_memory_equal(c.chunks.ids, ids, (size_t)(3 * length) * sizeof *ids);
    tape_reset(&p.tape, TAPE_INFER);
    Var *text = pipeline_text(&p, ids, 3);
    ok(tape_status(&p.tape) || p.set->download(p.set, tensor_of(want, T_F32, 3, 1, length, p.model.clip.config.width), text->t));
    ok(conditioning_encode(&c, &p, EMPHASIS_ORIGINAL));
    assert_true(c.states.type == T_F32);
    assert_memory_equal(c.states.p, want, (size_t)count * sizeof *want);
    conditioning_close(&c);
    free(ids);
    free(want);
    pipeline_close(&p);
}

/* Rows of unlike length: those that can go together, and where their states lie. */
static void test_rows(void **state)
{
    const char  *prompt[] = { "cat", "dog", "cat BREAK dog", "cat BREAK cat", "dog" };
    Pipeline     p;
    Conditioning c = { 0 };
    (void)state;
    open_model(&p, "ref64");
    ok(conditioning_read(&c, &p, prompt, 5, EMPHASIS_ORIGINAL));
    ok(conditioning_encode(&c, &p, EMPHASIS_ORIGINAL));
    assert_true(c.most == 2 && conditioning_run(&c, 0) == 2 && conditioning_run(&c, 1) == 1 && conditioning_run(&c, 2) == 2 && conditioning_run(&c, 4) == 1);
    Tensor two = conditioning_rows(&c, 2, 2), one = conditioning_rows(&c, 0, 2);
    assert_true(two.n == 2 && two.w == 2 * 77 && two.img == (size_t)two.w * (size_t)two.c && one.n == 2 && one.w == 77);
    assert_memory_equal(two.p, one.p, 77 * (size_t)one.c * sizeof(double));                                 /* the first chunk is "cat" alone */
    assert_memory_equal(tensor_images(conditioning_rows(&c, 4, 1), 0, 1).p, tensor_images(one, 1, 1).p, 77 * (size_t)one.c * sizeof(double));
    conditioning_close(&c);
    pipeline_close(&p);
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    static const struct { const char *prompt, *piece, *advice; int negative; } want[] = {
        { "a cat AND a dog:0.5", "AND", "\"and\"", 0 },
        { "red [cat:dog:0.5], blue", "[cat:dog:0.5]", "\\[", 1 },
        { "[cat::12]", "[cat::12]", "step", 0 },
        { "[x:1.3]", "[x:1.3]", "step", 0 },
        { "([(a):b: 3 ])", "[(a):b: 3 ]", "step", 0 },
        { "[a|b (c:2)|]", "[a|b (c:2)|]", "step", 0 },
        { "cat <lora:x/y:0.7>", "<lora:x/y:0.7>", "--lora FILE:WEIGHT", 1 },
        { "cat <lyco:x>", "<lyco:x>", "--lora FILE:WEIGHT", 0 },
        { "<hypernet:x:1>", "<hypernet:x:1>", "not known", 0 },
        { "cat\nNegative prompt: dog", "Negative prompt: dog", "--negative_prompt", 0 },
        { "Steps: 20, Sampler: Euler", "Steps: 20, Sampler", "--steps", 0 },
        { "(a:1.2.3)", "1.2.3", "number", 0 },
        { "((a:20):20)", "\"a\" weighs 400", "-100 to 100", 0 },
    };
    static const char *const good[] = { "", "SAND ANDY and \xc3\xa9" "AND", "[a:b]", "(a|b) | c", "\\[a:b:0.5\\]", "[a:b:0.5", "[a (b:1.2)]", "a < b: c > d",
                                        "<s1>", "<:x>", "Steps: many", "[(a|b)]", "[a\\|b]", "a :) b :(" };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(prompt_check(want[i].prompt, want[i].negative, EMPHASIS_ORIGINAL), -1);
        if (!strstr(err_text(), want[i].piece) || !strstr(err_text(), want[i].advice)) fail_msg("\"%s\": %s", want[i].prompt, err_text());
        ok(prompt_check(want[i].prompt, 0, EMPHASIS_NONE));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) ok(prompt_check(good[i], 0, EMPHASIS_ORIGINAL));
    ok(prompt_check("CATS AND DOGS", 1, EMPHASIS_ORIGINAL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights), cmocka_unit_test(test_golden),    cmocka_unit_test(test_plain),
        cmocka_unit_test(test_rows),    cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
