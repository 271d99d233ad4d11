#include "ops/ref.h"

/* Both norms compute, with a mean and a reciprocal deviation over a set of N elements (a group of an image; a row),
 *
 *   xh = (x - mean) rstd,   z = gamma xh + beta,   y = f(z).
 *
 * Let g = dy f'(z), the gradient at z. Then dgamma = sum g xh and dbeta = sum g over all elements of a channel. x reaches the loss through xh, and through
 * mean and rstd of its set: d xh_j / d x_l = rstd (delta_jl - 1/N - xh_j xh_l / N). So
 *
 *   dx = rstd (g gamma - A - xh B),   A = 1/N sum g gamma,   B = 1/N sum g gamma xh,   sums over the set.
 *
 * Group norm first sums down the rows of an image, channel by channel, in chunks of rows that are added in order; then over the channels of a group. What all
 * rows of an image then need is spread out to one number a channel, so that the loops over channels are plain. */

/* ---- a row, PIECE channels at a time: short plain loops, each without a choice inside, become vector code ----
 * m, r, and a, b of the gradient: one a channel (step 1, group norm) or one for the row (step 0, layer norm). */

enum { PIECE = 128 };

typedef struct {
    const real *x, *m, *r, *gamma, *beta, *dy;
    int         step, silu;
} Row;

static void normalize(real *restrict xh, const Row *in, int j0, int count)
{
    const real *x = in->x + j0, *m = in->m + j0 * in->step, *r = in->r + j0 * in->step;
    if (in->step)
        for (int j = 0; j < count; j++) xh[j] = (x[j] - m[j]) * r[j];
    else
        for (int j = 0; j < count; j++) xh[j] = (x[j] - *m) * *r;
}

static void forward_row(real *y, const Row *in, int c)
{
    real xh[PIECE];
    for (int j0 = 0; j0 < c; j0 += PIECE, y += PIECE) {
        const real *gamma = in->gamma + j0, *beta = in->beta + j0;
        int         count = c - j0 < PIECE ? c - j0 : PIECE;
        normalize(xh, in, j0, count);
        if (in->silu)
            for (int j = 0; j < count; j++) y[j] = silu(xh[j] * gamma[j] + beta[j]);
        else
            for (int j = 0; j < count; j++) y[j] = xh[j] * gamma[j] + beta[j];
    }
}

/* xh, and g, the gradient at z. */
static void gradient_at_z(real *restrict g, real *restrict xh, const Row *in, int j0, int count)
{
    const real *dy = in->dy + j0, *gamma = in->gamma + j0, *beta = in->beta + j0;
    normalize(xh, in, j0, count);
    if (in->silu)
        for (int j = 0; j < count; j++) g[j] = dy[j] * silu_slope(xh[j] * gamma[j] + beta[j]);
    else memcpy(g, dy, (size_t)count * sizeof *g);
}

/* sum_g[j] += g, sum_gx[j] += g xh. */
static void sums_row(double *restrict sum_g, double *restrict sum_gx, const Row *in, int c)
{
    real g[PIECE], xh[PIECE];
    for (int j0 = 0; j0 < c; j0 += PIECE, sum_g += PIECE, sum_gx += PIECE) {
        int count = c - j0 < PIECE ? c - j0 : PIECE;
        gradient_at_z(g, xh, in, j0, count);
        for (int j = 0; j < count; j++) sum_g[j] += (double)g[j], sum_gx[j] += (double)g[j] * (double)xh[j];
    }
}

static void dx_row(real *dx, const Row *in, const real *a, const real *b, int c, int acc)
{
    real g[PIECE], xh[PIECE];
    for (int j0 = 0; j0 < c; j0 += PIECE, dx += PIECE) {
        const real *gamma = in->gamma + j0, *r = in->r + j0 * in->step, *a0 = a + j0 * in->step, *b0 = b + j0 * in->step;
        int         count = c - j0 < PIECE ? c - j0 : PIECE;
        gradient_at_z(g, xh, in, j0, count);
        if (in->step)
            for (int j = 0; j < count; j++) g[j] = r[j] * (g[j] * gamma[j] - a0[j] - xh[j] * b0[j]);
        else
            for (int j = 0; j < count; j++) g[j] = *r * (g[j] * gamma[j] - *a0 - xh[j] * *b0);
        if (acc)
            for (int j = 0; j < count; j++) dx[j] += g[j];
        else memcpy(dx, g, (size_t)count * sizeof *g);
    }
}

/* ---- layer norm ---- */

static int layer_norm(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
    int    c = x.c;
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(x); r++) {
        const real *from = row_at(x, r);
        double      mean = sum_of(from, c) / c;
        real        m = (real)mean, rstd = (real)(1 / sqrt(sum_of_squares(from, mean, c) / c + op->a.eps));
        *row_at(op->y[1], r) = m, *row_at(op->y[2], r) = rstd;
        forward_row(row_at(y, r), &(Row){ from, &m, &rstd, data(op->x[1]), data(op->x[2]), NULL, 0, op->a.silu }, c);
    }
    return 0;
}

