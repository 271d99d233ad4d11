/* The tape: gradients through views, concatenations and fan-out against differences; modes to the same bits; failures that latch; memory given back. */
#include "base/err.h"
#include "base/rng.h"
#include "nn/weights.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A small net with everything that the models have: a row for each image, residuals, a concatenation written and read in slices, q, k and v as slices of
 * one product, tokens as another view of a picture, text that several blocks read, and blocks as units. Every layer carries an adapter. */
enum { N = 2, H = 4, W = 3, C = 4, TOKENS = 5, TIME = 6, RANK = 2, MEMORY = 1 << 20 };
enum { ROW, CONV1, CONV2, MIX, Q, KV, OUT, QKV, OUT2, LAYERS };

typedef struct {
    Set    *set;
    Weights weights;
    Params  params;
    Layer   layer[LAYERS];
    Adapter adapter[LAYERS][MAX_SEG];
    Norm    norm;
    Tape    tape;
    double  x[N * H * W * C], emb[N * TIME], text[N * TOKENS * C], target[N * H * W * C], weight[N];
} Net;

static void draw(Rng *rng, double *x, size_t count, double scale)
{
    for (size_t i = 0; i < count; i++) x[i] = scale * rng_normal(rng);
}

static void attach(Net *net, int l)
{
    Layer *layer = &net->layer[l];
    for (int j = 0; j < layer->parts; j++) {
        Part    *part = &layer->part[j];
        Adapter *a = &net->adapter[l][j];
        *a = (Adapter){ .rank = RANK, .alpha = 3 };
        a->down = params_add(&net->params, name("%s.down", part->name).s, RANK, layer->geometry.kernel, layer->w.t.c, 0);
        a->up = params_add(&net->params, name("%s.up", part->name).s, part->o, 1, RANK, 0);
        part->adapter = a;
    }
}

static void open_layers(Net *net)
{
    Weights *w = &net->weights;
    weights_open(w, net->set);
    weights_linear(w, &net->layer[ROW], "row", TIME, C, 1);
    weights_conv(w, &net->layer[CONV1], "conv1", C, C, 3, 1, 1);
    weights_conv(w, &net->layer[CONV2], "conv2", C, C, 3, 1, 1);
    weights_conv(w, &net->layer[MIX], "mix", 2 * C, C, 1, 1, 0);
    weights_linear(w, &net->layer[Q], "q", C, C, 0);
    weights_fused(w, &net->layer[KV], (const char *[]){ "k", "v" }, 2, C, C, 0);
    weights_linear(w, &net->layer[OUT], "out", C, C, 1);
    weights_fused(w, &net->layer[QKV], (const char *[]){ "q2", "k2", "v2" }, 3, C, C, 1);
    weights_linear(w, &net->layer[OUT2], "out2", C, C, 1);
    weights_norm(w, &net->norm, "norm", C, 2, 1, 1e-5);
    assert_int_equal(w->failed, 0);
}

static void open_net(Net *net, size_t memory)
{
    Rng rng = rng_open(7, RNG_TEST, 0, 0);
    *net = (Net){ .set = set_open("ref64") };
    assert_non_null(net->set);
    open_layers(net);
    for (int i = 0; i < net->weights.slots; i++) {
        Tensor t = net->weights.slot[i].dst;            /* contiguous, as ref64's memory is the host's */
        draw(&rng, t.p, tensor_count(t), 0.3);
    }
    assert_int_equal(weights_pack(&net->weights), 0);
    params_open(&net->params, net->set);
    for (int l = 0; l < LAYERS; l++) attach(net, l);
    assert_int_equal(params_commit(&net->params), 0);
    for (int l = 0; l < LAYERS; l++)
        for (int j = 0; j < net->layer[l].parts; j++) {
            Adapter *a = &net->adapter[l][j];
            a->a.t = params_weight(&net->params, a->down), a->b.t = params_weight(&net->params, a->up);
            a->da = params_grad(&net->params, a->down), a->db = params_grad(&net->params, a->up);
            draw(&rng, a->a.t.p, tensor_count(a->a.t), 0.3);
            draw(&rng, a->b.t.p, tensor_count(a->b.t), 0.3);
        }
    draw(&rng, net->x, N * H * W * C, 1);
    draw(&rng, net->emb, N * TIME, 1);
    draw(&rng, net->text, N * TOKENS * C, 1);
    draw(&rng, net->target, N * H * W * C, 1);
    net->weight[0] = 0.5, net->weight[1] = 2;
    assert_int_equal(tape_open(&net->tape, net->set, memory), 0);
}

