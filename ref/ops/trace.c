#include "ops/trace.h"
#include "base/clock.h"
#include "base/err.h"
#include "ops/wrap.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Wrap  wrap;
    Trace trace;
} TraceSet;

static Trace *trace(Set *set) { return &((TraceSet *)set)->trace; }
const Trace  *trace_of(const Set *set) { return &((const TraceSet *)set)->trace; }

/* ---- entries ---- */

static int same(const TraceEntry *e, OpPlace place, int kind)
{
    return e->kind == kind && e->place.part == place.part && e->place.module == place.module && e->place.detail == place.detail;
}

/* The slot of this place and kind, or the free one where it belongs. Names are compared by address: a name that lies twice is two entries, joined later. */
static int *slot_of(Trace *t, OpPlace place, int kind)
{
    uint64_t h = (uint64_t)(uintptr_t)place.module * 31 + (uint64_t)(uintptr_t)place.part * 17 + (uint64_t)(uintptr_t)place.detail + (uint64_t)kind;
    h *= 0x9e3779b97f4a7c15u;                           /* Knuth's multiplicative hash */
    size_t at = (size_t)(h >> 32) % (size_t)t->slots;
    while (t->slot[at] && !same(&t->entry[t->slot[at] - 1], place, kind)) at = (at + 1) % (size_t)t->slots;
    return &t->slot[at];
}

/* Room for one entry more, the slots at most half full. */
static int grow(Trace *t)
{
    if (t->entries < t->room) return 0;
    int         room = t->room ? 2 * t->room : 1024;
    TraceEntry *entry = realloc(t->entry, (size_t)room * sizeof *entry);
    if (entry) t->entry = entry;
    int *slot = calloc(2 * (size_t)room, sizeof *slot);
    if (!entry || !slot) return free(slot), err("out of memory for a trace of %d entries", room);
    free(t->slot);
    t->slot = slot, t->room = room, t->slots = 2 * room;
    for (int k = 0; k < t->entries; k++) *slot_of(t, t->entry[k].place, t->entry[k].kind) = k + 1;
    return 0;
}

static int add(Trace *t, OpPlace place, int kind, double begin, double end, Cost cost)
{
    if (grow(t)) return -1;
    int *slot = slot_of(t, place, kind);
    if (!*slot) t->entry[t->entries++] = (TraceEntry){ .place = place, .kind = kind }, *slot = t->entries;
    TraceEntry *e = &t->entry[*slot - 1];
    e->calls++, e->seconds += end - begin;
    e->cost.flops += cost.flops, e->cost.bytes += cost.bytes;
    if (t->first == 0) t->first = begin;
    t->last = end;
    return 0;
}

/* ---- the set ---- */

static int run(Set *set, const Op *op)
{
    Set   *inner = wrap_inner(set);
    double begin = now();
    if (inner->run(inner, op) || inner->sync(inner)) return -1;
    return add(trace(set), op->place, (int)op->kind, begin, now(), op_cost(op));
}

static int move(Set *set, int kind, Tensor to, Tensor from)
{
    static const OpPlace place = { "transfers", NULL, NULL };
    Set   *inner = wrap_inner(set);
    double begin = now();
    if (kind == TRACE_UPLOAD ? inner->upload(inner, to, from) : inner->download(inner, to, from)) return -1;
    return add(trace(set), place, kind, begin, now(), (Cost){ 0, (double)tensor_count(to) * (double)(type_size(to.type) + type_size(from.type)) });
}

static int upload(Set *set, Tensor dst, Tensor host) { return move(set, TRACE_UPLOAD, dst, host); }
static int download(Set *set, Tensor host, Tensor src) { return move(set, TRACE_DOWNLOAD, host, src); }

Set *trace_open(Set *inner)
{
    TraceSet *t = calloc(1, sizeof *t);
    if (!t) return err("out of memory for a trace"), NULL;
    wrap_open(&t->wrap, inner);
    t->wrap.set.run = run, t->wrap.set.upload = upload, t->wrap.set.download = download;
    return &t->wrap.set;
}

void trace_close(Set *set)
{
    if (!set) return;
    free(trace(set)->entry);
    free(trace(set)->slot);
    free(set);
}

const char *trace_kind(int kind) { return kind == TRACE_UPLOAD ? "upload" : kind == TRACE_DOWNLOAD ? "download" : op_name((OpKind)kind); }
