#include "lora/names.h"
#include "base/err.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const layout_names[] = { "none", "kohya", "diffusers", "PEFT", "cloneofsimo" };
const char *lora_layout_name(LoraLayout layout) { return layout_names[layout]; }

/* ---- endings ---- */

/* For writing the first row of a layout and role counts. LORA_NONE: kohya's and PEFT's alike. */
static const struct {
    LoraLayout  layout;
    LoraRole    role;
    const char *text;
} endings[] = {
    { LORA_KOHYA, LORA_DOWN, ".lora_down.weight" },
    { LORA_KOHYA, LORA_UP, ".lora_up.weight" },
    { LORA_KOHYA, LORA_MID, ".lora_mid.weight" },
    { LORA_KOHYA, LORA_MAGNITUDE, ".dora_scale" },
    { LORA_PEFT, LORA_DOWN, ".lora_A.weight" },
    { LORA_PEFT, LORA_UP, ".lora_B.weight" },
    { LORA_PEFT, LORA_MAGNITUDE, ".lora_magnitude_vector" },
    { LORA_PEFT, LORA_MAGNITUDE, ".lora_magnitude_vector.weight" },
    { LORA_DIFFUSERS, LORA_DOWN, ".lora.down.weight" },
    { LORA_DIFFUSERS, LORA_UP, ".lora.up.weight" },
    { LORA_DIFFUSERS, LORA_DOWN, ".lora_linear_layer.down.weight" },
    { LORA_DIFFUSERS, LORA_UP, ".lora_linear_layer.up.weight" },
    { LORA_DIFFUSERS, LORA_DOWN, "_lora.down.weight" },
    { LORA_DIFFUSERS, LORA_UP, "_lora.up.weight" },
    { LORA_CLONEOFSIMO, LORA_DOWN, ":down" },
    { LORA_CLONEOFSIMO, LORA_UP, ":up" },
    { LORA_NONE, LORA_ALPHA, ".alpha" },
    { LORA_NONE, LORA_HADA_W1A, ".hada_w1_a" },
    { LORA_NONE, LORA_HADA_W1B, ".hada_w1_b" },
    { LORA_NONE, LORA_HADA_W2A, ".hada_w2_a" },
    { LORA_NONE, LORA_HADA_W2B, ".hada_w2_b" },
    { LORA_NONE, LORA_HADA_T1, ".hada_t1" },
    { LORA_NONE, LORA_HADA_T2, ".hada_t2" },
    { LORA_NONE, LORA_LOKR_W1, ".lokr_w1" },
    { LORA_NONE, LORA_LOKR_W1A, ".lokr_w1_a" },
    { LORA_NONE, LORA_LOKR_W1B, ".lokr_w1_b" },
    { LORA_NONE, LORA_LOKR_W2, ".lokr_w2" },
    { LORA_NONE, LORA_LOKR_W2A, ".lokr_w2_a" },
    { LORA_NONE, LORA_LOKR_W2B, ".lokr_w2_b" },
    { LORA_NONE, LORA_LOKR_T2, ".lokr_t2" },
};
enum { ENDINGS = sizeof endings / sizeof *endings };

const char *lora_role_ending(LoraLayout layout, LoraRole role)
{
    int i = 0;
    if (layout == LORA_DIFFUSERS) layout = LORA_PEFT;
    while (i < ENDINGS && (endings[i].role != role || (endings[i].layout != layout && endings[i].layout != LORA_NONE))) i++;
    return i < ENDINGS ? endings[i].text : NULL;
}

static int starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

static int ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), k = strlen(ending);
    return n > k && strcmp(text + n - k, ending) == 0;
}

/* ---- paths ---- */

/* An underscore of a kohya name stands for a dot, but for those within these words of the models' paths. */
static const char *const words[] = { "down_blocks",   "up_blocks",   "mid_block", "transformer_blocks", "to_q",       "to_k",     "to_v",   "to_out", "proj_in",
                                     "proj_out",      "conv_in",     "conv_out",  "conv_shortcut",      "time_embedding", "time_emb_proj", "linear_1",
                                     "linear_2",      "text_model",  "self_attn", "q_proj",             "k_proj",     "v_proj",   "out_proj", NULL };