static void close_net(Net *net)
{
    tape_close(&net->tape);
    params_close(&net->params);
    weights_close(&net->weights);
}

static void freeze(Net *net)
{
    for (int l = 0; l < LAYERS; l++)
        for (int j = 0; j < net->layer[l].parts; j++) net->layer[l].part[j].adapter = NULL;
}

static Var *plain(Tape *t, const Layer *l, Var *x) { return nn_layer(t, l, x, NULL, NULL, NULL); }

/* y = x + conv2(norm(conv1 x + row)) + row; in: x, emb */
static void residual(Tape *t, const void *self, Var *const *in, Var *y)
{
    const Net *net = self;
    Var       *row = plain(t, &net->layer[ROW], in[1]);
    Var       *h = nn_layer(t, &net->layer[CONV1], in[0], NULL, row, NULL);
    nn_layer(t, &net->layer[CONV2], nn_norm(t, &net->norm, h), y, row, in[0]);
}

/* y = x + out a; in: a, x. What TAPE_CHECKPOINT_FF forgets. */
static void project(Tape *t, const void *self, Var *const *in, Var *y)
{
    const Net *net = self;
    nn_layer(t, &net->layer[OUT], in[0], y, NULL, in[1]);
}

/* y = x + attention to the text, then to itself; in: x (n,h,w,c), text */
static void attention(Tape *t, const void *self, Var *const *in, Var *y)
{
    const Net *net = self;
    Var       *x = tape_tokens(t, in[0]), *q = plain(t, &net->layer[Q], x), *kv = plain(t, &net->layer[KV], in[1]);
    Var       *a = nn_attn(t, q, tape_channels(t, kv, 0, C), tape_channels(t, kv, C, C), 2, 0);
    Var       *h = tape_like(t, x, C);
    tape_feed_forward(t, project, net, (Var *[3]){ a, x }, h);
    Var *qkv = plain(t, &net->layer[QKV], h);
    a = nn_attn(t, tape_channels(t, qkv, 0, C), tape_channels(t, qkv, C, C), tape_channels(t, qkv, 2 * C, C), 2, 0);
    nn_layer(t, &net->layer[OUT2], a, tape_tokens(t, y), NULL, h);
}

static Var *unit(Tape *t, TapeUnit *fn, const Net *net, Var *x, Var *other, Var *y)
{
    if (!y) y = tape_like(t, x, C);
    tape_unit(t, fn, net, (Var *[3]){ x, other }, y);
    return y;
}

static Var *constant(Net *net, const double *x, int n, int h, int w, int c)
{
    return tape_constant(&net->tape, net->set->act, tensor_of((double *)x, T_F64, n, h, w, c));
}

/* Two blocks write the two halves of a concatenation, the second reading the first; the text goes into two blocks; everything ends in one prediction. */
static Var *forward(Net *net)
{
    Tape *t = &net->tape;
    Var  *x = constant(net, net->x, N, H, W, C), *emb = nn_act(t, constant(net, net->emb, N, 1, 1, TIME), ACT_SILU);
    Var  *text = nn_act(t, plain(t, &net->layer[Q], constant(net, net->text, N, 1, TOKENS, C)), ACT_QUICK_GELU);
    text->wide = 1;
    Var *whole = tape_new(t, net->set->act, N, H, W, 2 * C);
    Var *skip = unit(t, residual, net, x, emb, tape_channels(t, whole, C, C));
    unit(t, attention, net, skip, text, tape_channels(t, whole, 0, C));
    Var *h = unit(t, residual, net, plain(t, &net->layer[MIX], whole), emb, NULL);
    return unit(t, attention, net, h, text, NULL);
}

