#include "model/unet.h"
#include "base/err.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- configuration ---- */

static void refuse(Json *j, const char *key, int wanted, const char *what)
{
    if (!wanted) json_fail(j, key, "%s", what);
}

/* Block types to attention flags, from fine to coarse. */
static void block_types(Json *j, UnetConfig *c, const char *key, const char *with, const char *without, int reversed)
{
    const char *type[UNET_LEVELS];
    int         n = json_strings(j, key, type, UNET_LEVELS);
    if (n != c->levels) json_fail(j, key, "expected %d names, one a level, found %d", c->levels, n);
    for (int i = 0; i < n && i < c->levels; i++) {
        int *flag = &c->attention[reversed ? c->levels - 1 - i : i], has = strcmp(type[i], with) == 0;
        if (!has && strcmp(type[i], without)) json_fail(j, key, "expected %s or %s, found %s", with, without, type[i]);
        else if (reversed && *flag != has) json_fail(j, key, "attention on the way up must mirror that on the way down, at %s", type[i]);
        *flag = has;
    }
}

static void read_heads(Json *j, UnetConfig *c)
{
    const char *key = json_has(j, "num_attention_heads") ? "num_attention_heads" : "attention_head_dim";   /* a number of heads under either name */
    int         n = json_ints(j, key, c->heads, UNET_LEVELS);
    if (n == 0) c->heads[0] = 8, n = 1;
    if (n != 1 && n != c->levels) json_fail(j, key, "expected one number or %d, found %d", c->levels, n);
    for (int i = n; i < c->levels; i++) c->heads[i] = c->heads[0];
    for (int i = 0; i < c->levels; i++)
        if (c->heads[i] < 1 || c->channels[i] % c->heads[i]) json_fail(j, key, "%d channels cannot be divided among %d heads", c->channels[i], c->heads[i]);
}

static void read_time(Json *j, UnetConfig *c)
{
    c->flip_sin_to_cos = json_bool(j, "flip_sin_to_cos", 1);
    c->freq_shift = json_double(j, "freq_shift", 0);
    c->time = 4 * c->channels[0];
    refuse(j, "freq_shift", c->freq_shift < c->channels[0] / 2, "expected less than half the channels of the first level");
    refuse(j, "time_embedding_type", strcmp(json_string(j, "time_embedding_type", "positional"), "positional") == 0, "only positional is known");
    refuse(j, "resnet_time_scale_shift", strcmp(json_string(j, "resnet_time_scale_shift", "default"), "default") == 0, "only default is known");
    refuse(j, "class_embed_type", !json_has(j, "class_embed_type"), "class embeddings are not known");
    refuse(j, "addition_embed_type", !json_has(j, "addition_embed_type"), "additional embeddings (SDXL) are not known");
}

