/* Group norm and layer norm, forward and backward. With xh = (x - mean) rstd, z = gamma xh + beta, y = f(z) and g = dy f'(z) (ref/ops/norm.c has the
 * derivation),
 *
 *     dx = rstd (g gamma - A - xh B),   A = mean of g gamma,   B = mean of g gamma xh,   means over the group of the image, or the row.
 *
 * A group norm needs two sums a channel: of x and x^2, or of g and g xh. A block adds a run of rows, all in double: a square of a half is exact in float, so
 * nothing is lost in the difference of two sums, and x is read once. Then a block a group adds the runs in order. A layer norm is a warp a row. */
#include "dev.h"
#include "need.h"

struct Norm {
    Tensor   y, x, dy, gamma, beta, mean, rstd;         /* y: dx in backward */
    unsigned each;                                      /* channels of a group; 0: a layer norm */
    float    eps;
    int      silu, acc;
};

/* ---- a few channels of a row ---- */

/* The mean and rstd of V channels from c on: of their groups, or of the row. */
template <int V> struct Statistics {
    float mean[V], rstd[V];
};
template <int V> DEVICE Statistics<V> statistics_at(const Norm &p, unsigned row, unsigned c)
{
    Statistics<V> s;
    if (!p.each) {
        const float mean = *row_at<const float>(p.mean, row), rstd = *row_at<const float>(p.rstd, row);
#pragma unroll
        for (int j = 0; j < V; j++) s.mean[j] = mean, s.rstd[j] = rstd;
        return s;
    }
    const unsigned n = row / ((unsigned)p.x.h * (unsigned)p.x.w);
    const float   *mean = row_at<const float>(p.mean, n), *rstd = row_at<const float>(p.rstd, n);
    unsigned       group = c / p.each, rest = c - group * p.each;
#pragma unroll
    for (int j = 0; j < V; j++) {
        s.mean[j] = mean[group], s.rstd[j] = rstd[group];
        if (++rest == p.each) group++, rest = 0;
    }
    return s;
}

/* g and xh. */
template <int V> struct Gradient {
    Floats<V> g, xh;
};
template <int V, class Dy> DEVICE Gradient<V> gradient_at(const Norm &p, const Statistics<V> &s, const Floats<V> &gamma, unsigned row, unsigned c)
{
    Gradient<V> at = { load<V>(row_at<const Dy>(p.dy, row) + c), load<V>(row_at<const half>(p.x, row) + c) };
#pragma unroll
    for (int j = 0; j < V; j++) at.xh.v[j] = (at.xh.v[j] - s.mean[j]) * s.rstd[j];
    if (p.silu) {
        const Floats<V> beta = load<V>((const half *)p.beta.p + c);
#pragma unroll
        for (int j = 0; j < V; j++) {
            const float z = at.xh.v[j] * gamma.v[j] + beta.v[j], share = logistic(z);
            at.g.v[j] *= share * (1 + z * (1 - share));
        }
    }
    return at;
}

template <int V> DEVICE void store_y(const Norm &p, const Statistics<V> &s, unsigned row, unsigned c)
{
    const Floats<V> gamma = load<V>((const half *)p.gamma.p + c), beta = load<V>((const half *)p.beta.p + c);
    Floats<V>       x = load<V>(row_at<const half>(p.x, row) + c);
#pragma unroll
    for (int j = 0; j < V; j++) {
        const float z = (x.v[j] - s.mean[j]) * s.rstd[j] * gamma.v[j] + beta.v[j];
        x.v[j] = p.silu ? z * logistic(z) : z;
    }
    store<V>(row_at<half>(p.y, row) + c, x);
}

/* A and B of each channel's group, or of the row. */
template <int V, class Dy> DEVICE void store_dx(const Norm &p, const Statistics<V> &s, const float2 (&means)[V], unsigned row, unsigned c)
{
    const Floats<V>   gamma = load<V>((const half *)p.gamma.p + c);
    const Gradient<V> at = gradient_at<V, Dy>(p, s, gamma, row, c);
    half             *to = row_at<half>(p.y, row) + c;
    Floats<V>         dx = p.acc ? load<V>(to) : Floats<V>();
#pragma unroll
    for (int j = 0; j < V; j++) {
        const float here = s.rstd[j] * (at.g.v[j] * gamma.v[j] - means[j].x - at.xh.v[j] * means[j].y);
        dx.v[j] = p.acc ? dx.v[j] + here : here;
    }
    store<V>(to, dx);
}

/* ---- two sums a channel ---- */

struct Sums {
    double u, v;
};

