#include "through.h"
#include "base/err.h"
#include "ops/wrap.h"

static Wrap through;

static Tensor as(Tensor t, Type type, void *p) { return tensor_of(p, type, t.n, t.h, t.w, t.c); }

static int run(Set *set, const Op *op)
{
    Set   *other = wrap_inner(set);
    Op     mine = *op, given = *op;
    Tensor held[OP_TENSORS + 1] = { 0 };
    int    failed = 0;
    mine.scratch = NULL;
    for (int k = 0; k < OP_TENSORS; k++) {
        Tensor *t = op_tensor(&mine, k);
        if (!t->p || t->type != T_F64) continue;        /* ids are what they are */
        *t = as(*t, other->acc, NULL), t->p = other->alloc(other, tensor_count(*t) * type_size(t->type)), held[k] = *t;
        failed |= !t->p || other->upload(other, *t, *op_tensor(&given, k));
    }
    size_t need = other->need(other, &mine);
    if (need) held[OP_TENSORS] = tensor_of(mine.scratch = other->alloc(other, need), T_U8, 1, 1, 1, (int)need), failed |= !mine.scratch;
    failed = failed || other->run(other, &mine) || other->sync(other);
    for (int k = 0; !failed && k < 4; k++)
        if (held[k].p) failed = other->download(other, op->y[k], held[k]);
    for (int k = 0; k <= OP_TENSORS; k++)
        if (held[k].p) other->release(other, held[k].p, tensor_count(held[k]) * type_size(held[k].type));
    return failed ? -1 : 0;
}

static size_t need(const Set *set, const Op *op) { return (void)set, (void)op, 0; }

Set *through_open(Set *other)
{
    if (!other) return NULL;
    if (other->act != other->acc) return err("%s: expected a set of one type", other->name), NULL;
    wrap_open(&through, other);
    through.set.act = through.set.acc = T_F64, through.set.run = run, through.set.need = need;
    return &through.set;
}