int unet_config(UnetConfig *c, Json *j)
{
    *c = (UnetConfig){ .in = json_int(j, "in_channels", 4), .out = json_int(j, "out_channels", 4), .layers = json_int(j, "layers_per_block", 2),
                       .cross = json_need_int(j, "cross_attention_dim"), .groups = json_int(j, "norm_num_groups", 32), .eps = json_double(j, "norm_eps", 1e-5),
                       .sample = json_int(j, "sample_size", 64), .linear_projection = json_bool(j, "use_linear_projection", 0) };
    c->levels = json_ints(j, "block_out_channels", c->channels, UNET_LEVELS);
    refuse(j, "block_out_channels", c->levels > 0, "expected the channels of each level");
    for (int i = 0; i < c->levels; i++) {
        refuse(j, "block_out_channels", c->channels[i] >= 1 && c->channels[i] <= UNET_CHANNELS, "expected numbers from 1 to 65536");
        if (c->channels[i] > UNET_CHANNELS) c->channels[i] = UNET_CHANNELS;             /* refused; what is worked out from it stays an int */
    }
    block_types(j, c, "down_block_types", "CrossAttnDownBlock2D", "DownBlock2D", 0);
    block_types(j, c, "up_block_types", "CrossAttnUpBlock2D", "UpBlock2D", 1);
    read_heads(j, c);
    read_time(j, c);
    for (int i = 0; i < c->levels; i++)
        refuse(j, "norm_num_groups", c->groups > 0 && c->channels[i] % c->groups == 0, "does not divide the channels of each level");
    refuse(j, "layers_per_block", c->layers >= 1 && c->layers <= UNET_LAYERS, "expected a number from 1 to 4");
    refuse(j, "sample_size", c->sample >= 1 && c->sample <= 4096, "expected a number from 1 to 4096");
    refuse(j, "out_channels", c->out == 4, "expected 4, as many as come in");
    refuse(j, "in_channels", c->in == 4, "expected 4 latent channels: inpainting (9) and instruct-pix2pix (8) models are not known");
    refuse(j, "act_fn", strcmp(json_string(j, "act_fn", "silu"), "silu") == 0, "only silu is known");
    refuse(j, "transformer_layers_per_block", json_int(j, "transformer_layers_per_block", 1) == 1, "expected 1 (more: SDXL)");
    refuse(j, "only_cross_attention", !json_bool(j, "only_cross_attention", 0), "expected false");
    refuse(j, "dual_cross_attention", !json_bool(j, "dual_cross_attention", 0), "expected false");
    return json_close(j);
}

int unet_step(const UnetConfig *c) { return 1 << (c->levels - 1); }

/* f_k = 10000^(-k / (half - shift)), k = 0..half-1; an odd channel more is 0 */
void unet_time(const UnetConfig *c, double t, double *out)
{
    int half = c->channels[0] / 2;
    for (int k = 0; k < half; k++) {
        double angle = t * exp(-log(10000.0) * k / (half - c->freq_shift));
        out[k] = c->flip_sin_to_cos ? cos(angle) : sin(angle);
        out[half + k] = c->flip_sin_to_cos ? sin(angle) : cos(angle);
    }
    if (c->channels[0] % 2) out[2 * half] = 0;
}

/* ---- weights ---- */

static void projection_open(Weights *w, Layer *l, const char *text, int c, const UnetConfig *config)
{
    if (config->linear_projection) weights_linear(w, l, text, c, c, 1);
    else weights_conv(w, l, text, c, c, 1, 1, 0);
}

/* The norms' eps are diffusers' constants; no configuration says them. */
static void transformer_open(Weights *w, Transformer *m, const char *p, int c, int heads, const UnetConfig *config)
{
    Name b = name("%s.transformer_blocks.0", p), q = name("%s.attn1.to_q", b.s), k = name("%s.attn1.to_k", b.s), v = name("%s.attn1.to_v", b.s);
    Name k2 = name("%s.attn2.to_k", b.s), v2 = name("%s.attn2.to_v", b.s);
    m->heads = heads;
    weights_norm(w, &m->norm, name("%s.norm", p).s, c, config->groups, 0, 1e-6);
    projection_open(w, &m->proj_in, name("%s.proj_in", p).s, c, config);
    weights_norm(w, &m->norm1, name("%s.norm1", b.s).s, c, 0, 0, 1e-5);
    weights_fused(w, &m->qkv, (const char *[]){ q.s, k.s, v.s }, 3, c, c, 0);
    weights_linear(w, &m->out1, name("%s.attn1.to_out.0", b.s).s, c, c, 1);
    weights_norm(w, &m->norm2, name("%s.norm2", b.s).s, c, 0, 0, 1e-5);
    weights_linear(w, &m->q, name("%s.attn2.to_q", b.s).s, c, c, 0);
    weights_fused(w, &m->kv, (const char *[]){ k2.s, v2.s }, 2, config->cross, c, 0);
    weights_linear(w, &m->out2, name("%s.attn2.to_out.0", b.s).s, c, c, 1);
    weights_norm(w, &m->norm3, name("%s.norm3", b.s).s, c, 0, 0, 1e-5);
    weights_linear(w, &m->ff1, name("%s.ff.net.0.proj", b.s).s, c, 8 * c, 1);
    weights_linear(w, &m->ff2, name("%s.ff.net.2", b.s).s, 4 * c, c, 1);
    projection_open(w, &m->proj_out, name("%s.proj_out", p).s, c, config);
}

