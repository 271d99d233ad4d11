#include "cpu.h"
#include "vec.h"

/* Both norms compute, with a mean and a reciprocal deviation over a set of N elements (a group of an image; a row),
 *
 *   xh = (x - mean) rstd,   z = gamma xh + beta,   y = f(z).
 *
 * Let g = dy f'(z), the gradient at z. Then dgamma = sum g xh and dbeta = sum g over all elements of a channel. x reaches the loss through xh, and through
 * mean and rstd of its set: d xh_j / d x_l = rstd (delta_jl - 1/N - xh_j xh_l / N). So
 *
 *   dx = rstd (g gamma - A - xh B),   A = 1/N sum g gamma,   B = 1/N sum g gamma xh,   sums over the set.
 *
 * Group norm sums down the rows of an image, channel by channel: STRIP rows in floats, strips in doubles, in chunks of rows that are added in order; then
 * over the channels of a group. What all rows of an image then need is spread out to one number a channel. */

enum { STRIP = 32 };

/* ---- a vector of a row ---- */

typedef struct {
    V g, xh;
} AtZ;

INLINE V normal_of(V x, V mean, V rstd) { return (x - mean) * rstd; }

INLINE AtZ gradient_at_z(V dy, V xh, V gamma, V beta, int silu)
{
    if (!silu) return (AtZ){ dy, xh };
    V z = madd(xh, gamma, beta), s = logistic(z);
    return (AtZ){ dy * (s * (1 + z * (1 - s))), xh };
}

INLINE V forward_of(V xh, V gamma, V beta, int silu)
{
    V z = madd(xh, gamma, beta);
    return silu ? z * logistic(z) : z;
}

INLINE V dx_of(AtZ z, V gamma, V rstd, V a, V b) { return rstd * (z.g * gamma - a - z.xh * b); }

/* ---- layer norm ---- */

/* The sum of x, or of (x - m)^2, over a row: STRIP vectors in floats, strips in doubles. */
INLINE double sum_row(const float *x, int c, int squares, V m)
{
    double sum = 0;
    for (int j0 = 0; j0 < c; j0 += STRIP * W) {
        V s = { 0 };
        for (int j = j0; j < smaller(c, j0 + STRIP * W); j += W) {
            int n = smaller(W, c - j);
            V   d = take(x + j, n) - m;
            if (squares && n < W) d = load_part((const float *)&d, n);
            s = squares ? madd(d, d, s) : s + d;
        }
        sum += sum_of(s);
    }
    return sum;
}

/* x fits the first-level cache. Its squares are taken about m, the mean as a float, so each is too large by (mean - m)^2. */
INLINE void layer_row(const Op *op, size_t r, int silu)
{
    Tensor       y = op->y[0], x = op->x[0];
    const float *from = row_at(x, r), *gamma = data(op->x[1]), *beta = data(op->x[2]);
    float       *to = row_at(y, r);
    double       mean = sum_row(from, x.c, 0, (V){ 0 }) / x.c, off = mean - (double)(float)mean;
    V            m = splat((float)mean), rstd = splat((float)(1 / sqrt(sum_row(from, x.c, 1, m) / x.c - off * off + op->a.eps)));
    *row_at(op->y[1], r) = m[0], *row_at(op->y[2], r) = rstd[0];
    for (int j = 0; j < x.c; j += W) {
        int n = smaller(W, x.c - j);
        put(to + j, forward_of(normal_of(take(from + j, n), m, rstd), take(gamma + j, n), take(beta + j, n), silu), n);
    }
}

static int layer_norm(const Op *op)
{
#pragma omp parallel for schedule(static) if (tensor_count(op->x[0]) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(op->x[0]); r++) op->a.silu ? layer_row(op, r, 1) : layer_row(op, r, 0);
    return 0;
}

INLINE void layer_dx_row(const Op *op, size_t r, int silu)
{
    const float *dy = row_at(op->x[0], r), *x = row_at(op->x[1], r), *gamma = data(op->x[2]), *beta = data(op->x[3]);
    float       *dx = row_at(op->y[0], r);
    V            mean = splat(*row_at(op->x[4], r)), rstd = splat(*row_at(op->x[5], r)), sum = { 0 }, sum_x = { 0 };
    int          c = op->y[0].c;
    for (int j = 0; j < c; j += W) {
        int n = smaller(W, c - j);
        AtZ z = gradient_at_z(take(dy + j, n), normal_of(take(x + j, n), mean, rstd), take(gamma + j, n), take(beta + j, n), silu);
        V   scaled = z.g * take(gamma + j, n);
        sum += scaled, sum_x = madd(scaled, z.xh, sum_x);
    }
    V a = splat((float)(sum_of(sum) / c)), b = splat((float)(sum_of(sum_x) / c));
    for (int j = 0; j < c; j += W) {
        int n = smaller(W, c - j);
        AtZ z = gradient_at_z(take(dy + j, n), normal_of(take(x + j, n), mean, rstd), take(gamma + j, n), take(beta + j, n), silu);
        V   to = dx_of(z, take(gamma + j, n), rstd, a, b);
        put(dx + j, op->acc ? take(dx + j, n) + to : to, n);
    }
}

