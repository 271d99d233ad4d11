#include "need.h"

/* ---- how a product is cut: a model of a Turing card (TU104: 46 processors) decides, in cycles of its clock ----
 *
 * A slab of a block is 2 bm bn SLAB flops, of which a processor does 512 a cycle while its tensor cores never wait. */

enum { PROCESSORS = 46, FLOPS_A_CYCLE = 512, BYTES_A_CYCLE = 210, MOST_SPLITS = 16, FEWEST_SLABS = 4 };

/* What part of that each block size reaches: operands are loaded once for a whole row or column of the block, so a large one waits less. `together`: blocks
 * that share a processor. */
static const struct {
    unsigned bm, bn, together;
    double   reached;
} sizes[] = { { 128, 128, 1, 0.80 }, { 128, 64, 2, 0.74 }, { 64, 64, 3, 0.62 } };

static size_t ceil_of(size_t a, size_t b) { return (a + b - 1) / b; }

/* The last wave of blocks takes as long as a full one. What is split is written, read and written once more, at the speed of memory. */
static double cycles_of(int size, size_t m, size_t n, size_t slabs, size_t splits)
{
    size_t blocks = ceil_of(m, sizes[size].bm) * ceil_of(n, sizes[size].bn) * splits, at_once = PROCESSORS * sizes[size].together;
    double slab = 2.0 * sizes[size].bm * sizes[size].bn * SLAB / FLOPS_A_CYCLE / sizes[size].reached * sizes[size].together;
    double parts = splits > 1 ? 4.0 * (double)(m * n) * (double)(2 * splits + 1) / BYTES_A_CYCLE : 0;
    return (double)ceil_of(blocks, at_once) * slab * (double)ceil_of(slabs, splits) + parts;
}

Cut cut_of(size_t m, size_t n, size_t slabs)
{
    Cut    best = { sizes[0].bm, sizes[0].bn, 1 };
    double least = cycles_of(0, m, n, slabs, 1);
    for (int size = 0; size < (int)(sizeof sizes / sizeof *sizes); size++)
        for (size_t splits = 1; splits <= MOST_SPLITS && (splits == 1 || slabs >= splits * FEWEST_SLABS); splits++) {
            double cycles = cycles_of(size, m, n, slabs, splits);
            if (cycles < least) least = cycles, best = (Cut){ sizes[size].bm, sizes[size].bn, (unsigned)splits };
        }
    return best;
}

size_t cut_bytes(Cut cut, size_t m, size_t n) { return cut.splits > 1 ? cut.splits * m * n * sizeof(float) : 0; }

/* ---- the products there are ---- */

static size_t rows_of(Tensor t) { return (size_t)t.n * (size_t)t.h * (size_t)t.w; }
static size_t taps_of(const Op *op) { return op->a.kernel > 1 ? (size_t)op->a.kernel * (size_t)op->a.kernel : 1; }

Cut cut_of_product(const Op *op)
{
    int    is_conv_dx = op->kind == OP_CONV_DX;
    size_t slabs = taps_of(op) * ceil_of((size_t)op->x[0].c, SLAB);
    for (int s = 0; s < MAX_SEG; s++)
        if (op->seg[s].x.p) slabs += (is_conv_dx ? taps_of(op) : 1) * ceil_of((size_t)op->seg[s].x.c, SLAB);
    return cut_of(rows_of(op->y[0]), (size_t)op->y[0].c, slabs);
}

/* dw (o, taps i): a sum over all pixels. */
Cut cut_of_dw(const Op *op) { return cut_of((size_t)op->y[0].n, tensor_count(tensor_images(op->y[0], 0, 1)), ceil_of(rows_of(op->x[0]), SLAB)); }

/* ---- sums: enough blocks to be quick, few enough to add their results in order ---- */

static unsigned at_most(size_t n, unsigned most) { return n < most ? (unsigned)n : most; }

unsigned sum_blocks(size_t count) { return at_most(ceil_of(count, 4096), 512); }
unsigned sum_runs(size_t rows) { return at_most(ceil_of(rows, 64), 64); }
unsigned norm_runs(size_t rows) { return at_most(ceil_of(rows, 64), 128); }

static size_t sum_bytes(const Op *op)
{
    Tensor y = op->y[0];
    return tensor_count(y) * sum_runs(rows_of(op->x[0]) / (size_t)y.n) * sizeof(double);
}

/* The sums of each run, and, for dx, the means of each group. */
static size_t norm_bytes(const Op *op, Tensor x)
{
    size_t images = op->a.groups ? (size_t)x.n : 1, runs = norm_runs(rows_of(x) / images);
    if (!op->a.groups && op->kind != OP_NORM_DW) return 0;
    return images * runs * (size_t)x.c * SUMS_BYTES + (op->kind == OP_NORM_DX ? images * (size_t)op->a.groups * MEANS_BYTES : 0);
}

/* ---- all of them ---- */

size_t cuda_need(const Set *set, const Op *op)
{
    (void)set;
    switch (op->kind) {
    case OP_LINEAR: case OP_LINEAR_DX: case OP_CONV: case OP_CONV_DX: return cut_bytes(cut_of_product(op), rows_of(op->y[0]), (size_t)op->y[0].c);
    case OP_LINEAR_DW: case OP_CONV_DW: return cut_bytes(cut_of_dw(op), (size_t)op->y[0].n, tensor_count(tensor_images(op->y[0], 0, 1)));
    case OP_EMBED: return sizeof(int);
    case OP_NORM: return norm_bytes(op, op->x[0]);
    case OP_NORM_DX: case OP_NORM_DW: return norm_bytes(op, op->x[1]);
    case OP_ATTN_DX: return rows_of(op->x[1]) * (size_t)op->a.heads * sizeof(float);
    case OP_SUM: return sum_bytes(op);
    case OP_SUMSQ: return sum_blocks((size_t)op->x[0].c) * SQUARES_BYTES;
    default: return 0;
    }
}
