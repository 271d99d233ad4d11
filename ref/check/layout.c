#include "check/layout.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

enum { SETS = 8, POOL = 64 << 20, ROW = 4096, GUARD = 64, CANARY = 0xa5 };    /* 0xa5a5...: a small number in every type, no NaN */

const char *const role_names[OP_TENSORS] = {
    "y0", "y1", "y2", "y3", "x0", "x1", "x2", "x3", "x4", "x5", "w", "bias", "row", "res", "seg0.x", "seg1.x", "seg2.x", "seg0.w", "seg1.w", "seg2.w",
};
static int is_kernel(OpKind kind, int role) { return role == 10 || role >= 17 || (kind == OP_CONV_DW && role == 0); }

/* The one block of each set, used by all cases: what they need, or more. */
typedef struct {
    Set   *set;
    char  *p;
    size_t size;
} Pool;

static Pool *pool_of(Set *set, size_t size)
{
    static Pool pools[SETS + 1];                        /* the last one stays empty */
    Pool *pool = pools;
    while (pool->set && pool->set != set) pool++;
    CHECK(pool < pools + SETS, "more than %d sets are checked", SETS);
    if (pool->size >= size && pool->p) return pool;
    if (pool->p) set->release(set, pool->p, pool->size);
    *pool = (Pool){ set, set->alloc(set, size), size };
    CHECK(pool->p, "%s", err_text());
    return pool;
}

static size_t claim(Layout *l, size_t bytes, size_t align)
{
    size_t begin = (l->size + GUARD + align - 1) / align * align;
    l->size = begin + bytes;
    return begin;
}

static Type type_on(const Set *set, Type type) { return type == (Type)ACT || type == (Type)WORK ? set->act : type == (Type)ACC ? set->acc : type; }

/* Chooses place and strides of a tensor: rows further apart than they are long, images further than rows need, aligned to one element only. The taps of a
 * kernel are contiguous: a view of a weight is a range of its outputs. */
static Placed place(Layout *l, Case *c, int role, Tensor t)
{
    Placed p = { .from = t.p, .role = role_names[role] };
    t.type = type_on(l->set, t.type);
    if (!c->plain && !is_kernel(l->op.kind, role) && below(c, 3)) t.ld += (size_t)below(c, 9);
    t.img = (size_t)t.h * (size_t)t.w * t.ld;
    if (!c->plain && below(c, 3) == 0) t.img += (size_t)below(c, 50);
    size_t size = type_size(t.type), span = ((size_t)t.n - 1) * t.img + ((size_t)t.h * (size_t)t.w - 1) * t.ld + (size_t)t.c;
    p.begin = claim(l, span * size + size * (size_t)below(c, 16), c->plain ? 64 : size), p.end = p.begin + span * size;
    t.p = l->pool + p.begin;
    p.t = t;
    return p;
}

size_t element(Tensor t, size_t j)
{
    size_t c = (size_t)t.c, w = (size_t)t.w, h = (size_t)t.h;
    return j / (c * w * h) * t.img + j / c % (w * h) * t.ld + j % c;
}

static void place_all(Layout *l, Case *c)
{
    for (int k = 0; k < OP_TENSORS; k++) {
        Tensor *t = op_tensor(&l->op, k);
        if (!t->p) continue;
        if (t->type == (Type)WORK && l->set->act == l->set->acc) { *t = NONE; continue; }
        int j = 0;                                      /* two roles on the same memory stay so: y may be x, res may be y */
        while (j < l->count && l->placed[j].from != t->p) j++;
        if (j == l->count) l->placed[l->count++] = place(l, c, k, *t);
        *t = l->placed[j].t;
    }
}

static void write_image(Layout *l)
{
    for (int j = 0; j < l->count; j++) {
        Placed *p = &l->placed[j];
        size_t  size = type_size(p->t.type);
        for (size_t e = 0; e < tensor_count(p->t); e++) {
            type_set(p->t.type, l->before + p->begin, element(p->t, e), ((const double *)p->from)[e]);
            memset(l->kind + p->begin + element(p->t, e) * size, INPUT, size);
        }
    }
    for (int k = 0; k < OUTPUTS; k++) {
        Tensor y = l->op.y[k];
        size_t size = y.p ? type_size(y.type) : 0, begin = y.p ? (size_t)((char *)y.p - l->pool) : 0;
        for (size_t e = 0; y.p && e < tensor_count(y); e++) memset(l->kind + begin + element(y, e) * size, RESULT, size);
    }
}