static int layer_norm_dx(const Op *op)
{
#pragma omp parallel for schedule(static) if (tensor_count(op->y[0]) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(op->y[0]); r++) op->a.silu ? layer_dx_row(op, r, 1) : layer_dx_row(op, r, 0);
    return 0;
}

/* ---- sums down the rows ---- */

/* First the doubles, then the floats. */
typedef struct {
    double *sum, *part;                                 /* (n,2,c), (n,chunks,2,c); the forward pass uses half of each */
    float  *m, *r, *a, *b;                              /* (n,c) each */
} Scratch;

static int    images_of(const Op *op, Tensor x) { return op->a.groups ? x.n : 1; }
static Chunks chunks_in(const Op *op, Tensor x) { return chunks_of(row_count(x) / (size_t)images_of(op, x), x.c); }

static Scratch scratch_of(const Op *op, Tensor x)
{
    size_t  size = (size_t)images_of(op, x) * (size_t)x.c;
    double *sum = op->scratch, *part = sum + 2 * size;
    float  *m = (float *)(part + 2 * size * (size_t)chunks_in(op, x).count);
    return (Scratch){ sum, part, m, m + size, m + 2 * size, m + 3 * size };
}

static size_t scratch_size(const Op *op, Tensor x)
{
    size_t size = (size_t)images_of(op, x) * (size_t)x.c;
    return 2 * size * (1 + (size_t)chunks_in(op, x).count) * sizeof(double) + 4 * size * sizeof(float);
}

size_t NAME(norm_need)(const Op *op) { return op->a.groups ? scratch_size(op, op->x[0]) : 0; }
size_t NAME(norm_dx_need)(const Op *op) { return op->a.groups ? scratch_size(op, op->x[1]) : 0; }
size_t NAME(norm_dw_need)(const Op *op) { return scratch_size(op, op->x[1]); }

/* sum (n,c) = part (n,chunks,c), chunks added in order. */
static void add_chunks(double *sum, const double *part, int n, Chunks chunks, size_t c)
{
    for (size_t i = 0; i < (size_t)n; i++, part += (size_t)chunks.count * c)
        for (size_t j = 0; j < c; j++) {
            double s = 0;
            for (size_t chunk = 0; chunk < (size_t)chunks.count; chunk++) s += part[chunk * c + j];
            sum[i * c + j] = s;
        }
}

INLINE void add_doubles(double *to, V s, int n)
{
    for (int j = 0; j < n; j++) to[j] += (double)s[j];
}

/* to (c) = the sum over rows first.. end of x, or, mid (c) given, of (x - mid)^2. */
INLINE void sum_chunk(double *to, Tensor x, size_t first, size_t end, const float *mid)
{
    memset(to, 0, (size_t)x.c * sizeof *to);
    for (size_t r0 = first; r0 < end; r0 += STRIP)
        for (int c = 0; c < x.c; c += W) {
            int          n = smaller(W, x.c - c);
            size_t       stop = at_most(r0 + STRIP, end);
            const float *from = row_at(x, r0) + c;
            V            s = { 0 }, m = mid ? take(mid + c, n) : s;
            for (size_t r = r0; r < stop; r++, from += x.ld) {
                V d = take(from, n) - m;
                s = mid ? madd(d, d, s) : s + d;
            }
            add_doubles(to + c, s, n);
        }
}

/* sum (n,c): over the rows of each image. */
static void sum_rows(const Op *op, Scratch s, const float *mid)
{
    Tensor x = op->x[0];
    Chunks chunks = chunks_in(op, x);
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (int t = 0; t < x.n * chunks.count; t++) {
        size_t  n = (size_t)(t / chunks.count), c = (size_t)x.c, first = n * area(x);
        double *to = s.part + (size_t)t * c;
        size_t  from = first + chunk_from(chunks, t % chunks.count), end = first + chunk_end(chunks, t % chunks.count);
        mid ? sum_chunk(to, x, from, end, mid + n * c) : sum_chunk(to, x, from, end, NULL);
    }
    add_chunks(s.sum, s.part, x.n, chunks, (size_t)x.c);
}