/* The loss, summed over the images with their weights; and, unless mode is TAPE_INFER, all gradients. NaN when the tape has failed. */
static double run(Net *net, TapeMode mode)
{
    Tape *t = &net->tape;
    assert_int_equal(params_clear(&net->params), 0);
    tape_reset(t, mode);
    Var *y = forward(net), *target = constant(net, net->target, N, H, W, C), *weight = constant(net, net->weight, N, 1, 1, 1);
    Var *loss = nn_loss(t, y, target, weight, net->params.ctl, LOSS_L2, 1);
    double sum = tape_status(t) ? NAN : ((double *)loss->t.p)[0] + ((double *)loss->t.p)[1];    /* read now: backwards, activations are given back */
    if (mode != TAPE_INFER) tape_backward(t);
    return tape_status(t) ? NAN : sum;
}

/* ---- gradients ---- */

/* phi(h) = loss with the parameter moved by h r. */
static double moved(Net *net, int param, const double *before, const double *r, double h, double *now)
{
    const Param *p = &net->params.param[param];
    size_t       count = (size_t)p->o * (size_t)(p->k * p->k) * (size_t)p->i;
    for (size_t i = 0; i < count; i++) now[i] = before[i] + h * r[i];
    assert_int_equal(params_set(&net->params, param, now), 0);
    return run(net, TAPE_INFER);
}

/* phi'(0) by four-point differences: truncation falls with h^4. */
static double slope(Net *net, int param, const double *before, const double *r, double h, double *now)
{
    double near = moved(net, param, before, r, h, now) - moved(net, param, before, r, -h, now);
    double far = moved(net, param, before, r, 2 * h, now) - moved(net, param, before, r, -2 * h, now);
    return (8 * near - far) / (12 * h);
}

/* Along a random direction of each parameter. D(h) - D(h/2) is 15 times the truncation of D(h/2); each phi is off by about as many roundings as there are
 * ops behind each other, 32, and 18 / 12h of it gets into D(h), h here h/2. */
static void test_gradients(void **state)
{
    Net    net;
    Rng    rng = rng_open(3, RNG_TEST, 0, 0);
    double g[256], before[256], r[256], now[256], h = pow(DBL_EPSILON, 0.2) / 8;
    (void)state;
    open_net(&net, MEMORY);
    for (int i = 0; i < net.params.params; i++) {
        Tensor grad = params_grad(&net.params, i);
        size_t count = tensor_count(grad);
        double want = 0, size = 0, loss = run(&net, TAPE_TRAIN);
        assert_true(count <= 256 && isfinite(loss));
        memcpy(g, grad.p, count * sizeof *g);
        assert_int_equal(params_get(&net.params, i, before), 0);
        draw(&rng, r, count, 1);
        for (size_t k = 0; k < count; k++) want += g[k] * r[k], size += fabs(g[k] * r[k]);
        double coarse = slope(&net, i, before, r, h, now), fine = slope(&net, i, before, r, h / 2, now);
        double bound = fabs(coarse - fine) + 3 / h * 32 * DBL_EPSILON * loss + 32 * DBL_EPSILON * size;
        assert_int_equal(params_set(&net.params, i, before), 0);
        if (!(fabs(fine - want) <= bound)) fail_msg("%s: %.12g by the tape, %.12g +- %.2g by differences", net.params.param[i].name, want, fine, bound);
        if (!(bound < 1e-4 * size)) fail_msg("%s: a bound of %.2g for %.2g tests nothing", net.params.param[i].name, bound, size);
    }
    close_net(&net);
}

