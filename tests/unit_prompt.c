/* Prompts as the web UI reads them: weights and chunks, text states and what the U-Net makes of them (golden/prompts.py), what is refused. */
#include "base/err.h"
#include "diffusion/conditioning.h"
#include "diffusion/sample_config.h"
#include "diffusion/words.h"
#include "text/prompt.h"
#include "tmp.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { PROMPTS = 15, WITH_STATES = 6, PATHS = 5, PATH_STEPS = 5, LATENTS = 4 * 4 * 4 };
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

static void test_weights(void **state)
{
    static const char *const want[][2] = {
        { "all the same", "all the same" },
        { "a (red) hat", "a |red*1.1| hat" },
        { "(never closed", "never closed*1.1" },
        { "\\(text\\]", "(text]" },
        { "(one)(text)", "onetext*1.1" },
        { "(((roof:1.3)) [up] a (hill:0.5), ((moon)).", "roof*1.573| *1.1|up| a *1.1|hill*0.55|, *1.1|moon*1.331|.*1.1" },
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

/* What torch makes of prompts, and the model that it was made with. */
static Safetensors *open_golden(Pipeline *p)
{
    Safetensors *golden = safetensors_open("golden/prompts/want.safetensors");
    if (!golden) fail_msg("%s", err_text());
    open_model(p, "ref64");
    return golden;
}

static void test_golden(void **state)
{
    Pipeline     p;
    Safetensors *golden = open_golden(&p);
    const char  *prompt;
    int          i = 0;
    (void)state;
    for (; (prompt = safetensors_meta(golden, name("prompt.%d", i).s)); i++) {
        Emphasis     emphasis = emphasis_of(safetensors_meta(golden, name("emphasis.%d", i).s));
        Conditioning c = { 0 };
        assert_int_equal(conditioning_add(&c, &p.tokenizer, prompt, 1, emphasis, 1), 1);
        check_ids(golden, name("ids.%d", i).s, &c.chunks);
        if (i < WITH_STATES) {
            ok(conditioning_encode(&c, &p, emphasis));
            check_values(golden, name("states.%d", i).s, c.states.p, tensor_count(c.states));
            check_unet(&p, golden, name("unet.%d", i).s, conditioning_rows(&c, 0, 1, 0));
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
    for (int i = 0; i < 3; i++) assert_int_equal(conditioning_add(&c, &p.tokenizer, prompt[i], 0, EMPHASIS_ORIGINAL, 20), 1);
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
    for (int i = 0; i < 5; i++) assert_int_equal(conditioning_add(&c, &p.tokenizer, prompt[i], 0, EMPHASIS_ORIGINAL, 1), 1);
    ok(conditioning_encode(&c, &p, EMPHASIS_ORIGINAL));
    assert_true(c.most == 2 && conditioning_run(&c, 0) == 2 && conditioning_run(&c, 1) == 1 && conditioning_run(&c, 2) == 2 && conditioning_run(&c, 4) == 1);
    size_t size = 77 * (size_t)c.states.c;
    double *two = malloc(2 * size * sizeof *two);
    assert_non_null(two);
    Tensor rows = conditioning_rows(&c, 2, 2, 0);
    assert_true(rows.n == 2 && rows.w == 2 * 77 && rows.img == 2 * size);
    memcpy(two, rows.p, size * sizeof *two);                                                                /* the first chunk is "cat" alone */
    rows = conditioning_rows(&c, 4, 1, 0);
    memcpy(two + size, rows.p, size * sizeof *two);
    rows = conditioning_rows(&c, 0, 2, 0);
    assert_true(rows.n == 2 && rows.w == 77);
    assert_memory_equal(rows.p, two, 2 * size * sizeof *two);
    free(two);
    conditioning_close(&c);
    pipeline_close(&p);
}

/* ---- edits ---- */

/* "text|text|..." of the steps, < for one that is the text of the step before. */
static void check_edit(const char *prompt, int steps, const char *want)
{
    Edit edit;
    char got[512];
    int  at = 0;
    ok(edit_read(&edit, prompt, steps));
    for (int i = 0; i < steps; i++) {
        int same = i && edit.at[i] == edit.at[i - 1];
        at += snprintf(got + at, sizeof got - (size_t)at, "%s%s", i ? "|" : "", same ? "<" : edit.text[edit.at[i]].text);
    }
    edit_free(&edit);
    if (strcmp(got, want)) fail_msg("\"%s\" is \"%s\", \"%s\" expected", prompt, got, want);
}

static void test_edits(void **state)
{
    static const struct { const char *prompt, *want; int steps; } want[] = {
        { "cat", "cat|<|<", 3 },
        { "a [b:2] c", "a  c|<|<|a b c", 4 },
        { "a [b::2]c", "a bc|<|<|a c", 4 },
        { "[a:b:0.5]", "a|<|<|b", 4 },
        { "[a:b:0]", "b|<", 2 },
        { "[a:b:-1]", "b|<", 2 },
        { "[a:b:9]", "a|<", 2 },
        { "[a:b: 1.0 ]", "a|<", 2 },
        { "[a:[b:c:3]:1]", "a|<|b|<|c", 5 },
        { "[[a:b:1]:c:2]", "a|<|b|c", 4 },
        { "[(a:2):(b):1]", "(a:2)|<|(b)", 3 },
        { "[a|b]", "a|<|b|a|b", 5 },
        { "[a||(c|d:2)]", "a|<||(c|d:2)|a", 5 },
        { "[a|[b:c:2]]", "a|<|b|a|c", 5 },
        { "[a:b][c](d:1)[e", "[a:b][c](d:1)[e|<", 2 },
        { "[a:b:c:1][a|b:1]", "[a:b:c:1][a|b:1]|<", 2 },
        { "\\[a:b:1\\] [a\\:b:1]", "\\[a:b:1\\] |<|\\[a:b:1\\] a\\:b", 3 },
        { "([a)b:1]", "([a)b:1]|<", 2 },
        { "[([a:b:1)]", "[([a:b:1)]|<", 2 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) check_edit(want[i].prompt, want[i].steps, want[i].want);
}

/* Pictures of prompts that change and of several prompts: x after each step of Euler, from the noise of the same seeds. */
static void test_paths(void **state)
{
    Pipeline     p;
    Safetensors *golden = open_golden(&p);
    const char  *prompt;
    int          i = 0;
    (void)state;
    for (; (prompt = safetensors_meta(golden, name("path.%d", i).s)); i++) {
        double         cfg = strtod(safetensors_meta(golden, name("cfg.%d", i).s), NULL), x[LATENTS];
        SampleSettings s = { .sampler = SAMPLER_EULER, .sigmas = SIGMAS_UNIFORM, .w = 8, .h = 8, .steps = PATH_STEPS, .cfg = cfg };
        SamplePicture  picture = { prompt, safetensors_meta(golden, name("negative.%d", i).s), (uint32_t)i };
        Image          image;
        Dump           d;
        const char    *path = tmp_path("dump.safetensors");
        dump_open(&d, p.set);
        p.dump = &d;
        int done = 0;
        ok(pipeline_sample(&p, &s, &picture, 1, &image, NULL, &done));
        p.dump = NULL;
        image_free(&image);
        ok(dump_write(&d, path));
        Safetensors *got = safetensors_open(path);
        assert_non_null(got);
        for (int k = 0; k < PATH_STEPS; k++) {
            ok(safetensors_read(got, safetensors_find(got, name("sample.%d", k).s), T_F64, x));
            check_values(golden, name("path.%d.%d", i, k).s, x, LATENTS);
        }
        safetensors_close(got);
    }
    assert_int_equal(i, PATHS);
    safetensors_close(golden);
    pipeline_close(&p);
}

/* Pictures with prompts of unlike length and number, together and alone: the same. */
static void test_together(void **state)
{
    static const SamplePicture picture[] = { { "cat", "", 1 }, { "cat AND dog", "red BREAK dog", 2 }, { "[cat:dog BREAK red:1]", "", 3 }, { "dog", "", 4 } };
    enum { N = 4 };
    Pipeline p;
    Image    all[N], one;
    (void)state;
    open_model(&p, "ref64");
    for (int cfg = 1; cfg < 4; cfg += 2) {
        SampleSettings s = { .sampler = SAMPLER_EULER, .sigmas = SIGMAS_UNIFORM, .w = 8, .h = 8, .steps = 3, .cfg = cfg };
        ok(pipeline_sample(&p, &s, picture, N, all, NULL, NULL));
        for (int i = 0; i < N; i++) {
            ok(pipeline_sample(&p, &s, &picture[i], 1, &one, NULL, NULL));
            for (int k = 0; k < 3 * 8 * 8; k++) assert_in_range(all[i].rgb[k] - one.rgb[k] + 1, 0, 2);
            image_free(&one);
            image_free(&all[i]);
        }
    }
    pipeline_close(&p);
}

/* ---- refusals ---- */

static void test_refusals(void **state)
{
    static const struct { const char *prompt, *piece, *advice; int negative; } want[] = {
        { "[x:1.3]", "[x:1.3]", "(word:1.3) is a weight", 0 },
        { "a [b [x:y:-0.1]:2]", "[x:y:-0.1]", "from 0.0 to 1.0", 1 },
        { "cat <lora:x/y:0.7>", "<lora:x/y:0.7>", "--lora FILE:WEIGHT", 1 },
        { "cat <lyco:x>", "<lyco:x>", "--lora FILE:WEIGHT", 0 },
        { "<hypernet:x:1>", "<hypernet:x:1>", "not known", 0 },
        { "cat\nNegative prompt: dog", "Negative prompt: dog", "--negative_prompt", 0 },
        { "Steps: 20, Sampler: Euler", "Steps: 20, Sampler", "--steps", 0 },
        { "(a:1.2.3)", "1.2.3", "number", 0 },
        { "[cat:(a:1.2.3):5]", "1.2.3", "number", 1 },
        { "((a:20):20)", "\"a\" weighs 400", "-100 to 100", 0 },
        { "cat AND dog : 1000", "dog : 1000", "-100 to 100", 0 },
        { "(123456789 123456789 123456789 123456789 123456789 123456789\xc3\xa9:999)", "456789\" weighs 999", "-100 to 100", 0 },
    };
    static const char *const good[] = { "", "SAND ANDY and \xc3\xa9\101ND", "[a:b]", "(a|b) | c", "\\[a:b:2.5\\]", "[a:b:0.5", "[a (b:1.2)]", "a < b: c > d",
                                        "<s1>", "<:x>", "Steps: many", "[(a|b)]", "[a\\|b]", "a :) b :(", "at 16:9", "cat AND dog:1.2.3" };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(prompt_check(want[i].prompt, want[i].negative, EMPHASIS_ORIGINAL, 20), -1);
        if (!strstr(err_text(), want[i].piece) || !strstr(err_text(), want[i].advice)) fail_msg("\"%s\": %s", want[i].prompt, err_text());
        ok(prompt_check(want[i].prompt, 0, EMPHASIS_NONE, 20));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) ok(prompt_check(good[i], 0, EMPHASIS_ORIGINAL, 20));
}

static void check_prompt_parts(const char *text, int negative, Emphasis emphasis, const char *want)
{
    Prompt prompt;
    char   got[256] = "";
    ok(prompt_read(&prompt, text, negative, emphasis, 4));
    for (int i = 0, at = 0; i < prompt.count; i++)
        at += snprintf(got + at, sizeof got - (size_t)at, "{%s*%g}", prompt.part[i].edit.text[0].text, prompt.part[i].weight);
    prompt_free(&prompt);
    if (strcmp(got, want)) fail_msg("\"%s\" is \"%s\", \"%s\" expected", text, got, want);
}

static void test_parts(void **state)
{
    (void)state;
    check_prompt_parts("cat AND dog:0.5", 0, EMPHASIS_ORIGINAL, "{cat *1}{ dog*0.5}");
    check_prompt_parts("cat : -1 AND (dog:0.5)", 0, EMPHASIS_ORIGINAL, "{cat *-1}{ (dog:0.5)*1}");
    check_prompt_parts("ANDAND,AND:2AND", 0, EMPHASIS_ORIGINAL, "{ANDAND,*1}{:2AND*1}");
    check_prompt_parts("cat at 16:9", 0, EMPHASIS_ORIGINAL, "{cat at 16:9*1}");
    check_prompt_parts("bad AND worse:2", 1, EMPHASIS_ORIGINAL, "{bad AND worse:2*1}");
    check_prompt_parts("cat AND [dog:1]", 0, EMPHASIS_NONE, "{cat AND [dog:1]*1}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),  cmocka_unit_test(test_golden),   cmocka_unit_test(test_plain), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_edits),    cmocka_unit_test(test_parts),    cmocka_unit_test(test_paths), cmocka_unit_test(test_together),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