/* to (n,c) = from (n,c), its n's `next` apart and weighted by gamma if given, summed over the group of a channel and divided by the size of the group. */
static void mean_over_groups(double *to, const double *from, size_t next, const float *gamma, Tensor x, int groups)
{
    size_t c = (size_t)x.c, each = c / (size_t)groups;
    for (size_t n = 0; n < (size_t)x.n; n++)
        for (size_t j0 = 0; j0 < c; j0 += each) {
            double s = 0;
            for (size_t j = j0; j < j0 + each; j++) s += gamma ? from[n * next + j] * (double)gamma[j] : from[n * next + j];
            for (size_t j = j0; j < j0 + each; j++) to[n * c + j] = s / ((double)each * (double)area(x));
        }
}

/* ---- group norm ---- */

static int group_norm_statistics(const Op *op, Scratch s)
{
    Tensor x = op->x[0];
    size_t c = (size_t)x.c, size = (size_t)x.n * c, each = c / (size_t)op->a.groups;
    sum_rows(op, s, NULL);
    mean_over_groups(s.part, s.sum, c, NULL, x, op->a.groups);
    for (size_t j = 0; j < size; j++) s.m[j] = (float)s.part[j], s.r[j] = (float)(s.part[j] - (double)s.m[j]);
    sum_rows(op, s, s.m);                               /* of (x - m)^2, m a float: too much by (mean - m)^2 an element */
    mean_over_groups(s.part, s.sum, c, NULL, x, op->a.groups);
    for (size_t j = 0; j < size; j++) s.r[j] = (float)(1 / sqrt(s.part[j] - (double)s.r[j] * (double)s.r[j] + op->a.eps));
    for (size_t n = 0; n < (size_t)x.n; n++)
        for (size_t g = 0; g < (size_t)op->a.groups; g++) {
            row_at(op->y[1], n)[g] = s.m[n * c + g * each];
            row_at(op->y[2], n)[g] = s.r[n * c + g * each];
        }
    return 0;
}

INLINE void group_row(const Op *op, Scratch s, size_t r, int silu)
{
    Tensor       x = op->x[0];
    size_t       n = r / area(x) * (size_t)x.c;
    const float *from = row_at(x, r), *m = s.m + n, *rstd = s.r + n, *gamma = data(op->x[1]), *beta = data(op->x[2]);
    float       *to = row_at(op->y[0], r);
    for (int j = 0; j < x.c; j += W) {
        int k = smaller(W, x.c - j);
        put(to + j, forward_of(normal_of(take(from + j, k), take(m + j, k), take(rstd + j, k)), take(gamma + j, k), take(beta + j, k), silu), k);
    }
}

static int group_norm(const Op *op)
{
    Tensor  x = op->x[0];
    Scratch s = scratch_of(op, x);
    group_norm_statistics(op, s);
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(x); r++) op->a.silu ? group_row(op, s, r, 1) : group_row(op, s, r, 0);
    return 0;
}

/* ---- backward ---- */

/* m, r (n,c) = the saved mean and rstd (n,1,1,g), a copy for each channel of the group. */
static void spread_statistics(const Op *op, Scratch s)
{
    Tensor x = op->x[1];
    size_t c = (size_t)x.c, each = c / (size_t)op->a.groups;
    for (size_t n = 0; n < (size_t)x.n; n++)
        for (size_t j = 0; j < c; j++) s.m[n * c + j] = row_at(op->x[4], n)[j / each], s.r[n * c + j] = row_at(op->x[5], n)[j / each];
}

/* The gradient at z of channels c.. of a row: x, dy point there. Statistics come a channel each (group norm) or one for the row. */
INLINE AtZ at_z(const Op *op, const float *x, const float *dy, const float *m, const float *rstd, int c, int n, int groups, int silu)
{
    V xh = groups ? normal_of(take(x, n), take(m + c, n), take(rstd + c, n)) : normal_of(take(x, n), splat(*m), splat(*rstd));
    return gradient_at_z(take(dy, n), xh, take(data(op->x[2]) + c, n), take(data(op->x[3]) + c, n), silu);
}