static void test_modes(void **state)
{
    Net    net;
    double loss[TAPE_CHECKPOINT + 1];
    size_t peak[TAPE_CHECKPOINT + 1];
    (void)state;
    open_net(&net, MEMORY);
    size_t  bytes = net.params.count * sizeof(double);
    double *kept = malloc(bytes);
    assert_non_null(kept);
    for (int mode = TAPE_INFER; mode <= TAPE_CHECKPOINT; mode++) {
        net.tape.arena.peak_bottom = 0;
        loss[mode] = run(&net, (TapeMode)mode);
        peak[mode] = net.tape.arena.peak_bottom;
        if (mode == TAPE_TRAIN) memcpy(kept, net.params.g.p, bytes);
        if (mode > TAPE_TRAIN) assert_memory_equal(net.params.g.p, kept, bytes);
        if (mode != TAPE_INFER) assert_int_equal(net.tape.arena.blocks, 0);     /* every gradient was given back */
        assert_memory_equal(&loss[mode], &loss[TAPE_INFER], sizeof *loss);
    }
    assert_true(peak[TAPE_INFER] < peak[TAPE_CHECKPOINT] && peak[TAPE_CHECKPOINT] < peak[TAPE_CHECKPOINT_FF] && peak[TAPE_CHECKPOINT_FF] < peak[TAPE_TRAIN]);
    free(kept);
    close_net(&net);
}

/* What comes before the first trainable layer costs nothing; with none at all, nothing is recorded. */
static void test_frozen(void **state)
{
    Net net;
    (void)state;
    open_net(&net, MEMORY);
    run(&net, TAPE_TRAIN);
    assert_true(net.params.count > 0);
    freeze(&net);
    tape_reset(&net.tape, TAPE_TRAIN);
    Var *y = forward(&net);
    assert_int_equal(tape_status(&net.tape), 0);
    assert_int_equal(net.tape.nodes, 0);
    assert_false(y->needs_grad);
    net.layer[OUT2].part[0].adapter = &net.adapter[OUT2][0];        /* in both attention blocks: what follows the first of them is recorded, no more */
    tape_reset(&net.tape, TAPE_TRAIN);
    y = forward(&net);
    assert_true(y->needs_grad && net.tape.node[0].self == &net.layer[OUT2]);
    close_net(&net);
}

/* ---- views ---- */

static void test_views(void **state)
{
    Net net;
    int acc;
    (void)state;
    open_net(&net, MEMORY);
    Tape *t = &net.tape;
    tape_reset(t, TAPE_TRAIN);
    Var *whole = tape_new(t, T_F64, N, H, W, 3 * C), *left = tape_channels(t, whole, 0, C), *rest = tape_channels(t, whole, C, 2 * C);
    Var *tokens = tape_tokens(t, left);
    assert_ptr_equal((double *)whole->t.p + C, rest->t.p);
    assert_ptr_equal(tokens->t.p, whole->t.p);
    assert_true(tokens->t.h == 1 && tokens->t.w == H * W && tokens->t.ld == 3 * C && rest->t.img == (size_t)H * W * 3 * C);
    whole->needs_grad = left->needs_grad = rest->needs_grad = tokens->needs_grad = 1;

    Tensor g = tape_grad(t, tokens, &acc);              /* written in tokens, read as a picture: one memory */
    assert_int_equal(acc, 0);
    assert_true(g.w == H * W && g.c == C && g.ld == 3 * C);
    assert_ptr_equal(tape_grad(t, left, &acc).p, g.p);
    assert_int_equal(acc, 1);
    assert_ptr_equal(tape_dy(left).p, g.p);
    Tensor right = tape_grad(t, rest, &acc);            /* the other range is still empty */
    assert_int_equal(acc, 0);
    assert_ptr_equal(right.p, (double *)g.p + C);
    Tensor all = tape_dy(whole);                        /* both ranges together are the whole */
    assert_ptr_equal(all.p, g.p);
    assert_int_equal(all.c, 3 * C);
    Var *frozen = tape_new(t, T_F64, 1, 1, 1, C);       /* needs no gradient: a throw-away, none of the heap's */
    int  blocks = t->arena.blocks;
    assert_non_null(tape_grad(t, frozen, &acc).p);
    assert_int_equal(t->arena.blocks, blocks);
    close_net(&net);
}

