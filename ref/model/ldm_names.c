#include "model/ldm_names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tables ----
 *
 * A row says that a name which begins as the left pattern begins, in the other layout, as the right one; what follows stays, or is looked up in the row's own
 * table of endings. Where several left patterns mean the same, the first is the one that is written. In patterns stand for numbers:
 *
 *     %b  a block             %j  a residual block, or transformer, of it
 *     %d  the place on the way down of %j of %b: 1 + (layers + 1) b + j           %D  of the block's downsampler, behind its last layer
 *     %u  the place on the way up of %j of %b: (layers + 1) b + j                 %U  of the block's last, with which its upsampler goes
 *     %p  the upsampler's place there: behind residual block and transformer, 2, or without a transformer, 1
 *     %r  a level counted from the other end: vae_levels - 1 - b */

typedef struct Row {
    const char       *ldm, *diffusers;
    const struct Row *endings;                          /* ends with { 0 } */
} Row;

static const Row unet_resnet[] = {
    { "in_layers.0.", "norm1.", 0 },    { "in_layers.2.", "conv1.", 0 },  { "emb_layers.1.", "time_emb_proj.", 0 },
    { "out_layers.0.", "norm2.", 0 },   { "out_layers.3.", "conv2.", 0 }, { "skip_connection.", "conv_shortcut.", 0 }, { 0 },
};
static const Row unet_rows[] = {
    { "time_embed.0.", "time_embedding.linear_1.", 0 },
    { "time_embed.2.", "time_embedding.linear_2.", 0 },
    { "input_blocks.0.0.", "conv_in.", 0 },
    { "input_blocks.%D.0.op.", "down_blocks.%b.downsamplers.0.conv.", 0 },
    { "input_blocks.%d.0.", "down_blocks.%b.resnets.%j.", unet_resnet },
    { "input_blocks.%d.1.", "down_blocks.%b.attentions.%j.", 0 },
    { "middle_block.0.", "mid_block.resnets.0.", unet_resnet },
    { "middle_block.1.", "mid_block.attentions.0.", 0 },
    { "middle_block.2.", "mid_block.resnets.1.", unet_resnet },
    { "output_blocks.%U.%p.conv.", "up_blocks.%b.upsamplers.0.conv.", 0 },
    { "output_blocks.%u.0.", "up_blocks.%b.resnets.%j.", unet_resnet },
    { "output_blocks.%u.1.", "up_blocks.%b.attentions.%j.", 0 },
    { "out.0.", "conv_norm_out.", 0 },
    { "out.2.", "conv_out.", 0 },
    { 0 },
};

static const Row vae_resnet[] = {
    { "norm1.", "norm1.", 0 }, { "conv1.", "conv1.", 0 },                 { "norm2.", "norm2.", 0 },
    { "conv2.", "conv2.", 0 }, { "nin_shortcut.", "conv_shortcut.", 0 }, { 0 },
};
static const Row vae_attention[] = {
    { "norm.", "group_norm.", 0 },  { "q.", "to_q.", 0 },      { "k.", "to_k.", 0 },         { "v.", "to_v.", 0 },
    { "proj_out.", "to_out.0.", 0 },
    { "group_norm.", "group_norm.", 0 }, { "query.", "to_q.", 0 }, { "key.", "to_k.", 0 }, { "value.", "to_v.", 0 }, { "proj_attn.", "to_out.0.", 0 },
    { "to_q.", "to_q.", 0 },        { "to_k.", "to_k.", 0 },   { "to_v.", "to_v.", 0 },      { "to_out.0.", "to_out.0.", 0 }, { 0 },
};
static const Row vae_rows[] = {
    { "encoder.down.%b.block.%j.", "encoder.down_blocks.%b.resnets.%j.", vae_resnet },
    { "encoder.down.%b.downsample.conv.", "encoder.down_blocks.%b.downsamplers.0.conv.", 0 },
    { "encoder.mid.block_1.", "encoder.mid_block.resnets.0.", vae_resnet },
    { "encoder.mid.attn_1.", "encoder.mid_block.attentions.0.", vae_attention },
    { "encoder.mid.block_2.", "encoder.mid_block.resnets.1.", vae_resnet },
    { "encoder.norm_out.", "encoder.conv_norm_out.", 0 },
    { "encoder.conv_in.", "encoder.conv_in.", 0 },
    { "encoder.conv_out.", "encoder.conv_out.", 0 },
    { "decoder.up.%r.block.%j.", "decoder.up_blocks.%b.resnets.%j.", vae_resnet },
    { "decoder.up.%r.upsample.conv.", "decoder.up_blocks.%b.upsamplers.0.conv.", 0 },
    { "decoder.mid.block_1.", "decoder.mid_block.resnets.0.", vae_resnet },
    { "decoder.mid.attn_1.", "decoder.mid_block.attentions.0.", vae_attention },
    { "decoder.mid.block_2.", "decoder.mid_block.resnets.1.", vae_resnet },
    { "decoder.norm_out.", "decoder.conv_norm_out.", 0 },
    { "decoder.conv_in.", "decoder.conv_in.", 0 },
    { "decoder.conv_out.", "decoder.conv_out.", 0 },
    { "quant_conv.", "quant_conv.", 0 },
    { "post_quant_conv.", "post_quant_conv.", 0 },
    { 0 },
};