/* to (2,c) = the sums of g and of g xh over rows first.. end. */
INLINE void backward_chunk(double *to, const Op *op, Scratch s, size_t first, size_t end, int groups, int silu)
{
    const float *x[STRIP], *dy[STRIP], *m[STRIP], *rstd[STRIP];
    int          c = op->x[1].c;
    memset(to, 0, 2 * (size_t)c * sizeof *to);
    for (size_t r0 = first; r0 < end; r0 += STRIP) {
        int rows = (int)at_most(STRIP, end - r0);
        for (int r = 0; r < rows; r++) {
            size_t at = r0 + (size_t)r, image = groups ? at / area(op->x[1]) * (size_t)c : 0;
            x[r] = row_at(op->x[1], at), dy[r] = row_at(op->x[0], at);
            m[r] = groups ? s.m + image : row_at(op->x[4], at), rstd[r] = groups ? s.r + image : row_at(op->x[5], at);
        }
        for (int j = 0; j < c; j += W) {
            int n = smaller(W, c - j);
            V   sum = { 0 }, sum_x = { 0 };
            for (int r = 0; r < rows; r++) {
                AtZ z = at_z(op, x[r] + j, dy[r] + j, m[r], rstd[r], j, n, groups, silu);
                sum += z.g, sum_x = madd(z.g, z.xh, sum_x);
            }
            add_doubles(to + j, sum, n), add_doubles(to + c + j, sum_x, n);
        }
    }
}

/* sum (n,2,c) = sums of g and of g xh over the rows of each image; a layer norm takes all rows for one image. */
static void backward_sums(const Op *op, Scratch s)
{
    Tensor x = op->x[1];
    Chunks chunks = chunks_in(op, x);
    int    n = images_of(op, x), silu = op->a.silu;
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (int t = 0; t < n * chunks.count; t++) {
        double *to = s.part + (size_t)t * 2 * (size_t)x.c;
        size_t  first = (size_t)(t / chunks.count) * chunks.rows;
        size_t  from = first + chunk_from(chunks, t % chunks.count), end = first + chunk_end(chunks, t % chunks.count);
        if (op->a.groups) silu ? backward_chunk(to, op, s, from, end, 1, 1) : backward_chunk(to, op, s, from, end, 1, 0);
        else silu ? backward_chunk(to, op, s, from, end, 0, 1) : backward_chunk(to, op, s, from, end, 0, 0);
    }
    add_chunks(s.sum, s.part, n, chunks, 2 * (size_t)x.c);
}

INLINE void group_dx_row(const Op *op, Scratch s, size_t r, int silu)
{
    Tensor       dx = op->y[0];
    size_t       n = r / area(dx) * (size_t)dx.c;
    float       *to = row_at(dx, r);
    const float *dy = row_at(op->x[0], r), *x = row_at(op->x[1], r), *rstd = s.r + n, *a = s.a + n, *b = s.b + n;
    for (int j = 0; j < dx.c; j += W) {
        int k = smaller(W, dx.c - j);
        V   d = dx_of(at_z(op, x + j, dy + j, s.m + n, rstd, j, k, 1, silu), take(data(op->x[2]) + j, k), take(rstd + j, k), take(a + j, k), take(b + j, k));
        put(to + j, op->acc ? take(to + j, k) + d : d, k);
    }
}

static int group_norm_dx(const Op *op)
{
    Tensor  dx = op->y[0];
    size_t  c = (size_t)dx.c, size = (size_t)dx.n * c;
    Scratch s = scratch_of(op, dx);
    spread_statistics(op, s);
    backward_sums(op, s);
    mean_over_groups(s.part, s.sum, 2 * c, data(op->x[2]), dx, op->a.groups);
    for (size_t j = 0; j < size; j++) s.a[j] = (float)s.part[j];
    mean_over_groups(s.part, s.sum + c, 2 * c, data(op->x[2]), dx, op->a.groups);
    for (size_t j = 0; j < size; j++) s.b[j] = (float)s.part[j];
#pragma omp parallel for schedule(static) if (tensor_count(dx) > PARALLEL_FROM)
    for (size_t r = 0; r < row_count(dx); r++) op->a.silu ? group_dx_row(op, s, r, 1) : group_dx_row(op, s, r, 0);
    return 0;
}

int NAME(norm)(const Op *op) { return op->a.groups ? group_norm(op) : layer_norm(op); }
int NAME(norm_dx)(const Op *op) { return op->a.groups ? group_norm_dx(op) : layer_norm_dx(op); }

int NAME(norm_dw)(const Op *op)
{
    Tensor  x = op->x[1];
    Scratch s = scratch_of(op, x);
    size_t  c = (size_t)x.c, n = (size_t)images_of(op, x);
    if (op->a.groups) spread_statistics(op, s);
    backward_sums(op, s);
    for (size_t j = 0; j < c; j++) {
        float *dgamma = data(op->y[0]) + j, *dbeta = data(op->y[1]) + j;
        double gamma = op->acc ? (double)*dgamma : 0, beta = op->acc ? (double)*dbeta : 0;
        for (size_t i = 0; i < n; i++) beta += s.sum[i * 2 * c + j], gamma += s.sum[(i * 2 + 1) * c + j];
        *dgamma = (float)gamma, *dbeta = (float)beta;
    }
    return 0;
}
