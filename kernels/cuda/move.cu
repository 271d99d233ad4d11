/* What copies, spreads and gathers. All of it is bound by memory: a kernel reads and writes each element once, 8 channels at a time where every row starts on
 * a multiple of 16 bytes (in SD they all do), else one at a time. A tensor without gaps is taken as one long row, which saves a division an element group. */
#include "dev.h"

/* ---- y = scale x, y += scale x, y = value ---- */

template <int V, class Y, class X> KERNEL copy_kernel(Tensor y, Tensor x, float scale, int acc)
{
    const unsigned groups = (unsigned)y.c / V;
    FOR_EACH (i, row_count(y) * groups) {
        unsigned  row = i / groups, c = i % groups * V;
        Y        *to = row_at<Y>(y, row) + c;
        Floats<V> from = load<V>(row_at<const X>(x, row) + c), old = acc ? load<V>(to) : Floats<V>();
#pragma unroll
        for (int j = 0; j < V; j++) from.v[j] = acc ? old.v[j] + scale * from.v[j] : scale * from.v[j];
        store<V>(to, from);
    }
}

template <int V, class Y, class X> static void copy_as(Tensor y, Tensor x, float scale, int acc, cudaStream_t stream)
{
    LAUNCH((copy_kernel<V, Y, X>), blocks_for(row_count(y) * ((unsigned)y.c / V)), THREADS, 0, stream, y, x, scale, acc);
}
template <class Y, class X> static void copy_wide(Tensor y, Tensor x, float scale, int acc, cudaStream_t stream)
{
    if (is_wide<8>(y) && is_wide<8>(x)) copy_as<8, Y, X>(y, x, scale, acc, stream);
    else copy_as<1, Y, X>(y, x, scale, acc, stream);
}

RUN(copy)
{
    bool   dense = is_dense(op->y[0]) && is_dense(op->x[0]);
    Tensor y = dense ? as_row(op->y[0]) : op->y[0], x = dense ? as_row(op->x[0]) : op->x[0];
    float  scale = (float)op->a.scale;
    if (y.type == T_F16 && x.type == T_F16) copy_wide<half, half>(y, x, scale, op->acc, stream);
    else if (y.type == T_F16) copy_wide<half, float>(y, x, scale, op->acc, stream);
    else if (x.type == T_F16) copy_wide<float, half>(y, x, scale, op->acc, stream);
    else copy_wide<float, float>(y, x, scale, op->acc, stream);
    return 0;
}

template <int V, class Y> KERNEL fill_kernel(Tensor y, float value)
{
    const unsigned groups = (unsigned)y.c / V;
    Floats<V>      values;
#pragma unroll
    for (int j = 0; j < V; j++) values.v[j] = value;
    FOR_EACH (i, row_count(y) * groups) store<V>(row_at<Y>(y, i / groups) + i % groups * V, values);
}

template <int V, class Y> static void fill_as(Tensor y, float value, cudaStream_t stream)
{
    LAUNCH((fill_kernel<V, Y>), blocks_for(row_count(y) * ((unsigned)y.c / V)), THREADS, 0, stream, y, value);
}

RUN(fill)
{
    Tensor y = is_dense(op->y[0]) ? as_row(op->y[0]) : op->y[0];
    float  value = (float)op->a.scale;
    bool   wide = is_wide<8>(y);
    if (y.type == T_F16 && wide) fill_as<8, half>(y, value, stream);
    else if (y.type == T_F16) fill_as<1, half>(y, value, stream);
    else if (wide) fill_as<8, float>(y, value, stream);
    else fill_as<1, float>(y, value, stream);
    return 0;
}

/* ---- y = a + b, y = a b: a dimension of b that is 1 is read again and again, the distance to its next element being 0 ---- */

template <int V, bool PRODUCT> KERNEL combine_kernel(Tensor y, Tensor a, Tensor b)
{
    const unsigned groups = (unsigned)y.c / V;
    FOR_EACH (i, row_count(y) * groups) {
        unsigned    row = i / groups, c = i % groups * V, line = row / (unsigned)y.w;
        unsigned    w = row % (unsigned)y.w, h = line % (unsigned)y.h, n = line / (unsigned)y.h;
        const half *from = pixel_at<const half>(b, b.n > 1 ? n : 0, (b.h > 1 ? h : 0) * (unsigned)b.w + (b.w > 1 ? w : 0));
        Floats<V>   left = load<V>(row_at<const half>(a, row) + c), right;
        if (b.c > 1) right = load<V>(from + c);
#pragma unroll
        for (int j = 0; j < V; j++) {
            if (b.c == 1) right.v[j] = __half2float(*from);
            left.v[j] = PRODUCT ? left.v[j] * right.v[j] : left.v[j] + right.v[j];
        }
        store<V>(row_at<half>(y, row) + c, left);
    }
}

