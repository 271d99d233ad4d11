#include "base/err.h"
#include "ops/ops.h"
#include <stdlib.h>

/* A set that checks every Op as another set would and computes nothing: replaying a run on it tells what memory the run will need. Addresses are numbers. */
typedef struct {
    Set        set;
    const Set *like;
    size_t     next;                                    /* the next address */
} NullSet;

static int    run(Set *set, const Op *op) { return op_check(set, op); }
static size_t need(const Set *set, const Op *op) { return ((const NullSet *)set)->like->need(((const NullSet *)set)->like, op); }
static size_t pack(Set *set, Weight *w, void *dst) { return (void)set, (void)w, (void)dst, 0; }

static void *alloc(Set *set, size_t bytes)
{
    NullSet *null = (NullSet *)set;
    size_t   at = null->next;
    null->next += (bytes + 63) / 64 * 64;
    return (void *)at;
}

static void release(Set *set, void *p, size_t bytes) { (void)set, (void)p, (void)bytes; }
static int  move(Set *set, Tensor to, Tensor from) { return (void)set, (void)to, (void)from, 0; }
static int  sync_set(Set *set) { return (void)set, 0; }

Set *set_null(const Set *like)
{
    NullSet *null = calloc(1, sizeof *null);
    if (!null) return err("out of memory for a set"), NULL;
    *null = (NullSet){ { like->name, like->act, like->acc, NULL, run, need, pack, alloc, release, move, move, sync_set, NULL }, like, 1 << 20 };
    return &null->set;
}
