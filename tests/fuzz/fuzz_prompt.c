/* covers ref/diffusion/sample_config.c
 * A file of prompts, each described as in a picture; its first line also as what follows --lora. */
#include "fuzz.h"
#include "diffusion/sample_config.h"
#include "io/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_line(const PromptLine *l)
{
    char text[MAX_PARAMETERS];
    CHECK(utf8_valid(l->prompt, strlen(l->prompt)) && utf8_valid(l->negative_prompt, strlen(l->negative_prompt)), "a prompt that is not UTF-8");
    CHECK(l->width >= 0 && l->width <= MAX_SIDE && l->height >= 0 && l->height <= MAX_SIDE && l->steps >= 1 && l->steps <= MAX_STEPS, "out of range");
    CHECK(l->seed >= 0 && l->cfg_scale >= 0 && l->cfg_scale <= MAX_CFG, "out of range");
    for (int sampler = 0; sampler < 2; sampler++) {
        ModelSource model = { .path = sampler ? "a/model.safetensors" : "a/model/", .clip_skip = sampler ? 2 : 0 };
        prompt_line_describe(text, sizeof text, l, (uint32_t)l->seed, (SamplerKind)sampler, 0, "", &model, "");
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
    }
    config.from_file = text;
    CHECK(sample_config_check(&config) < 0, "two prompts at once");
    config.prompt = config.from_file = NULL;
    CHECK(sample_config_check(&config) < 0, "no prompt");
    free(text);
}

int fuzz_one(const uint8_t *data, size_t size)
{
    const PromptLine first = { .prompt = "before", .width = 64, .height = 64, .steps = 20, .seed = 5, .cfg_scale = 7 };
    PromptLines      lines = { 0 };
    FuzzPart         part[2];
    const char      *path = fuzz_file("prompts.txt", data, size);
    if (prompt_lines_read(&lines, path, &first, 2) < 0) fuzz_refused("");
    for (int i = 0; i < lines.count; i++) check_line(&lines.line[i]);
    prompt_lines_close(&lines);
    if (fuzz_parts(part, 2, data, size)) check_config(part[0]);
    return 0;
}