/* What is summed: u and v of V channels of a row. */
template <int V_> struct Squares {
    enum { V = V_ };
    Norm p;
    __device__ __forceinline__ void add(Sums (&sum)[V], unsigned row, unsigned c) const
    {
        const Floats<V> x = load<V>(row_at<const half>(p.x, row) + c);
#pragma unroll
        for (int j = 0; j < V; j++) sum[j].u += (double)x.v[j], sum[j].v += (double)(x.v[j] * x.v[j]);
    }
};
template <int V_, class Dy> struct Gradients {
    enum { V = V_ };
    Norm p;
    __device__ __forceinline__ void add(Sums (&sum)[V], unsigned row, unsigned c) const
    {
        const Gradient<V> at = gradient_at<V, Dy>(p, statistics_at<V>(p, row, c), load<V>((const half *)p.gamma.p + c), row, c);
#pragma unroll
        for (int j = 0; j < V; j++) sum[j].u += (double)at.g.v[j], sum[j].v += (double)(at.g.v[j] * at.xh.v[j]);
    }
};

template <int V> struct SumsShared {
    Sums at[THREADS][V];
};

/* parts (images, runs, c): run r of an image has its rows from r * length on. `across` threads lie side by side on a row. */
template <class What> KERNEL sums_kernel(const What what, Sums *parts, unsigned channels, unsigned rows, unsigned length, unsigned across)
{
    enum { V = What::V };
    SMEM(SumsShared<V>, s);
    const unsigned t = threadIdx.x, down = THREADS / across, column = t % across, lane = t / across, c = (blockIdx.x * across + column) * V;
    const unsigned run = blockIdx.y, image = blockIdx.z, end = min(rows, (run + 1) * length);
    Sums           sum[V] = {};
    if (lane < down && c < channels)
        for (unsigned r = run * length + lane; r < end; r += down) what.add(sum, image * rows + r, c);
#pragma unroll
    for (int j = 0; j < V; j++) s.at[t][j] = sum[j];
    __syncthreads();
    if (lane || c >= channels) return;
    for (unsigned r = 1; r < down; r++)
#pragma unroll
        for (int j = 0; j < V; j++) sum[j].u += s.at[r * across + column][j].u, sum[j].v += s.at[r * across + column][j].v;
#pragma unroll
    for (int j = 0; j < V; j++) parts[((size_t)image * gridDim.y + run) * channels + c + j] = sum[j];
}

template <class What> static void launch_sums(const What &what, Sums *parts, unsigned images, unsigned rows, cudaStream_t stream)
{
    const unsigned channels = (unsigned)what.p.x.c, groups = ceil_div(channels, What::V), across = min(groups, (unsigned)THREADS), runs = norm_runs(rows);
    LAUNCH((sums_kernel<What>), dim3(ceil_div(groups, across), runs, images), dim3(THREADS), sizeof(SumsShared<What::V>), stream, what, parts, channels, rows,
           ceil_div(rows, runs), across);
}

/* ---- group norm: what the channels of a group sum up to ---- */

struct GroupShared {
    double u[THREADS], v[THREADS];
};

/* With gamma, each channel's sums weighted by it. */
DEVICE Sums sums_of_group(GroupShared &s, const Norm &p, const Sums *parts, unsigned runs, const half *gamma)
{
    const unsigned first = blockIdx.x * p.each, channels = (unsigned)p.x.c;
    Sums           sum = {};
    for (unsigned i = threadIdx.x; i < runs * p.each; i += THREADS) {
        const unsigned run = i / p.each, c = first + i - run * p.each;
        const Sums     part = parts[((size_t)blockIdx.y * runs + run) * channels + c];
        const double   weight = gamma ? (double)to_float(gamma[c]) : 1;
        sum.u += weight * part.u, sum.v += weight * part.v;
    }
    sum.u = block_sum(sum.u, s.u), sum.v = block_sum(sum.v, s.v);
    const double count = (double)p.each * p.x.h * p.x.w;
    return { sum.u / count, sum.v / count };
}

KERNEL statistics_kernel(const Norm p, const Sums *parts, unsigned runs)
{
    SMEM(GroupShared, s);
    const Sums   mean = sums_of_group(s, p, parts, runs, nullptr);
    const double variance = mean.v - mean.u * mean.u;
    if (threadIdx.x) return;
    row_at<float>(p.mean, blockIdx.y)[blockIdx.x] = (float)mean.u;
    row_at<float>(p.rstd, blockIdx.y)[blockIdx.x] = (float)(1 / sqrt((variance < 0 ? 0 : variance) + (double)p.eps));
}

KERNEL means_kernel(const Norm p, const Sums *parts, unsigned runs, float2 *means)
{
    SMEM(GroupShared, s);
    const Sums mean = sums_of_group(s, p, parts, runs, (const half *)p.gamma.p);
    if (threadIdx.x == 0) means[blockIdx.y * gridDim.x + blockIdx.x] = make_float2((float)mean.u, (float)mean.v);
}

