#include "model/resnet.h"

void resnet_open(Weights *w, Resnet *r, const char *prefix, int in, int out, int time, int groups, double eps)
{
    *r = (Resnet){ .has_time = time > 0, .has_shortcut = in != out };
    weights_norm(w, &r->norm1, name("%s.norm1", prefix).s, in, groups, 1, eps);
    weights_conv(w, &r->conv1, name("%s.conv1", prefix).s, in, out, 3, 1, 1);
    if (time) weights_linear(w, &r->time, name("%s.time_emb_proj", prefix).s, time, out, 1);
    weights_norm(w, &r->norm2, name("%s.norm2", prefix).s, out, groups, 1, eps);
    weights_conv(w, &r->conv2, name("%s.conv2", prefix).s, out, out, 3, 1, 1);
    if (r->has_shortcut) weights_conv(w, &r->shortcut, name("%s.conv_shortcut", prefix).s, in, out, 1, 1, 0);
}

static void resnet_unit(Tape *t, const void *self, Var *const *in, Var *y)
{
    const Resnet *r = self;
    Var          *x = in[0];
    Var          *row = r->has_time ? nn_layer(t, &r->time, in[1], NULL, NULL, NULL) : NULL;
    Var          *h = tape_like(t, x, r->conv1.w.t.n);
    size_t        mark = tape_mark(t);
    nn_layer(t, &r->conv1, nn_norm(t, &r->norm1, x), h, row, NULL);
    tape_drop(t, mark);
    Var *skip = r->has_shortcut ? nn_layer(t, &r->shortcut, x, NULL, NULL, NULL) : x;
    nn_layer(t, &r->conv2, nn_norm(t, &r->norm2, h), y, NULL, skip);
}

void resnet_forward(Tape *t, const Resnet *r, Var *x, Var *emb, Var *y) { tape_unit(t, resnet_unit, r, (Var *[3]){ x, emb }, y); }