/* Channels of the states kept on the way down, in order; how many there are. */
static int kept_channels(const UnetConfig *c, int *kept)
{
    int n = 0;
    kept[n++] = c->channels[0];
    for (int i = 0; i < c->levels; i++) {
        for (int j = 0; j < c->layers; j++) kept[n++] = c->channels[i];
        if (i < c->levels - 1) kept[n++] = c->channels[i];
    }
    return n;
}
enum { MAX_KEPT = 1 + UNET_LEVELS * (UNET_LAYERS + 1) };

static void down_open(Weights *w, UnetLevel *l, int i, const UnetConfig *c)
{
    int out = c->channels[i];
    for (int j = 0; j < c->layers; j++) {
        int in = j ? out : c->channels[i ? i - 1 : 0];
        resnet_open(w, &l->resnet[j], name("down_blocks.%d.resnets.%d", i, j).s, in, out, c->time, c->groups, c->eps);
        if (c->attention[i]) transformer_open(w, &l->transformer[j], name("down_blocks.%d.attentions.%d", i, j).s, out, c->heads[i], c);
    }
    l->has_resample = i < c->levels - 1;
    if (l->has_resample) weights_conv(w, &l->resample, name("down_blocks.%d.downsamplers.0.conv", i).s, out, out, 3, 2, 1);
}

/* Up block b is level `levels - 1 - b`; *kept counts the kept states not yet used, *h is the width of the state that comes in. */
static void up_open(Weights *w, UnetLevel *l, int b, const UnetConfig *c, const int *channels, int *kept, int *h)
{
    int i = c->levels - 1 - b, out = c->channels[i];
    for (int j = 0; j <= c->layers; j++) {
        resnet_open(w, &l->resnet[j], name("up_blocks.%d.resnets.%d", b, j).s, *h + channels[--*kept], out, c->time, c->groups, c->eps);
        if (c->attention[i]) transformer_open(w, &l->transformer[j], name("up_blocks.%d.attentions.%d", b, j).s, out, c->heads[i], c);
        *h = out;
    }
    l->has_resample = i > 0;
    if (l->has_resample) weights_conv(w, &l->resample, name("up_blocks.%d.upsamplers.0.conv", b).s, out, out, 3, 1, 1);
}

int unet_open(Unet *u, const UnetConfig *c, Set *set)
{
    Weights *w = &u->weights;
    int      last = c->levels - 1, coarse = c->channels[last], kept[MAX_KEPT], n = kept_channels(c, kept), h = coarse;
    *u = (Unet){ .config = *c, .down = calloc((size_t)c->levels, sizeof *u->down), .up = calloc((size_t)c->levels, sizeof *u->up) };
    weights_open(w, set);
    if (!u->down || !u->up) return err("out of memory for %d levels", c->levels);
    weights_conv(w, &u->conv_in, "conv_in", c->in, c->channels[0], 3, 1, 1);
    weights_linear(w, &u->time1, "time_embedding.linear_1", c->channels[0], c->time, 1);
    weights_linear(w, &u->time2, "time_embedding.linear_2", c->time, c->time, 1);
    for (int i = 0; i < c->levels; i++) down_open(w, &u->down[i], i, c);
    resnet_open(w, &u->mid1, "mid_block.resnets.0", coarse, coarse, c->time, c->groups, c->eps);
    transformer_open(w, &u->mid, "mid_block.attentions.0", coarse, c->heads[last], c);
    resnet_open(w, &u->mid2, "mid_block.resnets.1", coarse, coarse, c->time, c->groups, c->eps);
    for (int b = 0; b < c->levels; b++) up_open(w, &u->up[b], b, c, kept, &n, &h);
    weights_norm(w, &u->norm_out, "conv_norm_out", c->channels[0], c->groups, 1, c->eps);
    weights_conv(w, &u->conv_out, "conv_out", c->channels[0], c->out, 3, 1, 1);
    return w->failed ? -1 : 0;
}

