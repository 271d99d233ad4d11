#include "nn/param.h"
#include "base/err.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void params_open(Params *p, Set *set) { *p = (Params){ .set = set, .scale = set_loss_scale(set) }; }

static size_t block_bytes(const Params *p, Type type) { return p->count * type_size(type); }

static void block_release(Params *p, Tensor *t)
{
    if (t->p) p->set->release(p->set, t->p, tensor_count(*t) * type_size(t->type));
    t->p = NULL;
}

void params_close(Params *p)
{
    for (int i = 0; i < p->params; i++) free(p->param[i].name);
    free(p->param);
    if (p->work.p == p->w.p) p->work.p = NULL;
    Tensor *block[] = { &p->w, &p->m, &p->v, &p->g, &p->work, &p->ctl };
    for (size_t i = 0; i < sizeof block / sizeof *block; i++) block_release(p, block[i]);
    if (p->scratch) p->set->release(p->set, p->scratch, p->scratch_bytes);
    *p = (Params){ 0 };
}

int params_add(Params *p, const char *name, int o, int k, int i, int group)
{
    CHECK(!p->w.p && group < PARAM_GROUPS && (group == p->groups || group == p->groups - 1), "%s: group %d after %d", name, group, p->groups - 1);
    if (p->params == p->room) {
        int    room = p->room ? 2 * p->room : 256;
        Param *more = realloc(p->param, (size_t)room * sizeof *more);
        if (!more) return err("out of memory for %d parameters", room);
        p->param = more, p->room = room;
    }
    char *copy = strdup(name);
    if (!copy) return err("out of memory for %s", name);
    if (group == p->groups) p->group_start[p->groups++] = p->count;
    p->param[p->params] = (Param){ copy, o, k, i, group, p->count };
    p->count += ((size_t)o * (size_t)k * (size_t)k * (size_t)i + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
    p->group_start[p->groups] = p->count;
    return p->params++;
}

static int block_alloc(const Params *p, Tensor *t, Type type)
{
    *t = tensor_of(p->set->alloc(p->set, block_bytes(p, type)), type, 1, 1, 1, (int)p->count);
    return t->p ? 0 : -1;
}

int params_commit(Params *p)
{
    Set *set = p->set;
    if (p->count == 0) return err("nothing to train: no module was chosen");
    if (p->count > (size_t)1 << 30) return err("%zu trainable numbers: more than 2^30", p->count);
    if (block_alloc(p, &p->w, set->acc) || block_alloc(p, &p->m, set->acc) || block_alloc(p, &p->v, set->acc) || block_alloc(p, &p->g, set->acc)) return -1;
    p->work = p->w;
    if (set->act != set->acc && block_alloc(p, &p->work, set->act)) return -1;
    p->ctl = tensor_of(set->alloc(set, CTL_COUNT * type_size(set->acc)), set->acc, 1, 1, 1, CTL_COUNT);
    return p->ctl.p ? 0 : -1;
}

static Tensor view(const Params *p, Tensor block, int index)
{
    const Param *a = &p->param[index];
    return tensor_of(tensor_at(block, a->offset), block.type, a->o, a->k, a->k, a->i);
}

Tensor params_weight(const Params *p, int index) { return view(p, p->work, index); }
Tensor params_grad(const Params *p, int index) { return view(p, p->g, index); }

static Tensor host_like(Tensor t, double *value) { return tensor_of(value, T_F64, t.n, t.h, t.w, t.c); }

int params_set(Params *p, int index, const double *value)
{
    Tensor w = view(p, p->w, index), host = host_like(w, (double *)value);
    if (p->set->upload(p->set, w, host)) return -1;
    return p->work.p == p->w.p ? 0 : p->set->upload(p->set, view(p, p->work, index), host);
}

int params_get(const Params *p, int index, double *value)
{
    Tensor w = view(p, p->w, index);
    return p->set->download(p->set, host_like(w, value), w);
}

static int control_set(Params *p, int first, const double *value, int n)
{
    return p->set->upload(p->set, tensor_channels(p->ctl, first, n), tensor_of((double *)value, T_F64, 1, 1, 1, n));
}

int params_control(const Params *p, int index, double *value)
{
    return p->set->download(p->set, tensor_of(value, T_F64, 1, 1, 1, 1), tensor_channels(p->ctl, index, 1));
}

/* Runs an op over the block, or a range of it. Its scratch is kept for the next step. */
static int run(Params *p, Op op)
{
    Set   *set = p->set;
    size_t need = set->need(set, &op);
    if (need > p->scratch_bytes) {
        if (p->scratch) set->release(set, p->scratch, p->scratch_bytes);
        p->scratch = set->alloc(set, need);
        p->scratch_bytes = p->scratch ? need : 0;
        if (!p->scratch) return -1;
    }
    op.scratch = p->scratch, op.place.part = "optimizer";
    return set->run(set, &op);
}

int params_clear(Params *p)
{
    double start[CTL_COUNT] = { [CTL_SCALE] = p->scale };
    return run(p, op_fill(p->g, 0)) || control_set(p, 0, start, CTL_COUNT) ? -1 : 0;
}

static Tensor range(Tensor block, size_t from, size_t to) { return tensor_channels(block, (int)from, (int)(to - from)); }

int params_update(Params *p, const ParamUpdate *u)
{
    double head[2] = { p->scale, u->clip }, tail[CTL_COUNT - CTL_BIAS1] = { 1 - pow(u->beta1, u->step), 1 - pow(u->beta2, u->step) };
    for (int g = 0; g < p->groups; g++) tail[CTL_LR - CTL_BIAS1 + g] = u->lr[g];
    if (control_set(p, CTL_SCALE, head, 2) || control_set(p, CTL_BIAS1, tail, CTL_COUNT - CTL_BIAS1) || run(p, op_sumsq(p->ctl, p->g))) return -1;
    for (int g = 0; g < p->groups; g++) {
        size_t from = p->group_start[g], to = p->group_start[g + 1];
        Tensor work = p->work.p == p->w.p ? NONE : range(p->work, from, to);
        Op     step = op_update(range(p->w, from, to), range(p->m, from, to), range(p->v, from, to), work, range(p->g, from, to), p->ctl, u->kind, g, u->beta1,
                                u->beta2, u->eps, u->decay);
        if (run(p, step)) return -1;
    }
    return 0;
}
