#include "ops/ref.h"

/* A convolution is a product with a matrix of patches, made a strip of rows at a time: y[r,o] = sum over taps (u,v) and i of patch[r,(u,v,i)] w[o,(u,v,i)].
 *
 * Output (p,q) reads input row p stride - top + u at tap u. So input row h receives from output p where p stride = h + top - u, and with the taps counted
 * backwards, u = k-1-u':  p stride = h - (k-1-top) + u'.  The input gradient is therefore the same gather, from dy, of step 1, padding k-1-top, and spread
 * `stride`: positions that are no multiple of it read 0. Its weight is w with the taps reversed and (u',v',o) as rows, i as columns:
 *
 *   dx[r,i] = sum over u',v',o of patch(dy)[r,(u',v',o)] w[o,(k-1-u',k-1-v',i)];        dw[o,(u,v,i)] = sum over r of dy[r,o] patch(x)[r,(u,v,i)]. */

enum { STRIP = 1 << 20 };                               /* elements of a strip of patches, as long as that is 128 rows or more */

/* Patch of tap (u,v) at (p,q) of an (n,rows,columns) grid: x at ((p step - top + u)/spread, (q step - left + v)/spread), 0 outside and between. */
typedef struct {
    int rows, columns, kernel, step, spread, top, left;
} Grid;

static Grid forward_grid(const Attr *a, Tensor y) { return (Grid){ y.h, y.w, a->kernel, a->stride, 1, a->pad[0], a->pad[2] }; }
static Grid gradient_grid(const Attr *a, Tensor dx)
{
    return (Grid){ dx.h, dx.w, a->kernel, 1, a->stride, a->kernel - 1 - a->pad[0], a->kernel - 1 - a->pad[2] };
}

/* The index that position `at` reads, or -1. */
static int source(const Grid *g, int at, int size)
{
    if (at < 0 || at % g->spread != 0) return -1;
    return at / g->spread < size ? at / g->spread : -1;
}

/* k c elements of one row of taps: where neighbours are neighbours in memory, what is inside goes in one copy. */
static void gather_taps(const Grid *g, real *to, Tensor x, const real *line, int at)
{
    size_t c = (size_t)x.c, bytes = c * sizeof *to;
    if (g->spread == 1 && x.ld == c) {
        int before = at < 0 ? -at : 0, end = x.w - at < g->kernel ? x.w - at : g->kernel;
        if (before > g->kernel) before = g->kernel;
        if (end < before) end = before;
        memset(to, 0, (size_t)before * bytes);
        if (end > before) memcpy(to + (size_t)before * c, line + (size_t)(at + before) * c, (size_t)(end - before) * bytes);
        memset(to + (size_t)end * c, 0, (size_t)(g->kernel - end) * bytes);
        return;
    }
    for (int v = 0; v < g->kernel; v++, to += c) {
        int from = source(g, at + v, x.w);
        if (from < 0) memset(to, 0, bytes);
        else memcpy(to, line + (size_t)from * x.ld, bytes);
    }
}

/* to (rows, ld) = the patches of x at grid rows first.. */
static void gather(const Grid *g, real *to, size_t ld, Tensor x, size_t first, size_t rows)
{
    size_t taps = (size_t)g->kernel * (size_t)x.c;
#pragma omp parallel for schedule(static) if (rows * ld > PARALLEL_FROM)
    for (size_t r = 0; r < rows; r++) {
        size_t q = (first + r) % (size_t)g->columns, p = (first + r) / (size_t)g->columns;
        size_t n = p / (size_t)g->rows;
        int    at_row = (int)(p % (size_t)g->rows) * g->step - g->top, at_column = (int)q * g->step - g->left;
        for (int u = 0; u < g->kernel; u++) {
            real *row = to + r * ld + (size_t)u * taps;
            int   from = source(g, at_row + u, x.h);
            if (from < 0) memset(row, 0, taps * sizeof *row);
            else gather_taps(g, row, x, (const real *)x.p + n * x.img + (size_t)from * (size_t)x.w * x.ld, at_column);
        }
    }
}

/* to (k,k,o,i) = scale w (o,k,k,i), taps reversed. */
static void reverse_weight(real *to, Tensor w, real scale)
{
    size_t i = (size_t)w.c;
    int    taps = w.h * w.w;
#pragma omp parallel for schedule(static) if (tensor_count(w) > PARALLEL_FROM)
    for (int tap = 0; tap < taps; tap++)
        for (int o = 0; o < w.n; o++) {
            real *row = to + ((size_t)tap * (size_t)w.n + (size_t)o) * i;
            type_convert(T_REAL, row, w.type, tensor_at(w, (size_t)o * w.img + (size_t)(taps - 1 - tap) * i), i);
            for (size_t c = 0; c < i; c++) row[c] *= scale;
        }
}

/* ---- strips ---- */

static int is_pointwise(const Attr *a) { return a->kernel == 1 && a->stride == 1 && !a->pad[0] && !a->pad[1] && !a->pad[2] && !a->pad[3]; }

/* Rows of the op's output, n h w together, in strips that do not cross `block`: everything, or an image where a tensor's images are not one matrix. */
typedef struct {
    size_t total, block, rows;
} Strips;