static Weight *weight_of(Op *op, int k) { return k < MAX_SEG ? &op->seg[k].w : &op->w; }

/* Places tensors, packed weights and scratch: what each byte of the image is for. */
static void plan(Layout *l, Case *c)
{
    Set *set = l->set;
    size_t packed[MAX_SEG + 1] = { 0 }, pack_bytes[MAX_SEG + 1] = { 0 };
    place_all(l, c);
    for (int k = 0; k <= MAX_SEG; k++) {
        Weight *w = weight_of(&l->op, k);
        if (w->t.p && (pack_bytes[k] = set->pack(set, w, NULL))) packed[k] = claim(l, pack_bytes[k], 64), w->packed = l->pool + packed[k];
    }
    size_t need = set->need(set, &l->op), scratch = claim(l, need, 64);
    if (need) l->op.scratch = l->pool + scratch;
    l->size = (l->size + GUARD + ROW - 1) / ROW * ROW;

    l->before = malloc(l->size), l->kind = calloc(l->size, 1);
    CHECK(l->before && l->kind, "no memory for %zu bytes", l->size);
    memset(l->before, CANARY, l->size);
    memset(l->before + scratch, 0xff, need);            /* NaN */
    memset(l->kind + scratch, FREE, need);
    for (int k = 0; k <= MAX_SEG; k++) memset(l->kind + packed[k], FREE, pack_bytes[k]);
}

void lay_out(Layout *l, Case *c, Set *set)
{
    Rng   rng = c->rng;
    Pool *pool = pool_of(set, POOL);
    for (;;) {                                          /* again, with the same draws, where the pool is too small */
        *l = (Layout){ .set = set, .op = c->op, .pool = pool->p };
        plan(l, c);
        if (l->size <= pool->size) break;
        pool = pool_of(set, l->size);
        c->rng = rng;
        layout_close(l);
    }
    write_image(l);
}

void layout_close(Layout *l) { free(l->before), free(l->kind); }

/* Rows of 4 KB: a tensor's dimensions are int. What is left over of the last one lies in the image, which is rounded up. */
static Tensor bytes_at(void *p, size_t size) { return tensor_of(p, T_U8, 1, 1, (int)(size / ROW), ROW); }

int layout_load(Layout *l)
{
    Set *set = l->set;
    if (set->upload(set, bytes_at(l->pool, l->size), bytes_at(l->before, l->size))) return -1;
    for (int k = 0; k <= MAX_SEG; k++) {
        Weight *w = weight_of(&l->op, k);
        if (w->packed) set->pack(set, w, w->packed);
    }
    return 0;
}

int layout_lets_read;

/* Where the address sanitizer looks on, what lies between tensors may not even be read. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
static void forbid_between(const Layout *l)
{
    if (layout_lets_read) return;
    __asan_poison_memory_region(l->pool, l->size);
    for (size_t from = 0, to; from < l->size; from = to) {
        for (to = from; to < l->size && l->kind[to] == l->kind[from]; to++) continue;
        if (l->kind[from] != BETWEEN) __asan_unpoison_memory_region(l->pool + from, to - from);
    }
}
static void allow_all(const Layout *l) { __asan_unpoison_memory_region(l->pool, l->size); }
#else
static void forbid_between(const Layout *l) { (void)l; }
static void allow_all(const Layout *l) { (void)l; }
#endif

int layout_run(Layout *l, uint8_t *after)
{
    Set *set = l->set;
    if (layout_load(l)) return -1;
    forbid_between(l);
    int failed = set->run(set, &l->op) || set->sync(set);
    allow_all(l);
    if (failed) return -1;
    return set->download(set, bytes_at(after, l->size), bytes_at(l->pool, l->size));
}
