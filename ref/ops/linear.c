#include "ops/ref.h"

/* ---- tiles ----
 * A tile is one call of the GEMM. Its size is a pure function of shape: about 2^20 multiply-adds, at most 32 tiles, rows shared out before columns (the GEMM
 * rearranges all of b for each tile), neither side under 64 but where the matrix itself is. */
typedef struct {
    int rows, columns, down, across;
} Tiles;

static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }
static size_t at_least(size_t a, size_t b) { return a > b ? a : b; }
static size_t share(size_t n, size_t parts) { return at_most(((n + parts - 1) / parts + 15) / 16 * 16, n); }

static Tiles tiles_of(size_t m, size_t n, size_t k)
{
    size_t want = at_most(at_least(m * n * k >> 20, 1), 32), down = at_most(want, at_least(m / 64, 1)), across = at_most(want / down, at_least(n / 64, 1));
    size_t rows = share(m, down), columns = share(n, across);
    return (Tiles){ (int)rows, (int)columns, (int)((m + rows - 1) / rows), (int)((n + columns - 1) / columns) };
}

/* ---- y = a b + what was there + bias + row + res + segs ---- */

/* y = y (acc) or 0, + bias + row + res, for one tile. Returns the beta of the product that follows: 0 where there is nothing to add and y is as it was. */
static real start_tile(const Op *op, size_t r0, int rows, int c0, int columns)
{
    Tensor y = op->y[0];
    if (!op->bias.p && !op->row.p && !op->res.p) return op->acc ? 1 : 0;
    for (size_t r = r0; r < r0 + (size_t)rows; r++) {
        real       *to = row_at(y, r) + c0;
        const real *bias = op->bias.p ? data(op->bias) + c0 : NULL, *row = op->row.p ? data(op->row) + r / area(y) * op->row.img + c0 : NULL;
        const real *res = op->res.p ? row_at(op->res, r) + c0 : NULL;
        size_t      bytes = (size_t)columns * sizeof *to;
        if (res && res != to) memcpy(to, res, bytes);
        if (!res) memset(to, 0, bytes);
        if (bias)
            for (int c = 0; c < columns; c++) to[c] += bias[c];
        if (row)
            for (int c = 0; c < columns; c++) to[c] += row[c];
    }
    return 1;
}

/* What a segment adds to columns c0.. of a tile: scale x w^T, w (O,r), for columns o0 to o0 + O; or, in a gradient, scale x w, w (r,i), for all columns. */
static void add_segment(const Seg *seg, int transposed, real *y, size_t ldy, size_t r0, int rows, int c0, int columns)
{
    const real *x = row_at(seg->x, r0), *w = data(seg->w.t);
    int         from = c0, end = c0 + columns;
    if (transposed) {
        if (from < seg->o0) from = seg->o0;
        if (end > seg->o0 + seg->w.t.n) end = seg->o0 + seg->w.t.n;
        if (from >= end) return;
        w += (size_t)(from - seg->o0) * seg->w.t.img;
    } else {
        w += from;
    }
    NAME(gemm)(0, transposed, rows, end - from, seg->x.c, (real)seg->scale, x, seg->x.ld, w, seg->w.t.img, 1, y + (from - c0), ldy);
}

static void product_tile(const Product *p, size_t r0, int rows, int c0, int columns)
{
    Tensor      y = p->op->y[0];
    const real *a = p->a + r0 * p->lda, *b = p->b + (size_t)c0 * (p->bt ? p->ldb : 1);
    real       *to = row_at(y, p->first + r0) + c0, beta = start_tile(p->op, p->first + r0, rows, c0, columns);
    NAME(gemm)(0, p->bt, rows, columns, p->k, p->scale, a, p->lda, b, p->ldb, beta, to, y.ld);
    for (int s = 0; p->seg && s < MAX_SEG; s++)
        if (p->seg[s].x.p) add_segment(&p->seg[s], p->bt, to, y.ld, p->first + r0, rows, c0, columns);
}

void NAME(product)(const Product *p)
{
    int   c = p->op->y[0].c;
    Tiles tiles = tiles_of(p->rows, (size_t)c, (size_t)p->k);
    int   count = tiles.down * tiles.across;
#pragma omp parallel for schedule(static) if ((count > 1 && p->rows * (size_t)c * (size_t)p->k > PARALLEL_PRODUCTS) || NAME(gemm_in_region)())
    for (int tile = 0; tile < count; tile++) {
        size_t r0 = (size_t)(tile / tiles.across) * (size_t)tiles.rows;
        int    c0 = tile % tiles.across * tiles.columns;
        product_tile(p, r0, (int)at_most((size_t)tiles.rows, p->rows - r0), c0, (int)at_most((size_t)tiles.columns, (size_t)(c - c0)));
    }
}

/* ---- y = a^T b, summed over rows ----
 * The sum is long and y small (rank by inputs): when tiles of y alone would not keep a machine busy, the rows are cut into chunks too, each with a sum of its
 * own in scratch, and these are added in order. */
static int dw_chunks(Tiles tiles, int m, int n, size_t rows)
{
    size_t work = at_most((size_t)m * (size_t)n * rows >> 20, 16) / (size_t)(tiles.down * tiles.across);
    return (int)at_least(at_most(work, rows / 256), 1);
}

size_t NAME(product_dw_need)(int m, int n, size_t rows)
{
    int chunks = dw_chunks(tiles_of((size_t)m, (size_t)n, rows), m, n, rows);
    return chunks == 1 ? 0 : (size_t)chunks * (size_t)m * (size_t)n * sizeof(real);
}

