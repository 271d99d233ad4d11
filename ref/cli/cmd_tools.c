/* convert, merge, resize, extract: from their options to lora/tools.h and model/model_files.h. */
#include "base/err.h"
#include "cli/cmd.h"
#include "io/file.h"
#include "lora/tools.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int is_single(const char *path) { return strcmp(path_extension(path), ".safetensors") == 0; }

/* Whoever asks for model.ckpt does not want a folder of that name. */
static int check_target(const char *path)
{
    static const char *const endings[] = { ".ckpt", ".pt", ".pth", ".bin" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcmp(path_extension(path), endings[i]) == 0) return err("%s: is not written: a .safetensors file or a folder was expected", path);
    return 0;
}

static FILE *report(bool quiet) { return quiet ? NULL : stdout; }

/* A folder is no whole model without a tokenizer, and a single file has none to give it. */
static void tell_tokenizer(const char *folder, const char *from)
{
    char vocab[PATH_SIZE];
    if (path_join(vocab, folder, "tokenizer/vocab.json") || is_file(vocab)) return;
    fprintf(stderr, "tokenizer    none with %s, so none in %s: `make clip-vocab` fetches CLIP's, and the next time it is written too\n", from, folder);
}

/* ---- convert ---- */

/* Is it a model? A LoRA has modules, or names of another LoRA; all else is the model reader's to judge. */
static int is_model(const char *path)
{
    char     inner[PATH_SIZE];
    LoraFile f;
    if (is_dir(path)) return path_join(inner, path, "model_index.json") == 0 && is_file(inner);
    if (lora_file_open(&f, path)) return strcmp(path_extension(path), ".ckpt") == 0;
    int model = f.modules == 0;
    for (int i = 0; f.files && i < f.tensors[0]->count && model; i++) model = lora_foreign(f.tensors[0]->entry[i].name) == NULL;
    lora_file_close(&f);
    return model;
}

static int convert_model(const ConvertConfig *c)
{
    ModelSource source = { .path = c->from, .ema = c->ema, .v2 = c->v2, .v_parameterization = c->v_parameterization };
    if (c->to != TO_AUTO && c->to != TO_DIFFUSERS && c->to != TO_LDM) return err("--to: a model is written as diffusers or ldm; %s is a model", c->from);
    if (c->strip) return err("--strip: is of LoRAs; %s is a model", c->from);
    ModelLayout layout = c->to == TO_LDM || (c->to == TO_AUTO && is_single(c->save_to)) ? MODEL_FILE : MODEL_FOLDER;
    if (model_files_convert(c->save_to, layout, c->save_precision, &source)) return -1;
    if (layout == MODEL_FOLDER) tell_tokenizer(c->save_to, c->from);
    return 0;
}

int cmd_convert(const ConvertConfig *c)
{
    static const LoraLayout layout[] = { [TO_KOHYA] = LORA_KOHYA, [TO_DIFFUSERS] = LORA_DIFFUSERS, [TO_PEFT] = LORA_PEFT, [TO_CLONEOFSIMO] = LORA_CLONEOFSIMO };
    if (check_target(c->save_to)) return -1;
    if (is_model(c->from)) return convert_model(c);
    if (c->to == TO_LDM) return err("--to: ldm is a layout of models; %s is a LoRA", c->from);
    LoraLayout to = c->to == TO_AUTO ? (is_single(c->save_to) ? LORA_KOHYA : LORA_PEFT) : layout[c->to];
    return lora_convert(&(LoraTarget){ c->save_to, to, c->save_precision, c->strip }, c->from);
}

/* ---- merge ---- */

static int ratio_of(double *ratio, const char *text)
{
    char *end;
    *ratio = strtod(text, &end);
    return end != text && !*end && isfinite(*ratio) ? 0 : err("--ratios: a number was expected, not \"%s\"", text);
}

int cmd_merge(const MergeConfig *c)
{
    LoraTerm term[MAX_TEXTS];
    LoraRank rank = { c->new_rank, c->new_conv_rank, KEEP_RANK, 0 };
    if (check_target(c->save_to)) return -1;
    if (c->ratios.count && c->ratios.count != c->models.count)
        return err("--ratios: one for each of the %d --models was expected, %d were given", c->models.count, c->ratios.count);
    for (int i = 0; i < c->models.count; i++) {
        term[i] = (LoraTerm){ c->models.item[i], 1 };
        if (c->ratios.count && ratio_of(&term[i].ratio, c->ratios.item[i])) return -1;
    }
    if (!c->sd_model) {
        if (c->new_conv_rank && !c->new_rank) return err("--new_conv_rank: goes with --new_rank");
        return lora_join(&(LoraTarget){ c->save_to, LORA_KOHYA, c->save_precision, c->no_metadata }, term, c->models.count, &rank, report(c->quiet));
    }
    if (c->new_rank) return err("--new_rank: is of LoRAs, not of a model");
    ModelSource source = { .path = c->sd_model, .ema = c->ema, .v2 = c->v2, .v_parameterization = c->v_parameterization };
    ModelLayout layout = is_single(c->save_to) ? MODEL_FILE : MODEL_FOLDER;
    if (lora_merge_model(c->save_to, layout, c->save_precision, &source, term, c->models.count, c->allow_unmatched)) return -1;
    if (layout == MODEL_FOLDER) tell_tokenizer(c->save_to, c->sd_model);
    return 0;
}

/* ---- resize, extract ---- */

int cmd_resize(const ResizeConfig *c)
{
    LoraRank rank = { c->new_rank, c->new_conv_rank, c->dynamic_method, c->dynamic_param };
    if ((c->dynamic_method != KEEP_RANK) != (c->dynamic_param > 0)) return err("--dynamic_method and --dynamic_param: one goes with the other");
    if ((c->dynamic_method == KEEP_FRO || c->dynamic_method == KEEP_CUMULATIVE) && c->dynamic_param > 1)
        return err("--dynamic_param: a share of at most 1 was expected, not %g", c->dynamic_param);
    return lora_resize(&(LoraTarget){ c->save_to, LORA_KOHYA, c->save_precision, c->no_metadata }, c->model, &rank, report(c->quiet));
}

int cmd_extract(const ExtractConfig *c)
{
    ModelSource org = { .path = c->model_org, .v2 = c->v2, .v_parameterization = c->v_parameterization }, tuned = org;
    LoraExtract how = { { c->dim, c->conv_dim, KEEP_RANK, 0 }, c->min_diff, c->clamp_quantile };
    tuned.path = c->model_tuned;
    return lora_extract(&(LoraTarget){ c->save_to, LORA_KOHYA, c->save_precision, c->no_metadata }, &org, &tuned, &how, report(c->quiet));
}
