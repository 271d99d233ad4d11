/* covers ref/diffusion/sample_config.c ref/io/utf8.c ref/text/prompt.c ref/text/edit.c ref/text/emphasis.c ref/text/chunks.c ref/text/tokenizer.c
 * A file of prompts, each described as in a picture and cut into chunks; its first line also as what follows --lora. */
#include "fuzz.h"
#include "diffusion/sample_config.h"
#include "io/utf8.h"
#include "text/chunks.h"
#include "text/prompt.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VECTORS = 3 };

/* mocha is learned by its ids, <s1> by its text, both as the three ids behind the vocabulary; what else is learned is forgotten, or has a meaning already. */
static Tokenizer open_tokenizer(void)
{
    Tokenizer tok;
    CHECK(tokenizer_open(&tok, "golden/bpe") == 0, "%s", err_text());
    CHECK(tokenizer_learn_ids(&tok, "cat 3", tok.vocab + VECTORS, 1) == 0 && tokenizer_learn(&tok, "the", tok.vocab + VECTORS, 1) == 0, "%s", err_text());
    tokenizer_forget(&tok, tok.vocab);
    CHECK(tokenizer_learn_ids(&tok, "mocha", tok.vocab, VECTORS) == 0 && tokenizer_learn_ids(&tok, "<s1>", tok.vocab, VECTORS) == 0, "%s", err_text());
    CHECK(tokenizer_learn(&tok, "Mocha", tok.vocab, 1) == 1 && tokenizer_learn(&tok, " ", tok.vocab, 1) < 0, "a word learned twice, or no word");
    return tok;
}

/* Whole chunks, of tokens that there are and weights that are kept in range; a word of several vectors stands whole in one of them. */
static void check_chunks(const char *text, Emphasis emphasis)
{
    static Tokenizer tok;
    Chunks           c = { 0 };
    if (!tok.tables) tok = open_tokenizer();
    int count = chunks_add(&c, &tok, text, emphasis);
    CHECK(count > 0, "refused, but not by prompt_check: %s", text);
    for (int i = 0; i < count; i++) {
        int32_t *ids = c.ids + i * c.length;
        double  *weight = c.weight + i * c.length;
        CHECK(ids[0] == tok.bos && weight[0] == 1 && weight[c.length - 1] == 1, "a chunk without its ends");
        for (int k = 0; k < c.length; k++) {
            CHECK(ids[k] >= 0 && ids[k] < tok.vocab + VECTORS && (ids[k] <= tok.vocab || ids[k - 1] == ids[k] - 1), "token %d is %d", k, ids[k]);
            CHECK(ids[k] < tok.vocab || ids[k] == tok.vocab + VECTORS - 1 || ids[k + 1] == ids[k] + 1, "token %d, %d, is alone", k, ids[k]);
            CHECK(fabs(weight[k]) <= MAX_EMPHASIS, "token %d counts %g times", ids[k], weight[k]);
            CHECK(weight[k] == 1 || emphasis <= EMPHASIS_NO_NORM, "weighted though not asked to");
        }
    }
    chunks_close(&c);
}

/* Each step has a text, and each text is had by a step or was counted. */
static void check_prompt(const char *text, int negative, Emphasis emphasis, int steps)
{
    Prompt prompt;
    if (prompt_check(text, negative, emphasis, steps)) {
        CHECK(emphasis != EMPHASIS_NONE, "all is text: %s", text);
        fuzz_refused("");
        return;
    }
    CHECK(prompt_read(&prompt, text, negative, emphasis, steps) == 0, "refused, but not by prompt_check: %s", text);
    CHECK(prompt.count == 1 || (prompt.count > 1 && !negative && emphasis != EMPHASIS_NONE), "%d parts", prompt.count);
    for (int i = 0; i < prompt.count; i++) {
        const Edit *edit = &prompt.part[i].edit;
        int         times = 0;
        for (int k = 0; k < steps; k++) CHECK(edit->at[k] >= 0 && edit->at[k] < edit->count, "step %d has text %d of %d", k, edit->at[k], edit->count);
        for (int k = 0; k < edit->count; k++) {
            CHECK(strlen(edit->text[k].text) <= strlen(text), "a text that is longer than its prompt");
            times += edit->text[k].times;
            if (k < 3) check_chunks(edit->text[k].text, emphasis);
        }
        CHECK(times >= edit->count && times <= steps && fabs(prompt.part[i].weight) <= MAX_EMPHASIS, "%d texts, %d times", edit->count, times);
    }
    prompt_free(&prompt);
}

static void check_line(const PromptLine *l)
{
    char text[MAX_PARAMETERS];
    CHECK(utf8_valid(l->prompt, strlen(l->prompt)) && utf8_valid(l->negative_prompt, strlen(l->negative_prompt)), "a prompt that is not UTF-8");
    CHECK(l->width >= 0 && l->width <= MAX_SIDE && l->height >= 0 && l->height <= MAX_SIDE && l->steps >= 1 && l->steps <= MAX_STEPS, "out of range");
    CHECK(l->seed >= 0 && l->cfg_scale >= 0 && l->cfg_scale <= MAX_CFG, "out of range");
    check_prompt(l->prompt, 0, l->emphasis, l->steps);
    check_prompt(l->negative_prompt, 1, l->emphasis, l->steps);
    check_prompt(l->prompt, 0, EMPHASIS_NONE, l->steps);
    for (int sampler = 0; sampler < 2; sampler++) {
        ModelSource model = { .path = sampler ? "a/model.safetensors" : "a/model/", .clip_skip = sampler ? 2 : 0 };
        CHECK(prompt_line_describe(text, sizeof text, l, (uint32_t)l->seed, (SamplerKind)sampler, 0, "", &model, "") == 0, "%s", err_text());
        CHECK(strlen(text) + 1 < sizeof text && strstr(text, "\nSteps: "), "cut short: %s", text);
    }
}

static void check_config(FuzzPart line)
{
    char        *text = fuzz_text(line), path[64];
    double       weight = NAN;
    SampleConfig config = { .prompt = text, .negative_prompt = text, .lora = { { text }, 1 }, .steps = 1 };
    if (lora_argument(path, sizeof path, &weight, text) == 0) CHECK(*path && isfinite(weight), "%s at %g", path, weight);
    else fuzz_refused("");
    if (sample_config_check(&config) == 0) {
        PromptLine said = prompt_line_of(&config);
        CHECK(!strcmp(said.prompt, text) && !strcmp(said.negative_prompt, text), "another prompt");
        if (sample_config_prompts(&config) < 0) fuzz_refused("");
    }
    config.from_file = text;
    CHECK(sample_config_check(&config) < 0, "two prompts at once");
    config.prompt = config.from_file = NULL;
    CHECK(sample_config_check(&config) < 0, "no prompt");
    free(text);
}

int fuzz_one(const uint8_t *data, size_t size)
{
    const PromptLine first = { .prompt = "before", .width = 64, .height = 64, .steps = 20, .seed = 5, .cfg_scale = 7, .emphasis = size % EMPHASIS_COUNT };
    PromptLines      lines = { 0 };
    FuzzPart         part[2];
    const char      *path = fuzz_file("prompts.txt", data, size);
    if (prompt_lines_read(&lines, path, &first, 2) < 0) fuzz_refused("");
    for (int i = 0; i < lines.count; i++) check_line(&lines.line[i]);
    prompt_lines_close(&lines);
    if (fuzz_parts(part, 2, data, size)) check_config(part[0]);
    return 0;
}