static size_t word_length(const char *text)
{
    for (int i = 0; words[i]; i++) {
        size_t n = strlen(words[i]);
        if (strncmp(text, words[i], n) == 0 && (text[n] == '_' || !text[n])) return n;
    }
    return strcspn(text, "_");
}

static void dots_for_underscores(char *path)
{
    for (size_t n = 0; *path; path += n) {
        n = word_length(path);
        if (path[n]) path[n++] = '.';
    }
}

static void replace(Name *path, const char *from, const char *to)
{
    char *at = strstr(path->s, from);
    if (at) *path = name("%.*s%s%s", (int)(at - path->s), path->s, to, at + strlen(from));
}

/* The projections of attention as diffusers once called them, in an attention processor or in its own text encoder. */
static void modern_names(Name *path, int is_unet)
{
    static const char *const text[][2] = { { ".to_q", ".q_proj" }, { ".to_k", ".k_proj" }, { ".to_v", ".v_proj" }, { ".to_out", ".out_proj" } };
    replace(path, ".processor.", ".");
    if (is_unet && ends_with(path->s, ".to_out")) *path = name("%s.0", path->s);
    for (size_t i = 0; !is_unet && i < sizeof text / sizeof *text; i++)
        if (ends_with(path->s, text[i][0])) replace(path, text[i][0], text[i][1]);
}

/* The stem of a name with dots: which half of the model, and what is left of the stem. */
static const char *half_of(const char *stem, int *is_unet)
{
    static const char *const text[] = { "text_model.", "encoder.layers.", "embeddings.", "final_layer_norm" };
    if (starts_with(stem, "base_model.model.")) stem += strlen("base_model.model.");
    *is_unet = 1;
    if (starts_with(stem, "unet.")) return stem + strlen("unet.");
    *is_unet = 0;
    if (starts_with(stem, "text_encoder.")) return stem + strlen("text_encoder.");
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        if (starts_with(stem, text[i])) return stem;
    *is_unet = 1;
    return stem;
}

enum { LONGEST = 100 };                                 /* bytes of a stem: room for what is put before and behind it in a Name */

static int parse_place(LoraName *out, const char *stem)
{
    const char *digits = strchr(stem, ':');
    char       *end;
    if (!digits) return 0;
    size_t half = (size_t)(digits - stem);
    out->is_unet = half == 4 && strncmp(stem, "unet", 4) == 0;
    if (!out->is_unet && !(half == 12 && strncmp(stem, "text_encoder", 12) == 0)) return 0;
    if (digits[1] < '0' || digits[1] > '9' || strlen(digits + 1) > 5) return 0;
    out->place = (int)strtol(digits + 1, &end, 10);
    return *end == 0;
}

static int parse_stem(LoraName *out, const char *stem)
{
    static const struct { const char *prefix; int is_unet; } kohya[] = { { "lora_unet_", 1 }, { "lora_te_", 0 }, { "lora_te1_", 0 } };
    const char *skip = "text_model.";
    if (out->layout == LORA_CLONEOFSIMO) return parse_place(out, stem);
    size_t k = 0, n = sizeof kohya / sizeof *kohya;
    while (k < n && !starts_with(stem, kohya[k].prefix)) k++;
    if (out->layout == LORA_NONE) out->layout = k < n ? LORA_KOHYA : LORA_PEFT;
    if (out->layout == LORA_KOHYA) {
        if (k == n || strchr(stem, '.')) return 0;
        out->is_unet = kohya[k].is_unet;
        out->path = name("%s", stem + strlen(kohya[k].prefix));
        dots_for_underscores(out->path.s);
    } else {
        out->path = name("%s", half_of(stem, &out->is_unet));
        modern_names(&out->path, out->is_unet);
    }
    if (!out->is_unet && !starts_with(out->path.s, skip)) out->path = name("%s%s", skip, out->path.s);
    return *out->path.s != 0;
}