/* A widened gradient has the set's type of parameters. With ref64 both are double: the type is looked at on a set that says otherwise and runs nothing. */
static void test_wide(void **state)
{
    Net net;
    int acc;
    (void)state;
    open_net(&net, MEMORY);
    Set narrow = *net.set;
    narrow.act = T_F16, narrow.acc = T_F32;
    net.tape.set = &narrow;
    tape_reset(&net.tape, TAPE_TRAIN);
    Var *v = tape_new(&net.tape, T_F16, 1, 1, 1, C), *wide = tape_new(&net.tape, T_F16, 1, 1, 1, C);
    v->needs_grad = wide->needs_grad = wide->wide = 1;
    assert_int_equal(tape_grad(&net.tape, v, &acc).type, T_F16);
    assert_int_equal(tape_grad(&net.tape, wide, &acc).type, T_F32);
    close_net(&net);
}

/* ---- failures ---- */

/* With every amount of memory, in each mode: the right bits or a failure that says so; and the next run is untouched by it. */
static void test_memory(void **state)
{
    Net    net;
    int    failed = 0, good = 0;
    (void)state;
    open_net(&net, MEMORY);
    double want = run(&net, TAPE_TRAIN);
    size_t enough = net.tape.arena.peak_bottom + net.tape.arena.peak_top, full = net.tape.arena.size, step = enough / 97 / ARENA_ALIGN * ARENA_ALIGN;
    for (int mode = TAPE_INFER; mode <= TAPE_CHECKPOINT; mode++)
        for (size_t size = 0; size < enough + 2 * step; size += step) {
            net.tape.arena.size = size;
            err("nothing");
            double got = run(&net, (TapeMode)mode);
            if (tape_status(&net.tape)) failed++, assert_non_null(strstr(err_text(), "out of memory"));
            else good++, assert_memory_equal(&got, &want, sizeof got);
        }
    assert_true(failed > 100 && good > 2);
    net.tape.arena.size = full;
    double got = run(&net, TAPE_CHECKPOINT);
    assert_memory_equal(&got, &want, sizeof got);
    close_net(&net);
}

static void test_refused(void **state)
{
    Net net;
    (void)state;
    open_net(&net, MEMORY);
    tape_reset(&net.tape, TAPE_TRAIN);
    plain(&net.tape, &net.layer[ROW], constant(&net, net.x, N, H, W, C));       /* it takes TIME channels */
    assert_int_equal(tape_status(&net.tape), -1);
    assert_non_null(strstr(err_text(), "linear"));
    assert_non_null(forward(&net));                     /* nothing more runs */
    assert_int_equal(tape_backward(&net.tape), -1);
    assert_true(isfinite(run(&net, TAPE_TRAIN)));
    close_net(&net);
}

/* ---- names ---- */

typedef struct {
    int    calls;
    char   name[32];
    Tensor value;
} Seen;

static void see(void *ctx, const char *text, Tensor value)
{
    Seen *seen = ctx;
    seen->calls++, seen->value = value;
    strcpy(seen->name, text);
}

static void test_names(void **state)
{
    Net  net;
    Seen seen = { 0 };
    (void)state;
    open_net(&net, MEMORY);
    tape_reset(&net.tape, TAPE_INFER);
    Var *v = constant(&net, net.x, N, H, W, C);
    tape_name(&net.tape, v, "block.%d", 3);             /* nobody listens */
    net.tape.tap = see, net.tape.tap_ctx = &seen;
    tape_name(&net.tape, v, "block.%d", 4);
    assert_int_equal(seen.calls, 1);
    assert_string_equal(seen.name, "block.4");
    assert_ptr_equal(seen.value.p, v->t.p);
    close_net(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_modes),  cmocka_unit_test(test_frozen),  cmocka_unit_test(test_views),
        cmocka_unit_test(test_wide),      cmocka_unit_test(test_memory), cmocka_unit_test(test_refused), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