static void add_partial_products(const ProductDw *p, int chunks)
{
    size_t size = (size_t)p->m * (size_t)p->n;
#pragma omp parallel for schedule(static) if (size * (size_t)chunks > PARALLEL_FROM)
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++) {
            real  *y = p->y + (size_t)i * p->ldy + j;
            double s = 0;
            for (int chunk = 0; chunk < chunks; chunk++) s += (double)p->scratch[(size_t)chunk * size + (size_t)i * (size_t)p->n + (size_t)j];
            *y = (real)(p->scale * s + (p->beta != 0 ? p->beta * (double)*y : 0));
        }
}

void NAME(product_dw)(const ProductDw *p)
{
    Tiles  tiles = tiles_of((size_t)p->m, (size_t)p->n, p->rows);
    int    chunks = dw_chunks(tiles, p->m, p->n, p->rows), in_chunk = tiles.down * tiles.across, whole = chunks == 1;
    size_t each = (p->rows + (size_t)chunks - 1) / (size_t)chunks;
#pragma omp parallel for schedule(static) if ((chunks * in_chunk > 1 && p->rows * (size_t)p->m * (size_t)p->n > PARALLEL_PRODUCTS) || NAME(gemm_in_region)())
    for (int t = 0; t < chunks * in_chunk; t++) {
        size_t k0 = (size_t)(t / in_chunk) * each, k1 = at_most(k0 + each, p->rows);
        int    i0 = t % in_chunk / tiles.across * tiles.rows, j0 = t % tiles.across * tiles.columns;
        int    m = (int)at_most((size_t)tiles.rows, (size_t)(p->m - i0)), n = (int)at_most((size_t)tiles.columns, (size_t)(p->n - j0));
        size_t ldy = whole ? p->ldy : (size_t)p->n;
        real  *y = whole ? p->y : p->scratch + (size_t)(t / in_chunk) * (size_t)p->m * (size_t)p->n;
        NAME(gemm)(1, 0, m, n, (int)(k1 - k0), whole ? p->scale : 1, p->a + k0 * p->lda + i0, p->lda, p->b + k0 * p->ldb + j0, p->ldb, whole ? p->beta : 0,
                   y + (size_t)i0 * ldy + j0, ldy);
    }
    if (!whole) add_partial_products(p, chunks);
}

/* ---- linear: y[r,o] = sum_i x[r,i] w[o,i] ----
 *   dL/dx[r,i] = sum_o dy[r,o] w[o,i],  so dx = dy w;
 *   dL/dw[o,i] = sum_r dy[r,o] x[r,i],  so dw = dy^T x. */

Tensor NAME(widened)(Tensor w, void *scratch)
{
    enum { PIECE = 4096, PARALLEL_WIDE = 1 << 21 };     /* 0.1 ns an element: a woken thread must save more than its waking */
    Tensor to = tensor_of(scratch, T_REAL, w.n, w.h, w.w, w.c);
    size_t pieces = (to.img + PIECE - 1) / PIECE;
    if (w.type == T_REAL) return w;
#pragma omp parallel for schedule(static) if (tensor_count(w) > PARALLEL_WIDE)
    for (size_t i = 0; i < (size_t)w.n * pieces; i++) {
        size_t row = i / pieces, at = i % pieces * PIECE;
        type_convert(T_REAL, data(to) + row * to.img + at, w.type, tensor_at(w, row * w.img + at), at_most(PIECE, to.img - at));
    }
    return to;
}

/* Rows that lie one ld apart in every tensor of the op: all of them, or those of an image. */
static size_t rows_together(const Op *op)
{
    Tensor y = op->y[0];
    int    whole = tensor_is_matrix(y) && tensor_is_matrix(op->x[0]) && (!op->res.p || tensor_is_matrix(op->res));
    for (int s = 0; s < MAX_SEG; s++) whole &= !op->seg[s].x.p || tensor_is_matrix(op->seg[s].x);
    return whole ? row_count(y) : area(y);
}

static int run_product(const Op *op, int transposed)
{
    Tensor x = op->x[0], w = NAME(widened)(op->w.t, op->scratch);
    size_t rows = rows_together(op);
    for (size_t r = 0; r < row_count(x); r += rows)
        NAME(product)(&(Product){ op, op->seg, r, rows, x.c, transposed, row_at(x, r), data(w), x.ld, w.img, (real)op->a.scale });
    return 0;
}

size_t NAME(linear_need)(const Op *op) { return widened_bytes(op->w.t); }
size_t NAME(linear_dx_need)(const Op *op) { return widened_bytes(op->w.t); }

int NAME(linear)(const Op *op) { return run_product(op, 1); }
int NAME(linear_dx)(const Op *op) { return run_product(op, 0); }

static size_t rows_of_dw(const Op *op) { return tensor_is_matrix(op->x[0]) && tensor_is_matrix(op->x[1]) ? row_count(op->x[0]) : area(op->x[0]); }

size_t NAME(linear_dw_need)(const Op *op) { return NAME(product_dw_need)(op->x[0].c, op->x[1].c, rows_of_dw(op)); }

int NAME(linear_dw)(const Op *op)
{
    Tensor dw = op->y[0], dy = op->x[0], x = op->x[1];
    size_t rows = rows_of_dw(op);
    for (size_t r = 0; r < row_count(x); r += rows)
        NAME(product_dw)(&(ProductDw){ data(dw), row_at(dy, r), row_at(x, r), dw.img, dy.ld, x.ld, rows, dy.c, x.c, (real)op->a.scale,
                                       r > 0 || op->acc ? 1 : 0, op->scratch });
    return 0;
}