int lora_name_parse(LoraName *out, const char *tensor)
{
    size_t length = strlen(tensor);
    for (int i = 0; i < ENDINGS; i++) {
        if (!ends_with(tensor, endings[i].text)) continue;
        size_t stem = length - strlen(endings[i].text);
        if (stem > LONGEST) return 0;
        *out = (LoraName){ .layout = endings[i].layout, .role = endings[i].role, .place = -1, .stem = stem };
        return parse_stem(out, name("%.*s", (int)stem, tensor).s);
    }
    return 0;
}

Name lora_key(int is_unet, const char *path)
{
    Name out = name("%s%s", is_unet ? "lora_unet_" : "lora_te_", path);
    for (char *c = out.s; *c; c++)
        if (*c == '.') *c = '_';
    return out;
}

Name lora_name(LoraLayout layout, int is_unet, const char *path, LoraRole role)
{
    const char *ending = lora_role_ending(layout, role);
    CHECK(ending, "%s has no name for role %d", lora_layout_name(layout), (int)role);
    if (layout == LORA_KOHYA) return name("%s%s", lora_key(is_unet, path).s, ending);
    const char *front = layout == LORA_PEFT ? "base_model.model." : is_unet ? "unet." : "text_encoder.";
    return name("%s%s%s", front, path, ending);
}

/* ---- what is not known here ---- */

const char *lora_foreign(const char *tensor)
{
    static const struct { const char *part, *what; } table[] = {
        { "lora_te2_", "a LoRA for SDXL" },
        { "text_encoder_2.", "a LoRA for SDXL" },
        { "lora_unet_input_blocks_", "a LoRA for SDXL" },
        { "lora_unet_middle_block_", "a LoRA for SDXL" },
        { "lora_unet_output_blocks_", "a LoRA for SDXL" },
        { "joint_blocks", "a LoRA for SD 3" },
        { "double_blocks", "a LoRA for Flux" },
        { "single_blocks", "a LoRA for Flux" },
        { "single_transformer_blocks", "a LoRA for Flux" },
        { "lora_transformer_", "a LoRA for a transformer model (SD 3, Flux, ...)" },
        { "transformer.transformer_blocks", "a LoRA for a transformer model (SD 3, Flux, ...)" },
        { "lora_controlnet", "a ControlNet-LLLite" },
        { ".oft_blocks", "OFT or BOFT" },
        { ".oft_diag", "OFT" },
        { ".oft_R", "OFT" },
        { ".oft_r", "OFT" },
        { ".oft_s", "OFT" },
        { ".boft_", "BOFT" },
        { ".a1.weight", "GLoRA" },
        { ".a2.weight", "GLoRA" },
        { ".b1.weight", "GLoRA" },
        { ".b2.weight", "GLoRA" },
        { ".bm.weight", "GLoRA" },
        { ".on_input", "IA3" },
        { ".ia3_l", "IA3" },
        { ".vera_lambda", "VeRA" },
        { ".hada_", "LoHa of an unknown kind" },
        { ".lokr_", "LoKr of an unknown kind" },
        { ".diff_b", "the difference of whole biases (LyCORIS' full)" },
        { ".diff", "the difference of whole weights (LyCORIS' full)" },
        { ".w_norm", "the difference of norms (LyCORIS' norm)" },
        { ".b_norm", "the difference of norms (LyCORIS' norm)" },
        { ".lora_embedding_", "a LoRA of an embedding" },
        { ".lora_B.bias", "a LoRA with biases" },
        { ".lora_up.bias", "a LoRA with biases" },
        { "string_to_param", "a textual inversion" },
        { "emb_params", "a textual inversion" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *part = table[i].part, *at = strstr(tensor, part);
        int         open = *part != '.' || ends_with(part, "_");            /* an ending goes on with a dot or a number, if at all */
        if (at && (open || !at[strlen(part)] || strchr("._", at[strlen(part)]))) return table[i].what;
    }
    return NULL;
}
