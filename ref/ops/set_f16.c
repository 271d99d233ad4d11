/* ref16: ref, rounded to the f16 grid after each op. Activations and frozen weights are stored as f16, parameters, moments, statistics and the loss as f32.
 * Each f16 tensor of a call but its weight gets a place without gaps in scratch, where it is widened, which is exact; ref computes there, in f32; what it put
 * out is rounded once. So this set says what numbers mean where products are taken of f16 and summed in f32, as by tensor cores. */
#include "base/err.h"
#include "ops/ops.h"
#include "ops/sets.h"

enum { ALIGN = 64, OUTPUTS = 4, PARALLEL_FROM = 1 << 14 };

static Set *ref;

static size_t place_bytes(Tensor t) { return (tensor_count(t) * type_size(T_F32) + ALIGN - 1) / ALIGN * ALIGN; }

/* Frozen weights and tables: ref takes them as they are. */
static int is_frozen(OpKind kind, int k)
{
    enum { W = 10, TABLE = 5, POSITION = 7 };           /* of op_tensor */
    return k == W || (kind == OP_EMBED && (k == TABLE || k == POSITION));
}

/* The call as ref gets it: f16 tensors without gaps, in f32, at `scratch` and on, or, where that is NULL, nowhere. Returns the bytes that they take. */
static size_t widened(Op *wide, const Op *op, char *scratch)
{
    size_t bytes = 0;
    *wide = *op;
    for (int k = 0; k < OP_TENSORS; k++) {
        Tensor *t = op_tensor(wide, k);
        if (!t->p || t->type != T_F16 || is_frozen(op->kind, k)) continue;
        *t = tensor_of(scratch ? scratch + bytes : t->p, T_F32, t->n, t->h, t->w, t->c);
        bytes += place_bytes(*t);
    }
    wide->scratch = scratch ? scratch + bytes : NULL;
    return bytes;
}

/* to = from, of one shape, row by row. */
static void convert(Tensor to, Tensor from)
{
    size_t area = (size_t)to.h * (size_t)to.w, rows = area * (size_t)to.n, c = (size_t)to.c;
#pragma omp parallel for schedule(static) if (rows * c > PARALLEL_FROM)
    for (size_t r = 0; r < rows; r++)
        type_convert(to.type, tensor_at(to, r / area * to.img + r % area * to.ld), from.type, tensor_at(from, r / area * from.img + r % area * from.ld), c);
}

static size_t need(const Set *set, const Op *op)
{
    Op     wide;
    size_t bytes = widened(&wide, op, NULL);
    (void)set;
    return bytes + ref->need(ref, &wide);
}

static int run(Set *set, const Op *op)
{
    Op wide, narrow = *op;
    if (op_check(set, op)) return -1;
    if (!op->scratch && need(set, op)) return err("%s: scratch: expected %zu bytes, found none", op_name(op->kind), need(set, op));
    widened(&wide, op, op->scratch);
    for (int k = 0; k < OP_TENSORS; k++) {
        const Tensor *from = op_tensor(&narrow, k);
        int           read = k >= OUTPUTS || op->acc || op->kind == OP_UPDATE;          /* a bad update leaves what it would have written */
        if (from->p && from->type == T_F16 && read && !is_frozen(op->kind, k)) convert(*op_tensor(&wide, k), *from);
    }
    if (ref->run(ref, &wide)) return -1;
    for (int k = 0; k < OUTPUTS; k++)
        if (op->y[k].p && op->y[k].type == T_F16) convert(op->y[k], wide.y[k]);
    return 0;
}

static size_t pack(Set *set, Weight *w, void *dst) { return (void)set, ref->pack(ref, w, dst); }
static void  *alloc(Set *set, size_t bytes) { return (void)set, ref->alloc(ref, bytes); }
static void   release(Set *set, void *p, size_t bytes) { (void)set, ref->release(ref, p, bytes); }
static int    upload(Set *set, Tensor dst, Tensor host) { return (void)set, ref->upload(ref, dst, host); }
static int    download(Set *set, Tensor host, Tensor src) { return (void)set, ref->download(ref, host, src); }
static int    sync_set(Set *set) { return (void)set, ref->sync(ref); }

Set *ref_open_f16(void)
{
    static Set set = { "ref16", T_F16, T_F32, NULL, run, need, pack, alloc, release, upload, download, sync_set, 0, NULL, NULL };
    ref = ref_open_f32();
    if (!ref) return NULL;
    set.chain = ref->chain;
    return &set;
}