static Strips strips_of(const Op *op, Tensor grid, size_t k)
{
    int whole = tensor_is_matrix(grid) && (!op->res.p || tensor_is_matrix(op->res));
    for (int s = 0; s < MAX_SEG; s++) whole &= op->kind != OP_CONV || !op->seg[s].x.p || tensor_is_matrix(op->seg[s].x);
    size_t block = whole ? row_count(grid) : area(grid), rows = STRIP / k > 128 ? STRIP / k : 128;
    return (Strips){ row_count(grid), block, rows < block ? rows : block };
}
static size_t strip_at(Strips s, size_t first) { return s.block - first % s.block < s.rows ? s.block - first % s.block : s.rows; }

/* ---- forward ---- */

static size_t taps_of(const Op *op, int c) { return (size_t)op->a.kernel * (size_t)op->a.kernel * (size_t)c; }

size_t NAME(conv_need)(const Op *op)
{
    size_t k = taps_of(op, op->x[0].c);
    return widened_bytes(op->w.t) + (is_pointwise(&op->a) ? 0 : strips_of(op, op->y[0], k).rows * k * sizeof(real));
}

int NAME(conv)(const Op *op)
{
    if (is_pointwise(&op->a)) return NAME(linear)(op);
    Tensor x = op->x[0], w = NAME(widened)(op->w.t, op->scratch);
    size_t k = taps_of(op, x.c);
    Grid   grid = forward_grid(&op->a, op->y[0]);
    Strips strips = strips_of(op, op->y[0], k);
    real  *patches = (real *)op->scratch + widened_bytes(op->w.t) / sizeof(real);
    for (size_t r = 0, rows; r < strips.total; r += rows) {
        rows = strip_at(strips, r);
        gather(&grid, patches, k, x, r, rows);
        NAME(product)(&(Product){ op, op->seg, r, rows, (int)k, 1, patches, data(w), k, w.img, (real)op->a.scale });
    }
    return 0;
}

/* ---- dx ----
 * The segments are convolutions of the same geometry: their patches and weights stand beside the main ones, and all is one product. */

static size_t taps_of_dx(const Op *op)
{
    size_t k = taps_of(op, op->x[0].c);
    for (int s = 0; s < MAX_SEG; s++)
        if (op->seg[s].x.p) k += taps_of(op, op->seg[s].x.c);
    return k;
}

size_t NAME(conv_dx_need)(const Op *op)
{
    size_t k = taps_of_dx(op);
    return is_pointwise(&op->a) ? NAME(linear_dx_need)(op) : (strips_of(op, op->y[0], k).rows + (size_t)op->y[0].c) * k * sizeof(real);
}

int NAME(conv_dx)(const Op *op)
{
    if (is_pointwise(&op->a)) return NAME(linear_dx)(op);
    Tensor dx = op->y[0], dy = op->x[0];
    size_t k = taps_of_dx(op), c = (size_t)dx.c, main = taps_of(op, dy.c);
    Grid   grid = gradient_grid(&op->a, dx);
    Strips strips = strips_of(op, dx, k);
    real  *weight = op->scratch, *patches = weight + k * c, *to = weight + main * c;
    reverse_weight(weight, op->w.t, (real)op->a.scale);
    for (int s = 0; s < MAX_SEG; s++)
        if (op->seg[s].x.p) {
            reverse_weight(to, op->seg[s].w.t, (real)op->seg[s].scale);
            to += taps_of(op, op->seg[s].x.c) * c;
        }
    for (size_t r = 0, rows; r < strips.total; r += rows) {
        rows = strip_at(strips, r);
        gather(&grid, patches, k, dy, r, rows);
        to = patches + main;
        for (int s = 0; s < MAX_SEG; s++)
            if (op->seg[s].x.p) {
                gather(&grid, to, k, op->seg[s].x, r, rows);
                to += taps_of(op, op->seg[s].x.c);
            }
        NAME(product)(&(Product){ op, NULL, r, rows, (int)k, 0, patches, weight, k, c, 1 });
    }
    return 0;
}

/* ---- dw ---- */

size_t NAME(conv_dw_need)(const Op *op)
{
    if (is_pointwise(&op->a)) return NAME(linear_dw_need)(op);
    size_t k = taps_of(op, op->x[1].c);
    Strips strips = strips_of(op, op->x[0], k);
    size_t full = NAME(product_dw_need)(op->x[0].c, (int)k, strips.rows), last = NAME(product_dw_need)(op->x[0].c, (int)k, strips.block % strips.rows);
    return strips.rows * k * sizeof(real) + (full > last ? full : last);
}

int NAME(conv_dw)(const Op *op)
{
    if (is_pointwise(&op->a)) return NAME(linear_dw)(op);
    Tensor dw = op->y[0], dy = op->x[0], x = op->x[1];
    size_t k = taps_of(op, x.c);
    Grid   grid = forward_grid(&op->a, dy);
    Strips strips = strips_of(op, dy, k);
    real  *patches = op->scratch;
    for (size_t r = 0, rows; r < strips.total; r += rows) {
        rows = strip_at(strips, r);
        gather(&grid, patches, k, x, r, rows);
        NAME(product_dw)(&(ProductDw){ data(dw), row_at(dy, r), patches, dw.img, dy.ld, k, rows, dy.c, (int)k, (real)op->a.scale, r > 0 || op->acc ? 1 : 0,
                                       patches + strips.rows * k });
    }
    return 0;
}