template <bool PRODUCT> static int combine(const Op *op, cudaStream_t stream)
{
    Tensor y = op->y[0], a = op->x[0], b = op->x[1];
    bool   same = b.n == y.n && b.h == y.h && b.w == y.w && b.c == y.c;
    if (same && is_dense(y) && is_dense(a) && is_dense(b)) y = as_row(y), a = as_row(a), b = as_row(b);
    unsigned rows = row_count(y), c = (unsigned)y.c;
    if (is_wide<8>(y) && is_wide<8>(a) && (b.c == 1 || is_wide<8>(b)))
        LAUNCH((combine_kernel<8, PRODUCT>), blocks_for(rows * (c / 8)), THREADS, 0, stream, y, a, b);
    else LAUNCH((combine_kernel<1, PRODUCT>), blocks_for(rows * c), THREADS, 0, stream, y, a, b);
    return 0;
}

RUN(add) { return combine<false>(op, stream); }
RUN(mul) { return combine<true>(op, stream); }

/* ---- y[2p+a, 2q+b] = x[p,q] for a, b in {0,1}; dx[p,q] = sum of the four dy ---- */

template <int V> KERNEL up2_kernel(Tensor y, Tensor x)
{
    const unsigned groups = (unsigned)y.c / V;
    FOR_EACH (i, row_count(y) * groups) {
        unsigned row = i / groups, c = i % groups * V, q = row % (unsigned)y.w, p = row / (unsigned)y.w;       /* p counts through n and h: y.h is even */
        store<V>(row_at<half>(y, row) + c, load<V>(row_at<const half>(x, p / 2 * (unsigned)x.w + q / 2) + c));
    }
}

RUN(up2)
{
    Tensor   y = op->y[0], x = op->x[0];
    unsigned rows = row_count(y), c = (unsigned)y.c;
    if (is_wide<8>(y) && is_wide<8>(x)) LAUNCH((up2_kernel<8>), blocks_for(rows * (c / 8)), THREADS, 0, stream, y, x);
    else LAUNCH((up2_kernel<1>), blocks_for(rows * c), THREADS, 0, stream, y, x);
    return 0;
}

template <int V> KERNEL up2_dx_kernel(Tensor dx, Tensor dy, int acc)
{
    const unsigned groups = (unsigned)dx.c / V;
    FOR_EACH (i, row_count(dx) * groups) {
        unsigned    row = i / groups, c = i % groups * V, q = row % (unsigned)dx.w, p = row / (unsigned)dx.w;
        half       *to = row_at<half>(dx, row) + c;
        const half *above = row_at<const half>(dy, 2 * p * (unsigned)dy.w + 2 * q) + c, *below = above + (unsigned)dy.w * dy.ld;
        Floats<V>   s = load<V>(above), right = load<V>(above + dy.ld), left = load<V>(below), last = load<V>(below + dy.ld);
        Floats<V>   old = acc ? load<V>(to) : Floats<V>();
#pragma unroll
        for (int j = 0; j < V; j++) {
            s.v[j] = (s.v[j] + right.v[j]) + (left.v[j] + last.v[j]);
            if (acc) s.v[j] += old.v[j];
        }
        store<V>(to, s);
    }
}

RUN(up2_dx)
{
    Tensor   dx = op->y[0], dy = op->x[0];
    unsigned rows = row_count(dx), c = (unsigned)dx.c;
    if (is_wide<8>(dx) && is_wide<8>(dy)) LAUNCH((up2_dx_kernel<8>), blocks_for(rows * (c / 8)), THREADS, 0, stream, dx, dy, op->acc);
    else LAUNCH((up2_dx_kernel<1>), blocks_for(rows * c), THREADS, 0, stream, dx, dy, op->acc);
    return 0;
}