static const Row clip_rows[] = {
    { "text_model.", "text_model.", 0 },
    { "embeddings.", "text_model.embeddings.", 0 },
    { "encoder.", "text_model.encoder.", 0 },
    { "final_layer_norm.", "text_model.final_layer_norm.", 0 },
    { 0 },
};
static const Row openclip_layer[] = {
    { "ln_1.", "layer_norm1.", 0 },  { "attn.out_proj.", "self_attn.out_proj.", 0 }, { "ln_2.", "layer_norm2.", 0 },
    { "mlp.c_fc.", "mlp.fc1.", 0 }, { "mlp.c_proj.", "mlp.fc2.", 0 },                { 0 },
};
static const Row openclip_rows[] = {
    { "token_embedding.weight", "text_model.embeddings.token_embedding.weight", 0 },
    { "positional_embedding", "text_model.embeddings.position_embedding.weight", 0 },
    { "transformer.resblocks.%j.", "text_model.encoder.layers.%j.", openclip_layer },
    { "ln_final.", "text_model.final_layer_norm.", 0 },
    { 0 },
};

/* ---- patterns ---- */

typedef struct {
    int b, j;
} Numbers;

/* The number that stands at a place; -1: none. */
static int number_at(char kind, const Numbers *n, const LdmShape *s)
{
    switch (kind) {
    case 'b': return n->b;
    case 'j': return n->j;
    case 'd': return 1 + (s->layers + 1) * n->b + n->j;
    case 'D': return (s->layers + 1) * (n->b + 1);
    case 'u': return (s->layers + 1) * n->b + n->j;
    case 'U': return (s->layers + 1) * n->b + s->layers;
    case 'p': return n->b < UNET_LEVELS && s->attention[n->b] ? 2 : 1;
    case 'r': return s->vae_levels - 1 - n->b;
    }
    return -1;
}

/* The other way: what block and layer a number at a place means. 1, or 0: it cannot stand there. */
static int number_means(char kind, int value, Numbers *n, const LdmShape *s)
{
    int each = s->layers + 1;
    switch (kind) {
    case 'j': n->j = value; break;
    case 'b': n->b = value; break;
    case 'd': n->b = (value - 1) / each, n->j = (value - 1) % each; break;
    case 'D': n->b = value / each - 1; break;
    case 'u': n->b = value / each, n->j = value % each; break;
    case 'U': n->b = value / each; break;
    case 'r': n->b = s->vae_levels - 1 - value; break;
    }
    return kind == 'd' ? value > 0 && n->j < s->layers : n->b >= 0 && number_at(kind, n, s) == value;
}

/* What follows in text behind the pattern; NULL: it does not begin so. */
static const char *match(const char *pattern, const char *text, Numbers *n, const LdmShape *s)
{
    for (; *pattern; pattern++) {
        if (*pattern != '%') {
            if (*pattern != *text++) return NULL;
            continue;
        }
        size_t digits = strspn(text, "0123456789");
        if (digits < 1 || digits > 3 || !number_means(*++pattern, atoi(text), n, s)) return NULL;
        text += digits;
    }
    return text;
}

/* Writes the pattern with its numbers. The length so far, which may go past the room. */
static size_t put(Name *to, size_t at, const char *pattern, const Numbers *n, const LdmShape *s)
{
    for (; *pattern && at < sizeof to->s; pattern++) {
        if (*pattern != '%') to->s[at++] = *pattern;
        else at += (size_t)snprintf(to->s + at, sizeof to->s - at, "%d", number_at(*++pattern, n, s));
    }
    return at;
}

