/* convert, merge, resize and extract as a user calls them: what they write does what the files that they read do, and what is wrong is told in one line. */
#include "cli.h"
#include <stdio.h>
#include <string.h>

#define MODEL "golden/parity/a/model "
#define LORA  "golden/parity/a/lora.safetensors "
#define MOCHA "golden/words/kohya.safetensors "
#define S1_S2 "golden/words/cloneofsimo.safetensors "
#define DRAW  "sample " MODEL "--prompt x --seed 1 --steps 1 --set ref64 "

static void works(const char *words)
{
    const Said *said = sdlora(words);
    check(said->status == 0, "sdlora %s", words);
}

static void fails(const char *words, const char *text)
{
    const Said *said = sdlora(words);
    check(said->status > 0 && said->status < SIGNALLED && lines_of(said->err) == 1 && strstr(said->err, text), "sdlora %s: \"%s\"", words, text);
}

/* The picture with these words is that with the LoRA itself. */
static void draws_alike(const char *words, const char *folder)
{
    char line[512], picture[64];
    snprintf(line, sizeof line, "%s --output_dir @/%s", words, folder);
    snprintf(picture, sizeof picture, "%s/00000.png", folder);
    works(line);
    check(same_picture("tools/lora/00000.png", picture), "%s draws the same picture", folder);
}

void tools(void)
{
    works(DRAW "--lora " LORA "--output_dir @/tools/lora");
    works("convert " LORA "@/tools/peft");
    works("convert @/tools/peft @/tools/diffusers.safetensors --to diffusers");
    works("convert @/tools/diffusers.safetensors @/tools/kohya.safetensors");
    works("convert " LORA "@/tools/same.safetensors");
    check(same_tensors("tools/same.safetensors", "tools/kohya.safetensors"), "to PEFT, to diffusers and back: the same tensors");
    draws_alike(DRAW "--lora @/tools/peft", "tools/p");
    works("convert " LORA "@/tools/half.safetensors --save_precision fp16 --strip");
    check(has_type("tools/half.safetensors", "F16"), "fp16: all of it");

    works("merge --models " LORA LORA "--ratios 0.5 0.5 --save_to @/tools/sum.safetensors");
    draws_alike(DRAW "--lora @/tools/sum.safetensors", "tools/s");
    works("merge --models " LORA "--sd_model " MODEL "--save_to @/tools/model --save_precision float");
    draws_alike("sample @/tools/model --prompt x --seed 1 --steps 1 --set ref64", "tools/m");

    works("convert " MODEL "@/tools/single.safetensors");
    const Said *said = sdlora("convert @/tools/single.safetensors @/tools/folder");
    int         known = file_count("tools/folder/tokenizer") >= 0;          /* after `make clip-vocab` */
    check(said->status == 0 && lines_of(said->err) == !known && (known || strstr(said->err, "`make clip-vocab` fetches CLIP's")),
          "a model without a tokenizer is told of");

    said = sdlora("resize " LORA "--save_to @/tools/small.safetensors --new_rank 3 --dynamic_method sv_fro --dynamic_param 0.9");
    check(said->status == 0 && strstr(said->out, "norm left 0.9"), "resize says what is left");
    works("resize " LORA "--save_to @/tools/whole.safetensors --new_rank 8 --quiet");
    draws_alike(DRAW "--lora @/tools/whole.safetensors", "tools/w");
    said = sdlora("extract --model_org " MODEL "--model_tuned @/tools/model --save_to @/tools/extracted.safetensors --dim 3 --conv_dim 3 --min_diff 0");
    check(said->status == 0 && strstr(said->out, "error 0.0"), "extract says how far off it is");
    draws_alike(DRAW "--lora @/tools/extracted.safetensors", "tools/e");

    works("resize " MOCHA "--save_to @/tools/mocha.safetensors --new_rank 1 --quiet");
    works("merge --models @/tools/mocha.safetensors " S1_S2 "--save_to @/tools/words.safetensors");
    said = sdlora("info @/tools/words.safetensors");
    check(said->status == 0 && strstr(said->out, "  <s1>\n  <s2>\n  mocha\n"), "learned words are carried along");
    fails("merge --models " MOCHA "@/tools/mocha.safetensors --save_to @/tools/x.safetensors", "mocha: another of these files has learned this word");
    fails("merge --models " MOCHA "--sd_model " MODEL "--save_to @/tools/x", "mocha: a model has no place for a learned word");
    works("merge --models " MOCHA "--sd_model " MODEL "--save_to @/tools/model_of_words --allow_unmatched");

    fails("convert " LORA, "--save_to");
    fails("convert " LORA "@/tools/x --to ldm", "ldm is a layout of models");
    fails("convert " MODEL "@/tools/x --to kohya", "a model is written as diffusers or ldm");
    fails("convert golden/lora/loha.safetensors @/tools/x", "the layout of PEFT cannot hold");
    fails("convert " LORA "@/tools/x.safetensors --to cloneofsimo", "cannot hold");
    fails("convert " LORA "@/tools/x.ckpt", "x.ckpt: is not written");
    fails("merge --models " LORA "--sd_model " MODEL "--save_to @/tools/x.bin", "x.bin: is not written");
    fails("convert @/note.txt @/tools/x", "note.txt");
    fails("merge --models " LORA "--ratios 1 2 --save_to @/tools/x.safetensors", "--ratios: one for each of the 1 --models");
    fails("merge --models " LORA "--ratios half --save_to @/tools/x.safetensors", "a number was expected, not \"half\"");
    fails("merge --models golden/lora/dora.safetensors --save_to @/tools/x.safetensors", "DoRA depends on the model");
    fails("merge --models " LORA "--new_rank 2 --sd_model " MODEL "--save_to @/tools/x", "--new_rank: is of LoRAs");
    fails("merge --models " LORA "--sd_model golden/parity/b/model --save_to @/tools/x", "lora");
    fails("resize " LORA "--save_to @/tools/x.safetensors --dynamic_method sv_fro", "one goes with the other");
    fails("resize " LORA "--save_to @/tools/x.safetensors --dynamic_method sv_fro --dynamic_param 3", "a share of at most 1");
    fails("resize golden/lora/lokr.safetensors --save_to @/tools/x.safetensors", "this is LoKr");
    fails("extract --model_org " MODEL "--model_tuned @/nothing --save_to @/tools/x.safetensors", "nothing");
    check(file_count("tools/x") < 0, "what failed wrote nothing");
}