template <int V> KERNEL group_norm_kernel(const Norm p)
{
    const unsigned groups = (unsigned)p.x.c / V;
    FOR_EACH (i, row_count(p.x) * groups) {
        const unsigned row = i / groups, c = i % groups * V;
        store_y<V>(p, statistics_at<V>(p, row, c), row, c);
    }
}

template <int V, class Dy> KERNEL group_norm_dx_kernel(const Norm p, const float2 *means)
{
    const unsigned groups = (unsigned)p.x.c / V;
    FOR_EACH (i, row_count(p.x) * groups) {
        const unsigned row = i / groups, c = i % groups * V, n = row / ((unsigned)p.x.h * (unsigned)p.x.w);
        const float2  *of_image = means + n * ((unsigned)p.x.c / p.each);
        unsigned       group = c / p.each, rest = c - group * p.each;
        float2         of[V];
#pragma unroll
        for (int j = 0; j < V; j++) {
            of[j] = of_image[group];
            if (++rest == p.each) group++, rest = 0;
        }
        store_dx<V, Dy>(p, statistics_at<V>(p, row, c), of, row, c);
    }
}

/* ---- layer norm: a warp a row ---- */

enum { ROWS = THREADS / 32 };

DEVICE double warp_sum(double x)
{
#pragma unroll
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
    return x;
}

template <int V> KERNEL layer_norm_kernel(const Norm p)
{
    const unsigned row = blockIdx.x * ROWS + threadIdx.x / 32, lane = threadIdx.x % 32, c = (unsigned)p.x.c;
    if (row >= row_count(p.x)) return;
    const half *from = row_at<const half>(p.x, row);
    double      sum = 0, squares = 0;
    for (unsigned j0 = lane * V; j0 < c; j0 += 32 * V) {
        const Floats<V> x = load<V>(from + j0);
#pragma unroll
        for (int j = 0; j < V; j++) sum += (double)x.v[j], squares += (double)(x.v[j] * x.v[j]);
    }
    const double  mean = warp_sum(sum) / c, variance = warp_sum(squares) / c - mean * mean;
    const float   rstd = (float)(1 / sqrt((variance < 0 ? 0 : variance) + (double)p.eps));
    Statistics<V> s;
#pragma unroll
    for (int j = 0; j < V; j++) s.mean[j] = (float)mean, s.rstd[j] = rstd;
    if (lane == 0) *row_at<float>(p.mean, row) = (float)mean, *row_at<float>(p.rstd, row) = rstd;
    for (unsigned j0 = lane * V; j0 < c; j0 += 32 * V) store_y<V>(p, s, row, j0);
}

template <int V, class Dy> KERNEL layer_norm_dx_kernel(const Norm p)
{
    const unsigned row = blockIdx.x * ROWS + threadIdx.x / 32, lane = threadIdx.x % 32, c = (unsigned)p.x.c;
    if (row >= row_count(p.x)) return;
    const Statistics<V> s = statistics_at<V>(p, row, 0);
    double              sum_g = 0, sum_gx = 0;
    for (unsigned j0 = lane * V; j0 < c; j0 += 32 * V) {
        const Floats<V>   gamma = load<V>((const half *)p.gamma.p + j0);
        const Gradient<V> at = gradient_at<V, Dy>(p, s, gamma, row, j0);
#pragma unroll
        for (int j = 0; j < V; j++) {
            const float scaled = at.g.v[j] * gamma.v[j];
            sum_g += (double)scaled, sum_gx += (double)(scaled * at.xh.v[j]);
        }
    }
    const float2 mean = make_float2((float)(warp_sum(sum_g) / c), (float)(warp_sum(sum_gx) / c));
    float2       means[V];
#pragma unroll
    for (int j = 0; j < V; j++) means[j] = mean;
    for (unsigned j0 = lane * V; j0 < c; j0 += 32 * V) store_dx<V, Dy>(p, s, means, row, j0);
}

/* dgamma, dbeta (+)= the sums over images and runs, in order. */
KERNEL norm_dw_kernel(float *dgamma, float *dbeta, const Sums *parts, unsigned runs, unsigned channels, int acc)
{
    FOR_EACH (c, channels) {
        Sums sum = {};
        for (unsigned run = 0; run < runs; run++) sum.u += parts[(size_t)run * channels + c].u, sum.v += parts[(size_t)run * channels + c].v;
        dbeta[c] = (float)(acc ? (double)dbeta[c] + sum.u : sum.u);
        dgamma[c] = (float)(acc ? (double)dgamma[c] + sum.v : sum.v);
    }
}

/* ---- ops ---- */