static Row layer_row(const Op *op, size_t r)
{
    return (Row){ row_at(op->x[1], r), row_at(op->x[4], r), row_at(op->x[5], r), data(op->x[2]), data(op->x[3]), row_at(op->x[0], r), 0, op->a.silu };
}

static int layer_norm_dx(const Op *op)
{
    Tensor dx = op->y[0];
    int    c = dx.c;
#pragma omp parallel for schedule(static) if (tensor_count(dx) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(dx); r++) {
        Row    row = layer_row(op, r);
        double sum_g = 0, sum_gx = 0;
        real   g[PIECE], xh[PIECE];
        for (int j0 = 0; j0 < c; j0 += PIECE) {
            int count = c - j0 < PIECE ? c - j0 : PIECE;
            gradient_at_z(g, xh, &row, j0, count);
            for (int j = 0; j < count; j++) {
                double scaled = (double)g[j] * (double)row.gamma[j0 + j];
                sum_g += scaled, sum_gx += scaled * (double)xh[j];
            }
        }
        dx_row(row_at(dx, r), &row, &(real){ (real)(sum_g / c) }, &(real){ (real)(sum_gx / c) }, c, op->acc);
    }
    return 0;
}

/* ---- group norm ---- */

/* The scratch of a group norm: first the doubles, then the reals. */
typedef struct {
    double *sum, *part;                                 /* (n,2,c), (n,chunks,2,c); the forward pass uses half of each */
    real   *m, *r, *a, *b;                              /* (n,c) each */
} Scratch;

static Chunks chunks_in(const Op *op, Tensor x) { return chunks_of(op->a.groups ? area(x) : row_count(x), x.c); }

static Scratch scratch_of(const Op *op, Tensor x)
{
    size_t  n = op->a.groups ? (size_t)x.n : 1, size = n * (size_t)x.c;
    double *sum = op->scratch, *part = sum + 2 * size;
    real   *m = (real *)(part + 2 * size * (size_t)chunks_in(op, x).count);
    return (Scratch){ sum, part, m, m + size, m + 2 * size, m + 3 * size };
}

static size_t scratch_size(const Op *op, Tensor x)
{
    size_t n = op->a.groups ? (size_t)x.n : 1, size = n * (size_t)x.c;
    return 2 * size * (1 + (size_t)chunks_in(op, x).count) * sizeof(double) + 4 * size * sizeof(real);
}

size_t NAME(norm_need)(const Op *op) { return op->a.groups ? scratch_size(op, op->x[0]) : 0; }
size_t NAME(norm_dx_need)(const Op *op) { return op->a.groups ? scratch_size(op, op->x[1]) : 0; }
size_t NAME(norm_dw_need)(const Op *op) { return scratch_size(op, op->x[1]); }

/* sum (n,c) = over the rows of each image, of x, or, mid (n,c) given, of (x - mid)^2. sum may be mid. */
static void sum_rows(double *sum, double *part, Tensor x, const double *mid)
{
    Chunks chunks = chunks_of(area(x), x.c);
    size_t c = (size_t)x.c;
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (int t = 0; t < x.n * chunks.count; t++) {
        size_t  n = (size_t)(t / chunks.count);
        double *restrict s = part + (size_t)t * c;
        memset(s, 0, c * sizeof *s);
        for (size_t r = chunk_from(chunks, t % chunks.count); r < chunk_end(chunks, t % chunks.count); r++) {
            const real *restrict from = row_at(x, n * area(x) + r);
            if (!mid)
                for (size_t j = 0; j < c; j++) s[j] += (double)from[j];
            else
                for (size_t j = 0; j < c; j++) s[j] += ((double)from[j] - mid[n * c + j]) * ((double)from[j] - mid[n * c + j]);
        }
    }
    add_chunks(sum, part, x.n, chunks, c);
}

/* to (n,c) = from (n,c), its n's `next` apart and weighted by gamma if given, summed over the group of a channel and divided by the size of the group. */
static void mean_over_groups(double *to, const double *from, size_t next, const real *gamma, Tensor x, int groups)
{
    size_t c = (size_t)x.c, each = c / (size_t)groups;
    for (size_t n = 0; n < (size_t)x.n; n++)
        for (size_t j0 = 0; j0 < c; j0 += each) {
            double s = 0;
            for (size_t j = j0; j < j0 + each; j++) s += gamma ? from[n * next + j] * (double)gamma[j] : from[n * next + j];
            for (size_t j = j0; j < j0 + each; j++) to[n * c + j] = s / ((double)each * (double)area(x));
        }
}