void unet_close(Unet *u)
{
    weights_close(&u->weights);
    free(u->down);
    free(u->up);
    *u = (Unet){ 0 };
}

/* ---- forward ---- */

/* in: h (n,1,t,c). A gated MLP. */
static void feed_forward_unit(Tape *t, const void *self, Var *const *in, Var *y)
{
    const Transformer *m = self;
    Var               *f = nn_geglu(t, nn_layer(t, &m->ff1, nn_norm(t, &m->norm3, in[0]), NULL, NULL, NULL));      /* (n,1,t,4c) */
    nn_layer(t, &m->ff2, f, y, NULL, in[0]);
}

/* in: x (n,h,w,c), text (n,1,t,cross). Three residual sublayers on tokens: self-attention, attention to the text, gated MLP. */
static void transformer_unit(Tape *t, const void *self, Var *const *in, Var *y)
{
    const Transformer *m = self;
    Var               *x = tape_tokens(t, in[0]), *text = in[1];
    int                c = x->t.c;
    Var               *h = nn_layer(t, &m->proj_in, nn_norm(t, &m->norm, x), NULL, NULL, NULL);
    Var               *qkv = nn_layer(t, &m->qkv, nn_norm(t, &m->norm1, h), NULL, NULL, NULL);     /* (n,1,h*w,3c) */
    Var               *a = nn_attn(t, tape_channels(t, qkv, 0, c), tape_channels(t, qkv, c, c), tape_channels(t, qkv, 2 * c, c), m->heads, 0);
    h = nn_layer(t, &m->out1, a, NULL, NULL, h);
    Var *q = nn_layer(t, &m->q, nn_norm(t, &m->norm2, h), NULL, NULL, NULL);
    Var *kv = nn_layer(t, &m->kv, text, NULL, NULL, NULL);                                         /* (n,1,t,2c) */
    a = nn_attn(t, q, tape_channels(t, kv, 0, c), tape_channels(t, kv, c, c), m->heads, 0);
    h = nn_layer(t, &m->out2, a, NULL, NULL, h);
    Var *after = tape_like(t, h, c);
    tape_feed_forward(t, feed_forward_unit, m, (Var *[3]){ h }, after);
    nn_layer(t, &m->proj_out, after, tape_tokens(t, y), NULL, x);
}

static void transformer_forward(Tape *t, const Transformer *m, Var *x, Var *text, Var *y) { tape_unit(t, transformer_unit, m, (Var *[3]){ x, text }, y); }

/* The concatenations that the way up will read, one a kept state: [h, kept], h the state that comes up. Last in, first out. */
typedef struct {
    Var *whole[MAX_KEPT];
    int  h[MAX_KEPT];                                   /* channels of its first part */
    int  n;
} Kept;

/* The channels that will come up to each kept state: what the block before its reader puts out. */
static void coming_channels(const UnetConfig *c, Kept *k)
{
    int kept[MAX_KEPT], n = kept_channels(c, kept), h = c->channels[c->levels - 1];
    for (int i = c->levels - 1; i >= 0; i--)
        for (int j = 0; j <= c->layers; j++) k->h[--n] = h, h = c->channels[i];
}

/* Where the next kept state is to be written: its slice of the concatenation. */
static Var *keep(Tape *t, Kept *k, int n, int h, int w, int c)
{
    int first = k->h[k->n];
    Var *whole = k->whole[k->n++] = tape_new(t, t->set->act, n, h, w, first + c);
    return tape_channels(t, whole, first, c);
}

/* Where the state that comes up is to be written next: the first part of the newest concatenation, or, when all are read, a place of its own. */
static Var *coming(Tape *t, const Kept *k, const Var *like, int h, int w, int c)
{
    if (k->n == 0) return tape_new(t, t->set->act, like->t.n, h, w, c);
    return tape_channels(t, k->whole[k->n - 1], 0, c);
}