static Norm norm_of(const Op *op)
{
    Norm p = {};
    p.silu = op->a.silu, p.acc = op->acc, p.eps = (float)op->a.eps, p.y = op->y[0];
    if (op->kind == OP_NORM) p.x = op->x[0], p.gamma = op->x[1], p.beta = op->x[2], p.mean = op->y[1], p.rstd = op->y[2];
    else p.dy = op->x[0], p.x = op->x[1], p.gamma = op->x[2], p.beta = op->x[3], p.mean = op->x[4], p.rstd = op->x[5];
    p.each = op->a.groups ? (unsigned)(p.x.c / op->a.groups) : 0;
    return p;
}
static bool is_wide_norm(const Norm &p) { return is_wide<8>(p.y) && is_wide<8>(p.x) && is_wide<8>(p.dy) && is_wide<8>(p.gamma) && is_wide<8>(p.beta); }

template <int V> static int run_norm(const Norm &p, Sums *parts, cudaStream_t stream)
{
    const unsigned rows = row_count(p.x), area = rows / (unsigned)p.x.n, channels = (unsigned)p.x.c;
    if (!p.each) {
        LAUNCH((layer_norm_kernel<V>), dim3(ceil_div(rows, ROWS)), dim3(THREADS), 0, stream, p);
        return 0;
    }
    Squares<V> what = { p };
    launch_sums(what, parts, (unsigned)p.x.n, area, stream);
    LAUNCH(statistics_kernel, dim3(channels / p.each, (unsigned)p.x.n), dim3(THREADS), sizeof(GroupShared), stream, p, (const Sums *)parts, norm_runs(area));
    LAUNCH((group_norm_kernel<V>), dim3(blocks_for(rows * (channels / V))), dim3(THREADS), 0, stream, p);
    return 0;
}

template <int V, class Dy> static int run_norm_dx(const Norm &p, Sums *parts, cudaStream_t stream)
{
    const unsigned rows = row_count(p.x), area = rows / (unsigned)p.x.n, channels = (unsigned)p.x.c, runs = norm_runs(area);
    if (!p.each) {
        LAUNCH((layer_norm_dx_kernel<V, Dy>), dim3(ceil_div(rows, ROWS)), dim3(THREADS), 0, stream, p);
        return 0;
    }
    float2          *means = (float2 *)(parts + (size_t)p.x.n * runs * channels);
    Gradients<V, Dy> what = { p };
    launch_sums(what, parts, (unsigned)p.x.n, area, stream);
    LAUNCH(means_kernel, dim3(channels / p.each, (unsigned)p.x.n), dim3(THREADS), sizeof(GroupShared), stream, p, (const Sums *)parts, runs, means);
    LAUNCH((group_norm_dx_kernel<V, Dy>), dim3(blocks_for(rows * (channels / V))), dim3(THREADS), 0, stream, p, (const float2 *)means);
    return 0;
}

/* A layer norm takes all rows for one image. */
template <int V, class Dy> static int run_norm_dw(const Op *op, const Norm &p, Sums *parts, cudaStream_t stream)
{
    const unsigned   images = p.each ? (unsigned)p.x.n : 1, rows = row_count(p.x) / images, channels = (unsigned)p.x.c;
    Gradients<V, Dy> what = { p };
    launch_sums(what, parts, images, rows, stream);
    LAUNCH(norm_dw_kernel, dim3(blocks_for(channels)), dim3(THREADS), 0, stream, (float *)op->y[0].p, (float *)op->y[1].p, (const Sums *)parts,
           images * norm_runs(rows), channels, p.acc);
    return 0;
}

RUN(norm)
{
    const Norm p = norm_of(op);
    return is_wide_norm(p) ? run_norm<8>(p, (Sums *)op->scratch, stream) : run_norm<1>(p, (Sums *)op->scratch, stream);
}

RUN(norm_dx)
{
    const Norm p = norm_of(op);
    Sums      *parts = (Sums *)op->scratch;
    if (p.dy.type == T_F32) return is_wide_norm(p) ? run_norm_dx<8, float>(p, parts, stream) : run_norm_dx<1, float>(p, parts, stream);
    return is_wide_norm(p) ? run_norm_dx<8, half>(p, parts, stream) : run_norm_dx<1, half>(p, parts, stream);
}

RUN(norm_dw)
{
    Norm  p = norm_of(op);
    Sums *parts = (Sums *)op->scratch;
    p.y = {};
    if (p.dy.type == T_F32) return is_wide_norm(p) ? run_norm_dw<8, float>(op, p, parts, stream) : run_norm_dw<1, float>(op, p, parts, stream);
    return is_wide_norm(p) ? run_norm_dw<8, half>(op, p, parts, stream) : run_norm_dw<1, half>(op, p, parts, stream);
}
