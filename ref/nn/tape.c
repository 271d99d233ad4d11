#include "nn/tape.h"
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512 };
struct VarChunk {
    VarChunk *next;
    int       used;
    Var       var[CHUNK];
};

int tape_open(Tape *t, Set *set, size_t bytes)
{
    *t = (Tape){ .set = set };
    return tape_reserve(t, bytes);
}

static void release(Tape *t)
{
    if (t->bytes) t->set->release(t->set, t->arena.base, t->bytes);
    arena_close(&t->arena);
    t->bytes = 0;
}

int tape_reserve(Tape *t, size_t bytes)
{
    if (bytes <= t->bytes) return 0;
    release(t);
    void *memory = t->set->alloc(t->set, bytes);
    if (!memory) return -1;
    arena_open(&t->arena, memory, bytes);
    t->bytes = bytes;
    return 0;
}

void tape_close(Tape *t)
{
    for (VarChunk *c = t->vars, *next; c; c = next) next = c->next, free(c);
    free(t->node);
    release(t);
    *t = (Tape){ 0 };
}

const char *tape_mode_name(TapeMode mode)
{
    static const char *const names[] = { "without gradients", "without gradient checkpointing", "with gradient checkpointing of feed-forward layers",
                                         "with gradient checkpointing" };
    return names[mode];
}

void tape_reset(Tape *t, TapeMode mode)
{
    arena_reset(&t->arena, 0);
    t->arena.blocks = 0;
    for (VarChunk *c = t->vars; c; c = c->next) c->used = 0;
    t->failed = 0, t->nodes = 0, t->at = (OpPlace){ 0 };
    tape_mode(t, mode);
}

void tape_mode(Tape *t, TapeMode mode) { t->mode = mode, t->recording = mode != TAPE_INFER; }

int tape_status(const Tape *t) { return t->failed ? -1 : 0; }

/* ---- values ---- */

static Var *var_new(Tape *t)
{
    static Var spare;                                   /* what a failed tape hands out: harmless, since a failed tape runs nothing */
    VarChunk  *c = t->vars;
    while (c && c->used == CHUNK) c = c->next;
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c) return t->failed = 1, err("out of memory for the tape"), spare = (Var){ 0 }, &spare;
        c->next = t->vars, t->vars = c;
    }
    Var *v = &c->var[c->used++];
    *v = (Var){ 0 };
    return v;
}

Var *tape_new(Tape *t, Type type, int n, int h, int w, int c)
{
    Var *v = var_new(t);
    v->t = tape_temp(t, type, n, h, w, c);
    v->pending = c;
    return v;
}

Var *tape_like(Tape *t, const Var *v, int c) { return tape_new(t, t->set->act, v->t.n, v->t.h, v->t.w, c); }

Var *tape_constant(Tape *t, Type type, Tensor host)
{
    Var *v = tape_new(t, type, host.n, host.h, host.w, host.c);
    if (!t->failed && t->set->upload(t->set, v->t, host)) t->failed = 1;
    return v;
}

Var *tape_channels(Tape *t, Var *of, int c0, int c)
{
    CHECK(!of->of && !of->as && c0 >= 0 && c0 + c <= of->t.c, "channels %d..%d of %d", c0, c0 + c, of->t.c);
    Var *v = var_new(t);
    v->t = tensor_channels(of->t, c0, c);
    v->of = of, v->c0 = c0, v->needs_grad = of->needs_grad;
    return v;
}

Var *tape_tokens(Tape *t, Var *as)
{
    Var *v = var_new(t);
    v->t = tensor_tokens(as->t);
    v->as = as, v->needs_grad = as->needs_grad;
    return v;
}

void tape_name(Tape *t, const Var *v, const char *format, ...)
{
    if (!t->tap || t->failed) return;
    char    name[160];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    t->tap(t->tap_ctx, name, v->t);
}

void tape_part(Tape *t, const char *part) { t->at = (OpPlace){ part, NULL, NULL }; }
void tape_module(Tape *t, const char *module) { t->at.module = module, t->at.detail = NULL; }

Tensor tape_temp(Tape *t, Type type, int n, int h, int w, int c)
{
    Tensor x = tensor_of(NULL, type, n, h, w, c);
    if (!t->failed && !(x.p = arena_push(&t->arena, tensor_count(x) * type_size(type)))) t->failed = 1;
    return x;
}

size_t tape_mark(const Tape *t) { return arena_mark(&t->arena); }
void   tape_drop(Tape *t, size_t mark)
{
    if (!t->recording) arena_reset(&t->arena, mark);
}

void tape_run(Tape *t, Op op)
{
    if (t->failed) return;
    op.place = t->at;
    size_t mark = arena_mark(&t->arena), need = t->set->need(t->set, &op);
    if (need && !(op.scratch = arena_push(&t->arena, need))) {
        t->failed = 1;
        return;
    }
    if (t->set->run(t->set, &op)) t->failed = 1;
    arena_reset(&t->arena, mark);
}

/* ---- gradients ---- */

static Var *root_of(Var *v) { return v->of ? v->of : v; }

static void set_needs_grad(Var *y)
{
    if (y->as) set_needs_grad(y->as);
    root_of(y)->needs_grad = y->needs_grad = 1;
}

