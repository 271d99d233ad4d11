#include "model/vae.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

int vae_config(VaeConfig *c, Json *j)
{
    *c = (VaeConfig){ .layers = json_int(j, "layers_per_block", 2), .latent = json_int(j, "latent_channels", 4), .groups = json_int(j, "norm_num_groups", 32),
                      .attention = json_bool(j, "mid_block_add_attention", 1), .quant = json_bool(j, "use_quant_conv", 1),
                      .post_quant = json_bool(j, "use_post_quant_conv", 1), .scaling = json_double(j, "scaling_factor", 0.18215) };
    c->levels = json_ints(j, "block_out_channels", c->channels, VAE_LEVELS);
    if (c->levels < 1) json_fail(j, "block_out_channels", "expected the channels of each level");
    for (int i = 0; i < c->levels; i++) {
        if (c->channels[i] < 1 || c->channels[i] > 1 << 16) json_fail(j, "block_out_channels", "expected numbers from 1 to 65536, found %d", c->channels[i]);
        if (c->groups < 1 || c->channels[i] % c->groups)
            json_fail(j, "norm_num_groups", "%d channels cannot be divided into %d groups", c->channels[i], c->groups);
    }
    if (c->layers < 1 || c->layers > VAE_LAYERS) json_fail(j, "layers_per_block", "expected a number from 1 to %d, found %d", VAE_LAYERS, c->layers);
    if (c->latent < 1 || c->latent > 64) json_fail(j, "latent_channels", "expected a number from 1 to 64, found %d", c->latent);
    if (json_int(j, "in_channels", 3) != 3 || json_int(j, "out_channels", 3) != 3) json_fail(j, "in_channels", "expected RGB pictures: 3 channels");
    if (json_double(j, "shift_factor", 0) != 0) json_fail(j, "shift_factor", "expected none (a shift: SD3)");
    if (!(c->scaling > 0)) json_fail(j, "scaling_factor", "expected a positive number, found %g", c->scaling);
    return json_close(j);
}

int vae_factor(const VaeConfig *c) { return 1 << (c->levels - 1); }

/* ---- weights ---- */

static const double eps = 1e-6;                         /* of every norm; the configuration does not say it */

static void middle_open(Weights *w, VaeMiddle *m, const char *half, int c, const VaeConfig *config)
{
    Name a = name("%s.mid_block.attentions.0", half), q = name("%s.to_q", a.s), k = name("%s.to_k", a.s), v = name("%s.to_v", a.s);
    resnet_open(w, &m->first, name("%s.mid_block.resnets.0", half).s, c, c, 0, config->groups, eps);
    m->attention = config->attention;
    if (m->attention) {
        weights_norm(w, &m->norm, name("%s.group_norm", a.s).s, c, config->groups, 0, eps);
        weights_fused(w, &m->qkv, (const char *[]){ q.s, k.s, v.s }, 3, c, c, 1);
        weights_linear(w, &m->out, name("%s.to_out.0", a.s).s, c, c, 1);
    }
    resnet_open(w, &m->second, name("%s.mid_block.resnets.1", half).s, c, c, 0, config->groups, eps);
}

static void encoder_open(Weights *w, VaeHalf *e, const VaeConfig *c)
{
    weights_conv(w, &e->conv_in, "encoder.conv_in", 3, c->channels[0], 3, 1, 1);
    for (int i = 0; i < c->levels; i++) {
        VaeLevel *l = &e->level[i];
        int       in = c->channels[i ? i - 1 : 0], out = c->channels[i];
        l->resnets = c->layers, l->has_resample = i < c->levels - 1;
        for (int j = 0; j < l->resnets; j++)
            resnet_open(w, &l->resnet[j], name("encoder.down_blocks.%d.resnets.%d", i, j).s, j ? out : in, out, 0, c->groups, eps);
        if (!l->has_resample) continue;
        weights_conv(w, &l->resample, name("encoder.down_blocks.%d.downsamplers.0.conv", i).s, out, out, 3, 2, 0);
        l->resample.geometry.pad[1] = l->resample.geometry.pad[3] = 1;          /* bottom and right only */
    }
    int c0 = c->channels[c->levels - 1];
    middle_open(w, &e->middle, "encoder", c0, c);
    weights_norm(w, &e->norm_out, "encoder.conv_norm_out", c0, c->groups, 1, eps);
    weights_conv(w, &e->conv_out, "encoder.conv_out", c0, 2 * c->latent, 3, 1, 1);
    if (c->quant) weights_conv(w, &e->quant, "quant_conv", 2 * c->latent, 2 * c->latent, 1, 1, 0);
}

static void decoder_open(Weights *w, VaeHalf *d, const VaeConfig *c)
{
    int c0 = c->channels[c->levels - 1], in = c0;
    if (c->post_quant) weights_conv(w, &d->quant, "post_quant_conv", c->latent, c->latent, 1, 1, 0);
    weights_conv(w, &d->conv_in, "decoder.conv_in", c->latent, c0, 3, 1, 1);
    middle_open(w, &d->middle, "decoder", c0, c);
    for (int i = 0; i < c->levels; i++) {
        VaeLevel *l = &d->level[i];
        int       out = c->channels[c->levels - 1 - i];
        l->resnets = c->layers + 1, l->has_resample = i < c->levels - 1;
        for (int j = 0; j < l->resnets; j++, in = out)
            resnet_open(w, &l->resnet[j], name("decoder.up_blocks.%d.resnets.%d", i, j).s, in, out, 0, c->groups, eps);
        if (l->has_resample) weights_conv(w, &l->resample, name("decoder.up_blocks.%d.upsamplers.0.conv", i).s, out, out, 3, 1, 1);
    }
    weights_norm(w, &d->norm_out, "decoder.conv_norm_out", c->channels[0], c->groups, 1, eps);
    weights_conv(w, &d->conv_out, "decoder.conv_out", c->channels[0], 3, 3, 1, 1);
}