/* A residual block and, where the level has them, its transformer. */
static void block_forward(Tape *t, const UnetLevel *l, int j, int attention, Var *x, Var *emb, Var *text, Var *y)
{
    Var *inner = attention ? tape_like(t, y, y->t.c) : y;
    resnet_forward(t, &l->resnet[j], x, emb, inner);
    if (attention) transformer_forward(t, &l->transformer[j], inner, text, y);
}

static Var *down_level(Tape *t, const Unet *u, int i, Var *x, Var *emb, Var *text, Kept *k)
{
    const UnetLevel *l = &u->down[i];
    int              n = x->t.n, h = x->t.h, w = x->t.w, c = u->config.channels[i];
    for (int j = 0; j < u->config.layers; j++) {
        Var *y = keep(t, k, n, h, w, c);
        block_forward(t, l, j, u->config.attention[i], x, emb, text, y);
        x = y;
    }
    return l->has_resample ? nn_layer(t, &l->resample, x, keep(t, k, n, h / 2, w / 2, c), NULL, NULL) : x;
}

static Var *up_level(Tape *t, const Unet *u, int b, Var *emb, Var *text, Kept *k)
{
    const UnetLevel *l = &u->up[b];
    int              i = u->config.levels - 1 - b, c = u->config.channels[i];
    Var             *x = NULL, *y = NULL;
    for (int j = 0; j <= u->config.layers; j++) {
        int last = j == u->config.layers;
        x = k->whole[--k->n];
        int h = x->t.h, w = x->t.w;
        y = last && l->has_resample ? tape_new(t, t->set->act, x->t.n, h, w, c) : coming(t, k, x, h, w, c);
        block_forward(t, l, j, u->config.attention[i], x, emb, text, y);
    }
    if (l->has_resample) tape_module(t, l->resample.part[0].name);
    return l->has_resample ? nn_layer(t, &l->resample, nn_up2(t, y), coming(t, k, y, 2 * y->t.h, 2 * y->t.w, c), NULL, NULL) : y;
}

static Var *mid_level(Tape *t, const Unet *u, Var *x, Var *emb, Var *text, Kept *k)
{
    Var *a = tape_like(t, x, x->t.c), *b = tape_like(t, x, x->t.c), *y = coming(t, k, x, x->t.h, x->t.w, x->t.c);
    resnet_forward(t, &u->mid1, x, emb, a);
    transformer_forward(t, &u->mid, a, text, b);
    resnet_forward(t, &u->mid2, b, emb, y);
    return y;
}

Var *unet_forward(Tape *t, const Unet *u, Var *x, Var *sines, Var *text)
{
    Kept k = { .n = 0 };
    coming_channels(&u->config, &k);
    tape_part(t, "UNet");
    Var *time = nn_layer(t, &u->time2, nn_act(t, nn_layer(t, &u->time1, sines, NULL, NULL, NULL), ACT_SILU), NULL, NULL, NULL);
    tape_name(t, time, "time.emb");
    Var *emb = nn_act(t, time, ACT_SILU);               /* every residual block begins with it */
    x = nn_layer(t, &u->conv_in, x, keep(t, &k, x->t.n, x->t.h, x->t.w, u->config.channels[0]), NULL, NULL);
    tape_name(t, x, "unet.conv_in");
    for (int i = 0; i < u->config.levels; i++) {
        x = down_level(t, u, i, x, emb, text, &k);
        tape_name(t, x, "unet.down_blocks.%d", i);
    }
    x = mid_level(t, u, x, emb, text, &k);
    tape_name(t, x, "unet.mid_block");
    for (int b = 0; b < u->config.levels; b++) {
        x = up_level(t, u, b, emb, text, &k);
        tape_name(t, x, "unet.up_blocks.%d", b);
    }
    Var *y = nn_layer(t, &u->conv_out, nn_norm(t, &u->norm_out, x), NULL, NULL, NULL);
    tape_name(t, y, "unet.out");
    return y;
}
