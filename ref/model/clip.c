#include "model/clip.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

/* A size, which has to be there: from 1 to most, more than any text encoder has. */
static int size_of(Json *j, const char *key, int most)
{
    int size = json_need_int(j, key);
    if (size < 1 || size > most) json_fail(j, key, "expected a number from 1 to %d, found %d", most, size);
    return size;
}

int clip_config(ClipConfig *c, Json *j)
{
    *c = (ClipConfig){ .vocab = size_of(j, "vocab_size", 1 << 24),
                       .width = size_of(j, "hidden_size", 1 << 16),
                       .layers = size_of(j, "num_hidden_layers", 1 << 10),
                       .heads = size_of(j, "num_attention_heads", 1 << 16),
                       .hidden = size_of(j, "intermediate_size", 1 << 20),
                       .length = size_of(j, "max_position_embeddings", 1 << 16),
                       .eps = json_double(j, "layer_norm_eps", 1e-5) };
    const char *act = json_string(j, "hidden_act", "quick_gelu");
    if (strcmp(act, "quick_gelu") == 0) c->act = ACT_QUICK_GELU;
    else if (strcmp(act, "gelu") == 0) c->act = ACT_GELU;
    else json_fail(j, "hidden_act", "expected quick_gelu or gelu, found %s", act);
    if (c->heads > 0 && c->width % c->heads) json_fail(j, "num_attention_heads", "%d channels cannot be divided among %d heads", c->width, c->heads);
    return json_close(j);
}

int clip_open(Clip *clip, const ClipConfig *config, Set *set)
{
    Weights *w = &clip->weights;
    int      c = config->width;
    *clip = (Clip){ .config = *config, .layer = calloc((size_t)config->layers, sizeof *clip->layer), .run = config->layers };
    weights_open(w, set);
    if (!clip->layer) return err("out of memory for %d text layers", config->layers);
    weights_table(w, &clip->token, "text_model.embeddings.token_embedding.weight", config->vocab, c);
    weights_table(w, &clip->position, "text_model.embeddings.position_embedding.weight", config->length, c);
    for (int i = 0; i < config->layers; i++) {
        ClipLayer *l = &clip->layer[i];
        Name       p = name("text_model.encoder.layers.%d", i);
        Name       q = name("%s.self_attn.q_proj", p.s), k = name("%s.self_attn.k_proj", p.s), v = name("%s.self_attn.v_proj", p.s);
        l->heads = config->heads, l->act = config->act;
        weights_norm(w, &l->norm1, name("%s.layer_norm1", p.s).s, c, 0, 0, config->eps);
        weights_fused(w, &l->qkv, (const char *[]){ q.s, k.s, v.s }, 3, c, c, 1);
        weights_linear(w, &l->out, name("%s.self_attn.out_proj", p.s).s, c, c, 1);
        weights_norm(w, &l->norm2, name("%s.layer_norm2", p.s).s, c, 0, 0, config->eps);
        weights_linear(w, &l->fc1, name("%s.mlp.fc1", p.s).s, c, config->hidden, 1);
        weights_linear(w, &l->fc2, name("%s.mlp.fc2", p.s).s, config->hidden, c, 1);
    }
    weights_norm(w, &clip->final, "text_model.final_layer_norm", c, 0, 0, config->eps);
    return w->failed ? -1 : 0;
}

int clip_skip(Clip *clip, int skip)
{
    int layers = clip->config.layers;
    if (skip > layers) return err("--clip_skip %d: at most %d was expected, the layers of this model's text encoder", skip, layers);
    clip->run = skip > 1 ? layers - (skip - 1) : layers;
    return 0;
}

int clip_runs(const Clip *clip, const Layer *layer)
{
    for (int i = clip->run; i < clip->config.layers; i++) {
        const ClipLayer *l = &clip->layer[i];
        if (layer == &l->qkv || layer == &l->out || layer == &l->fc1 || layer == &l->fc2) return 0;
    }
    return 1;
}

static size_t bytes_of(Tensor t) { return tensor_count(t) * type_size(t.type); }

static void release(Clip *clip, Tensor t)
{
    if (t.p) clip->weights.set->release(clip->weights.set, t.p, bytes_of(t));
}

int clip_learn(Clip *clip, const double *vectors, int n)
{
    Set    *set = clip->weights.set;
    int     c = clip->config.width, old = clip->learned.n;
    Tensor  all = tensor_of(NULL, set->acc, old + n, 1, 1, c), host = tensor_of(NULL, T_F64, old + n, 1, 1, c);
    double *value = host.p = malloc(bytes_of(host));
    if (!value) return err("out of memory for %d vectors", old + n);
    memcpy(value + (size_t)old * (size_t)c, vectors, (size_t)n * (size_t)c * sizeof *value);
    all.p = set->alloc(set, bytes_of(all));
    int status = !all.p || (old && set->download(set, tensor_images(host, 0, old), clip->learned)) || set->upload(set, all, host) ? -1 : 0;
    release(clip, status ? all : clip->learned);
    if (!status) clip->learned = all;
    free(value);
    return status ? -1 : clip->config.vocab + old;
}

void clip_close(Clip *clip)
{
    release(clip, clip->learned);
    weights_close(&clip->weights);
    free(clip->layer);
    *clip = (Clip){ 0 };
}

/* x += attn(norm x);  x += mlp(norm x) */
static void layer_unit(Tape *t, const void *self, Var *const *in, Var *y)
{
    const ClipLayer *l = self;
    Var             *x = in[0];
    int              c = x->t.c;
    Var             *qkv = nn_layer(t, &l->qkv, nn_norm(t, &l->norm1, x), NULL, NULL, NULL);        /* (n,1,t,3c) */
    Var             *a = nn_attn(t, tape_channels(t, qkv, 0, c), tape_channels(t, qkv, c, c), tape_channels(t, qkv, 2 * c, c), l->heads, 1);
    Var             *h = nn_layer(t, &l->out, a, NULL, NULL, x);
    Var             *m = nn_act(t, nn_layer(t, &l->fc1, nn_norm(t, &l->norm2, h), NULL, NULL, NULL), l->act);
    nn_layer(t, &l->fc2, m, y, NULL, h);
}

Var *clip_forward(Tape *t, const Clip *clip, const Var *ids)
{
    Tensor position = tensor_of(clip->position.p, clip->position.type, 1, 1, ids->t.w, clip->config.width);
    CHECK(ids->t.w <= clip->config.length, "%d tokens, %d positions", ids->t.w, clip->config.length);
    tape_part(t, "text encoder");
    Var *x = nn_embed(t, ids, clip->token, clip->learned, position);
    for (int i = 0; i < clip->run; i++) {
        Var *y = tape_like(t, x, x->t.c);
        tape_unit(t, layer_unit, &clip->layer[i], (Var *[3]){ x }, y);
        tape_name(t, y, "text.layer.%d", i);
        x = y;
    }
    Var *y = nn_norm(t, &clip->final, x);
    y->wide = 1;
    tape_name(t, y, "text.hidden");
    return y;
}