int vae_open(Vae *v, const VaeConfig *config, Set *set)
{
    *v = (Vae){ .config = *config, .encoder = calloc(1, sizeof *v->encoder), .decoder = calloc(1, sizeof *v->decoder) };
    weights_open(&v->weights, set);
    if (!v->encoder || !v->decoder) return err("out of memory for the autoencoder");
    encoder_open(&v->weights, v->encoder, config);
    decoder_open(&v->weights, v->decoder, config);
    return v->weights.failed ? -1 : 0;
}

void vae_close(Vae *v)
{
    weights_close(&v->weights);
    free(v->encoder);
    free(v->decoder);
    *v = (Vae){ 0 };
}

/* ---- forward ---- */

/* y = x + out(attn(norm x)), one head over all channels. */
static void attention_unit(Tape *t, const void *self, Var *const *in, Var *y)
{
    const VaeMiddle *m = self;
    Var             *x = tape_tokens(t, in[0]);
    int              c = x->t.c;
    Var             *qkv = nn_layer(t, &m->qkv, nn_norm(t, &m->norm, x), NULL, NULL, NULL);        /* (n,1,h*w,3c) */
    Var             *a = nn_attn(t, tape_channels(t, qkv, 0, c), tape_channels(t, qkv, c, c), tape_channels(t, qkv, 2 * c, c), 1, 0);
    nn_layer(t, &m->out, a, tape_tokens(t, y), NULL, x);
}

static Var *resnet(Tape *t, const Resnet *r, Var *x)
{
    Var *y = tape_like(t, x, r->conv2.w.t.n);
    resnet_forward(t, r, x, NULL, y);
    return y;
}

static Var *middle(Tape *t, const VaeMiddle *m, Var *x)
{
    x = resnet(t, &m->first, x);
    if (m->attention) {
        Var *y = tape_like(t, x, x->t.c);
        tape_unit(t, attention_unit, m, (Var *[3]){ x }, y);
        x = y;
    }
    return resnet(t, &m->second, x);
}

static Var *plain(Tape *t, const Layer *l, Var *x) { return nn_layer(t, l, x, NULL, NULL, NULL); }

/* A level is a unit: of its states, the largest of the whole model, only the last stays. The encoder's halves its sides, the decoder's doubles them. */
static void level(Tape *t, const VaeLevel *l, Var *x, Var *y, int up)
{
    for (int j = 0; j < l->resnets - !l->has_resample; j++) x = resnet(t, &l->resnet[j], x);
    if (l->has_resample) nn_layer(t, &l->resample, up ? nn_up2(t, x) : x, y, NULL, NULL);
    else resnet_forward(t, &l->resnet[l->resnets - 1], x, NULL, y);
}
static void down_unit(Tape *t, const void *self, Var *const *in, Var *y) { level(t, self, in[0], y, 0); }
static void up_unit(Tape *t, const void *self, Var *const *in, Var *y) { level(t, self, in[0], y, 1); }

static Var *run_level(Tape *t, TapeUnit *unit, const VaeLevel *l, Var *x, int h, int w)
{
    Var *y = tape_new(t, t->set->act, x->t.n, h, w, l->resnet[l->resnets - 1].conv2.w.t.n);
    tape_unit(t, unit, l, (Var *[3]){ x }, y);
    return y;
}
static Var *down_level(Tape *t, const VaeLevel *l, Var *x) { return run_level(t, down_unit, l, x, x->t.h >> l->has_resample, x->t.w >> l->has_resample); }
static Var *up_level(Tape *t, const VaeLevel *l, Var *x) { return run_level(t, up_unit, l, x, x->t.h << l->has_resample, x->t.w << l->has_resample); }

Var *vae_encode(Tape *t, const Vae *v, Var *x)
{
    const VaeHalf *e = v->encoder;
    tape_part(t, "autoencoder");
    x = plain(t, &e->conv_in, x);
    for (int i = 0; i < v->config.levels; i++) x = down_level(t, &e->level[i], x);
    x = plain(t, &e->conv_out, nn_norm(t, &e->norm_out, middle(t, &e->middle, x)));
    if (v->config.quant) x = plain(t, &e->quant, x);
    tape_name(t, x, "vae.moments");
    return x;
}

Var *vae_decode(Tape *t, const Vae *v, Var *x)
{
    const VaeHalf *d = v->decoder;
    tape_part(t, "autoencoder");
    if (v->config.post_quant) x = plain(t, &d->quant, x);
    x = middle(t, &d->middle, plain(t, &d->conv_in, x));
    for (int i = 0; i < v->config.levels; i++) x = up_level(t, &d->level[i], x);
    x = plain(t, &d->conv_out, nn_norm(t, &d->norm_out, x));
    tape_name(t, x, "vae.decoded");
    return x;
}