static int group_norm(const Op *op)
{
    Tensor  y = op->y[0], x = op->x[0];
    size_t  c = (size_t)x.c, size = (size_t)x.n * c, each = c / (size_t)op->a.groups;
    Scratch s = scratch_of(op, x);
    sum_rows(s.sum, s.part, x, NULL);
    mean_over_groups(s.sum, s.sum, c, NULL, x, op->a.groups);
    for (size_t j = 0; j < size; j++) s.m[j] = (real)s.sum[j];
    sum_rows(s.sum, s.part, x, s.sum);
    mean_over_groups(s.sum, s.sum, c, NULL, x, op->a.groups);
    for (size_t j = 0; j < size; j++) s.r[j] = (real)(1 / sqrt(s.sum[j] + op->a.eps));
    for (size_t n = 0; n < (size_t)x.n; n++)
        for (size_t g = 0; g < (size_t)op->a.groups; g++) {
            row_at(op->y[1], n)[g] = s.m[n * c + g * each];
            row_at(op->y[2], n)[g] = s.r[n * c + g * each];
        }
#pragma omp parallel for schedule(static) if (size * area(x) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(x); r++) {
        size_t n = r / area(x) * c;
        forward_row(row_at(y, r), &(Row){ row_at(x, r), s.m + n, s.r + n, data(op->x[1]), data(op->x[2]), NULL, 1, op->a.silu }, x.c);
    }
    return 0;
}

/* m, r (n,c) = the saved mean and rstd (n,1,1,g), a copy for each channel of the group. */
static void spread_statistics(const Op *op, Scratch s)
{
    Tensor x = op->x[1];
    size_t c = (size_t)x.c, each = c / (size_t)op->a.groups;
    for (size_t n = 0; n < (size_t)x.n; n++)
        for (size_t j = 0; j < c; j++) s.m[n * c + j] = row_at(op->x[4], n)[j / each], s.r[n * c + j] = row_at(op->x[5], n)[j / each];
}

static Row group_row(const Op *op, Scratch s, size_t r)
{
    size_t n = r / area(op->x[1]) * (size_t)op->x[1].c;
    return (Row){ row_at(op->x[1], r), s.m + n, s.r + n, data(op->x[2]), data(op->x[3]), row_at(op->x[0], r), 1, op->a.silu };
}

/* sum (n,2,c) = sums of g and of g xh over the rows of each image; a layer norm takes all rows for one image. */
static void backward_sums(const Op *op, Scratch s)
{
    Tensor x = op->x[1];
    Chunks chunks = chunks_in(op, x);
    int    c = x.c, n = op->a.groups ? x.n : 1;
    size_t rows = row_count(x) / (size_t)n;
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (int t = 0; t < n * chunks.count; t++) {
        double *sum_g = s.part + (size_t)t * 2 * (size_t)c, *sum_gx = sum_g + c;
        size_t  first = (size_t)(t / chunks.count) * rows;
        memset(sum_g, 0, 2 * (size_t)c * sizeof *sum_g);
        for (size_t r = first + chunk_from(chunks, t % chunks.count); r < first + chunk_end(chunks, t % chunks.count); r++) {
            Row row = op->a.groups ? group_row(op, s, r) : layer_row(op, r);
            sums_row(sum_g, sum_gx, &row, c);
        }
    }
    add_chunks(s.sum, s.part, n, chunks, 2 * (size_t)c);
}

static int group_norm_dx(const Op *op)
{
    Tensor  dx = op->y[0];
    size_t  c = (size_t)dx.c, size = (size_t)dx.n * c;
    Scratch s = scratch_of(op, dx);
    spread_statistics(op, s);
    backward_sums(op, s);
    mean_over_groups(s.part, s.sum, 2 * c, data(op->x[2]), dx, op->a.groups);
    for (size_t j = 0; j < size; j++) s.a[j] = (real)s.part[j];
    mean_over_groups(s.part, s.sum + c, 2 * c, data(op->x[2]), dx, op->a.groups);
    for (size_t j = 0; j < size; j++) s.b[j] = (real)s.part[j];
#pragma omp parallel for schedule(static) if (size * area(dx) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(dx); r++) {
        size_t n = r / area(dx) * c;
        Row    row = group_row(op, s, r);
        dx_row(row_at(dx, r), &row, s.a + n, s.b + n, dx.c, op->acc);
    }
    return 0;
}

int NAME(norm)(const Op *op) { return op->a.groups ? group_norm(op) : layer_norm(op); }
int NAME(norm_dx)(const Op *op) { return op->a.groups ? group_norm_dx(op) : layer_norm_dx(op); }

int NAME(norm_dw)(const Op *op)
{
    Tensor  x = op->x[1];
    Scratch s = scratch_of(op, x);
    size_t  c = (size_t)x.c, n = op->a.groups ? (size_t)x.n : 1;
    if (op->a.groups) spread_statistics(op, s);
    backward_sums(op, s);
    for (size_t j = 0; j < c; j++) {
        double beta = 0, gamma = 0;
        for (size_t i = 0; i < n; i++) beta += s.sum[i * 2 * c + j], gamma += s.sum[(i * 2 + 1) * c + j];
        real *dgamma = data(op->y[0]) + j, *dbeta = data(op->y[1]) + j;
        *dgamma = (real)(op->acc ? (double)*dgamma + gamma : gamma);
        *dbeta = (real)(op->acc ? (double)*dbeta + beta : beta);
    }
    return 0;
}
