#include "base/err.h"
#include "ops/null_count.h"
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    Set        set;
    const Set *like;
    size_t     next;                                    /* the next address */
    NullCount  count;
} NullSet;

static size_t need(const Set *set, const Op *op) { return ((const NullSet *)set)->like->need(((const NullSet *)set)->like, op); }

static int run(Set *set, const Op *op)
{
    NullCount *count = &((NullSet *)set)->count;
    if (op_check(set, op)) return -1;
    Cost   cost = op_cost(op);
    size_t scratch = op->scratch ? need(set, op) : 0, end = (size_t)(uintptr_t)op->scratch + scratch;
    count->cost.flops += cost.flops, count->cost.bytes += cost.bytes, count->calls++;
    if (end > count->end) count->end = end, count->scratch = scratch;
    return 0;
}

static size_t pack(Set *set, Weight *w, void *dst) { return (void)set, (void)w, (void)dst, 0; }

static void *alloc(Set *set, size_t bytes)
{
    NullSet *null = (NullSet *)set;
    size_t   at = null->next;
    null->next += (bytes + 63) / 64 * 64, null->count.allocated += bytes;
    return (void *)at;
}

static void release(Set *set, void *p, size_t bytes) { (void)set, (void)p, (void)bytes; }
static int  move(Set *set, Tensor to, Tensor from) { return (void)set, (void)to, (void)from, 0; }
static int  sync_set(Set *set) { return (void)set, 0; }

Set *set_null(const Set *like)
{
    NullSet *null = calloc(1, sizeof *null);
    if (!null) return err("out of memory for a set"), NULL;
    *null = (NullSet){ .set = { like->name, like->act, like->acc, NULL, run, need, pack, alloc, release, move, move, sync_set, 0, NULL, NULL },
                       .like = like,
                       .next = 1 << 20 };
    return &null->set;
}

const NullCount *null_count(const Set *null) { return &((const NullSet *)null)->count; }