/* One step of the way, forth (from ldm) or back; rows of a table are tried in order. */
static int translate(Name *to, size_t at, const Row *row, const char *text, int forth, Numbers *n, const LdmShape *s)
{
    for (; row->ldm; row++) {
        const char *rest = match(forth ? row->ldm : row->diffusers, text, n, s);
        if (!rest) continue;
        size_t end = put(to, at, forth ? row->diffusers : row->ldm, n, s);
        if (row->endings) return end < sizeof to->s && translate(to, end, row->endings, rest, forth, n, s);
        if (end + strlen(rest) >= sizeof to->s) return 0;
        strcpy(to->s + end, rest);
        return 1;
    }
    return 0;
}

static const Row *rows_of(ModelPart part, const LdmShape *s)
{
    return part == MODEL_UNET ? unet_rows : part == MODEL_VAE ? vae_rows : s->openclip ? openclip_rows : clip_rows;
}

/* ---- names ---- */

const char *ldm_prefix(ModelPart part, const LdmShape *s)
{
    return part == MODEL_UNET ? "model.diffusion_model." :
           part == MODEL_VAE  ? "first_stage_model." :
           s->openclip        ? "cond_stage_model.model." :
                                "cond_stage_model.transformer.";
}

int ldm_to_diffusers(Name *to, ModelPart part, const char *ldm, const LdmShape *s)
{
    Numbers n = { 0, 0 };
    return translate(to, 0, rows_of(part, s), ldm, 1, &n, s);
}

int ldm_from_diffusers(Name *to, ModelPart part, const char *diffusers, const LdmShape *s)
{
    Numbers n = { 0, 0 };
    return translate(to, 0, rows_of(part, s), diffusers, 0, &n, s);
}

void ldm_modern(Name *to, ModelPart part, const char *diffusers)
{
    static const Row       vae[] = { { "encoder.mid_block.attentions.0.", "encoder.mid_block.attentions.0.", vae_attention },
                                     { "decoder.mid_block.attentions.0.", "decoder.mid_block.attentions.0.", vae_attention },
                                     { 0 } };
    static const LdmShape none;
    Numbers               n = { 0, 0 };
    if (part == MODEL_UNET || !translate(to, 0, part == MODEL_VAE ? vae : clip_rows, diffusers, 1, &n, &none))
        snprintf(to->s, sizeof to->s, "%s", diffusers);
}

int ldm_is_fused(const char *ldm, int *layer, const char **ending)
{
    static const LdmShape none;
    Numbers               n = { 0, 0 };
    const char           *rest = match("transformer.resblocks.%j.attn.in_proj_", ldm, &n, &none);
    if (!rest || (strcmp(rest, "weight") && strcmp(rest, "bias"))) return 0;
    *layer = n.j, *ending = rest;
    return 1;
}

/* ---- shapes ---- */

static int has(const Safetensors *s, const char *text) { return s && safetensors_find(s, text); }

LdmShape ldm_shape_of_file(const Safetensors *f)
{
    LdmShape s = { .openclip = has(f, "cond_stage_model.model.ln_final.weight") };
    int      first = 1, blocks = 1;
    while (has(f, name("model.diffusion_model.input_blocks.%d.0.in_layers.0.weight", blocks).s)) blocks++;
    while (first < blocks && !has(f, name("model.diffusion_model.input_blocks.%d.0.op.weight", first).s)) first++;
    s.layers = first > 1 ? first - 1 : 1;               /* the first level ends with its downsampler, or is the only one */
    const char *prefix = has(f, "first_stage_model.encoder.conv_in.weight") ? "first_stage_model." : "";
    while (s.vae_levels < 32 && has(f, name("%sdecoder.up.%d.block.0.norm1.weight", prefix, s.vae_levels).s)) s.vae_levels++;
    for (int b = 0; b < UNET_LEVELS; b++)
        s.attention[b] = has(f, name("model.diffusion_model.output_blocks.%d.1.norm.weight", (s.layers + 1) * b).s);
    return s;
}

LdmShape ldm_shape_of_parts(const Safetensors *const part[MODEL_PARTS])
{
    LdmShape s = { 0 };
    while (s.layers < 32 && has(part[MODEL_UNET], name("down_blocks.0.resnets.%d.norm1.weight", s.layers).s)) s.layers++;
    while (s.vae_levels < 32 && has(part[MODEL_VAE], name("decoder.up_blocks.%d.resnets.0.norm1.weight", s.vae_levels).s)) s.vae_levels++;
    for (int b = 0; b < UNET_LEVELS; b++) s.attention[b] = has(part[MODEL_UNET], name("up_blocks.%d.attentions.0.norm.weight", b).s);
    return s;
}