/* Nothing more will be differentiated through y: count its channels off, and let the gradient go with the last. */
static void settle(Tape *t, Var *y)
{
    while (y->as) y = y->as;
    if (y->settled) return;
    Var *root = root_of(y);
    y->settled = 1;
    root->pending -= y->t.c;
    CHECK(root->pending >= 0, "%d channels settled twice", -root->pending);
    if (root->pending == 0 && root->g.p) {
        arena_give(&t->arena, root->g.p);
        root->g.p = NULL;
    }
}

Node *tape_record(Tape *t, void (*back)(Tape *, Node *), Var *y, Var *const *x, int n, int trainable)
{
    int needs = trainable;
    CHECK(n <= NODE_INPUTS, "%d inputs", n);
    for (int i = 0; i < n; i++) needs |= x[i] && x[i]->needs_grad;
    if (t->mode == TAPE_INFER || t->failed) return NULL;
    if (!needs) return settle(t, y), NULL;
    set_needs_grad(y);
    if (!t->recording) return NULL;
    if (t->nodes == t->room) {
        int   room = t->room ? 2 * t->room : 1024;
        Node *more = realloc(t->node, (size_t)room * sizeof *more);
        if (!more) return t->failed = 1, err("out of memory for %d tape nodes", room), NULL;
        t->node = more, t->room = room;
    }
    Node *node = &t->node[t->nodes++];
    *node = (Node){ .back = back, .at = t->at, .y = y, .mark = arena_mark(&t->arena) };
    for (int i = 0; i < n; i++) node->x[i] = x[i];
    return node;
}

/* The part of a root's gradient that belongs to a view, in the view's shape. */
static Tensor view_of(Tensor g, const Var *v, int c0)
{
    g = tensor_channels(g, c0, v->t.c);
    g.h = v->t.h, g.w = v->t.w;
    return g;
}

Tensor tape_dy(const Var *y)
{
    const Var *v = y;
    while (v->as) v = v->as;
    const Var *root = v->of ? v->of : v;
    CHECK(root->g.p && (root->filled || v->filled || root->filled_c == root->t.c), "the gradient is not complete: %d of %d channels", root->filled_c,
          root->t.c);
    return view_of(root->g, y, v->c0);
}

Tensor tape_grad(Tape *t, Var *x, int *acc)
{
    Var *v = x;
    while (v->as) v = v->as;
    Var *root = root_of(v);
    *acc = 0;
    if (!x->needs_grad) return tape_temp(t, t->set->act, x->t.n, x->t.h, x->t.w, x->t.c);
    if (!root->g.p) {
        root->g = tensor_of(NULL, root->wide ? t->set->acc : t->set->act, root->t.n, root->t.h, root->t.w, root->t.c);
        if (!t->failed && !(root->g.p = arena_take(&t->arena, tensor_count(root->g) * type_size(root->g.type)))) t->failed = 1;
    }
    *acc = root->filled || v->filled;
    if (v == root) CHECK(root->filled_c == 0 || root->filled, "a whole gradient written after %d channels of it", root->filled_c);
    else if (!*acc) root->filled_c += v->t.c;
    v->filled = 1;
    return view_of(root->g, x, v->c0);
}

static int has_gradient(const Var *y)
{
    while (y->as) y = y->as;
    return y->filled || (y->of ? y->of->filled : y->filled_c > 0);
}

static void backward_to(Tape *t, int first)
{
    while (t->nodes > first && !t->failed) {
        Node node = t->node[--t->nodes];                /* a copy: a unit that runs again records over its place */
        arena_reset(&t->arena, node.mark);
        t->at = node.at;
        if (has_gradient(node.y)) node.back(t, &node);
        settle(t, node.y);
    }
}

/* ---- units ---- */

static void unit_back(Tape *t, Node *node)
{
    int first = t->nodes;
    t->recording = 1;
    node->unit(t, node->self, node->x, node->y);
    t->recording = 0;
    backward_to(t, first);
}

/* Runs the unit, keeps nothing of it but y, and leaves one node that runs it again. */
static void run_and_forget(Tape *t, TapeUnit *fn, const void *self, Var *const in[NODE_INPUTS], Var *y)
{
    size_t mark = arena_mark(&t->arena);
    int    recording = t->recording;
    t->recording = 0;
    fn(t, self, in, y);
    t->recording = recording;
    arena_reset(&t->arena, mark);
    Node *node = tape_record(t, unit_back, y, in, NODE_INPUTS, y->needs_grad);
    if (node) node->unit = fn, node->self = self;
}

void tape_unit(Tape *t, TapeUnit *fn, const void *self, Var *const in[NODE_INPUTS], Var *y)
{
    if (t->mode == TAPE_TRAIN || t->mode == TAPE_CHECKPOINT_FF) fn(t, self, in, y);
    else run_and_forget(t, fn, self, in, y);
}

void tape_feed_forward(Tape *t, TapeUnit *fn, const void *self, Var *const in[NODE_INPUTS], Var *y)
{
    if (t->mode == TAPE_CHECKPOINT_FF) run_and_forget(t, fn, self, in, y);
    else fn(t, self, in, y);
}

int tape_backward(Tape *t)
{
    t->recording = 0;
    backward_to(t, 0);
    return tape_status(t);
}
