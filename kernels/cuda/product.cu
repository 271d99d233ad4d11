/* Linear and conv, and their gradients with respect to x: 72 % of a training step's work, and one kernel. With pixels m = (n, y, x) of the result:
 *
 *     y[m, j] = sum over parts of  scale * sum over taps, k of  a[pixel(m, tap), k] b[j, tap, k]     + bias[j] + row[n, j] + res[m, j]
 *
 * A part is the main product or a low-rank segment: one more slab or a few of what is summed over, so y is rounded once. No image of patches is made: a block
 * gathers its rows of a as it goes, and what lies outside of the picture is zero. b is the weight as it lies: (o, taps, i), its rows j = o forward, and read by
 * columns, j = i, backward. Sums of blocks that share a result go through scratch and a second kernel, always in the same order. */
#include "product.h"

/* One sum of the result: over the taps of a kernel and the channels of a. */
struct Part {
    const half *a, *b;
    size_t      a_img, a_ld, b_row, b_tap;              /* halves from an image, a pixel of a to the next; a row, a tap of b */
    int         h, w, k, kernel, stride, pad_y, pad_x;  /* pixels and channels of a */
    unsigned    first, count;                           /* the columns of y that it adds to */
    float       scale;
    bool        wide_a, wide_b;
};
enum { PARTS = 1 + MAX_SEG };

struct Product {
    Part     part[PARTS];
    Tensor   y, bias, row, res;
    float   *parts;                                     /* (splits, m, n) where splits > 1 */
    unsigned m, n, splits;
    int      count, acc;                                /* of `part` */
    bool     wide;                                      /* y, bias, row, res */
};

/* ---- where a slab comes from ---- */

/* The channels of a that tap t of the result's pixel m meets, or NULL: it lies outside. With tap (i, j), forward: (y s + i - pad, x s + j - pad); backward
 * the (y', x') from which forward comes here: ((y + pad - i) / s, (x + pad - j) / s), where these are whole. */
template <bool DX> DEVICE const half *pixel_met(const Product &p, const Part &part, unsigned tap, unsigned m)
{
    if (m >= p.m) return nullptr;
    const unsigned area = (unsigned)p.y.h * (unsigned)p.y.w, n = m / area, pixel = m - n * area;
    int            y = (int)(pixel / (unsigned)p.y.w), x = (int)pixel - y * p.y.w;
    const int      i = (int)tap / part.kernel, j = (int)tap - i * part.kernel;
    if (DX) {
        y += part.pad_y - i, x += part.pad_x - j;
        if (part.stride > 1) {
            if (y % part.stride || x % part.stride) return nullptr;
            y /= part.stride, x /= part.stride;
        }
    } else {
        y = y * part.stride + i - part.pad_y, x = x * part.stride + j - part.pad_x;
    }
    if ((unsigned)y >= (unsigned)part.h || (unsigned)x >= (unsigned)part.w) return nullptr;
    return part.a + n * part.a_img + (size_t)((unsigned)y * (unsigned)part.w + (unsigned)x) * part.a_ld;
}

/* A block's way through the slabs of its result. */
struct Walk {
    int      part, k;
    unsigned tap;
};

/* Slabs of a part for the columns [n, n + columns). */
DEVICE unsigned slabs_of(const Part &part, unsigned n, unsigned columns)
{
    if (n >= part.first + part.count || n + columns <= part.first) return 0;
    return (unsigned)(part.kernel * part.kernel) * ceil_div((unsigned)part.k, SLAB);
}

DEVICE Walk walk_to(const Product &p, unsigned slab, unsigned n, unsigned columns)
{
    Walk at = { 0, 0, 0 };
    for (unsigned here; at.part < p.count; at.part++, slab -= here)
        if (slab < (here = slabs_of(p.part[at.part], n, columns))) break;
    if (at.part < p.count) {
        const unsigned each = ceil_div((unsigned)p.part[at.part].k, SLAB);
        at.tap = slab / each, at.k = (int)(slab % each * SLAB);
    }
    return at;
}

/* The next slab; returns whether the pixels met are others now. */
DEVICE bool walk_on(const Product &p, Walk &at, unsigned n, unsigned columns)
{
    const Part &part = p.part[at.part];
    at.k += SLAB;
    if (at.k < part.k) return false;
    at.k = 0, at.tap++;
    if (at.tap < (unsigned)(part.kernel * part.kernel)) return true;
    at.tap = 0;
    do at.part++;
    while (at.part < p.count && !slabs_of(p.part[at.part], n, columns));
    return true;
}

/* ---- y's elements, from sums ---- */

DEVICE void finish(const Product &p, unsigned m, unsigned column, Floats<8> x)
{
    const unsigned n = m / ((unsigned)p.y.h * (unsigned)p.y.w);
    const int      count = (int)(p.n - column);
    const bool     wide = p.wide;
    if (p.bias.p) add_eight(x, (const half *)p.bias.p + column, count, wide);
    if (p.row.p) add_eight(x, (const half *)p.row.p + n * p.row.img + column, count, wide);
    if (p.res.p) add_eight(x, row_at<const half>(p.res, m) + column, count, wide);
    if (p.y.type == T_F16) {
        half *y = row_at<half>(p.y, m) + column;
        if (p.acc) add_eight(x, y, count, wide);
        store_eight(y, x, count, wide);
    } else {
        float *y = row_at<float>(p.y, m) + column;
        if (p.acc) add_eight(x, y, count, wide);
        store_eight(y, x, count, wide);
    }
}

KERNEL add_parts_kernel(Product p)
{
    const unsigned groups = ceil_div(p.n, 8);
    FOR_EACH (i, p.m * groups) {
        const unsigned m = i / groups, column = i % groups * 8;
        finish(p, m, column, sum_of_parts(p.parts, p.splits, p.m, p.n, m, column));
    }
}

/* ---- the kernel ---- */

/* Each thread brings eight halves of a few rows of a and of b, one slab ahead, in registers, while the warps multiply the slab before. */
template <int BM, int BN, int WM, bool DX> KERNEL __launch_bounds__((Slabs<BM, BN, WM, false, DX>::COUNT), BM == 64 ? 4 : 1) product_kernel(const Product p)
{
    typedef Slabs<BM, BN, WM, false, DX> S;
    enum { EACH_A = BM * SLAB / 8 / S::COUNT, EACH_B = BN * SLAB / 8 / S::COUNT, ACROSS_B = S::B_WIDTH / 8 };
    SMEM(S, s);
    const int      t = (int)threadIdx.x, warp = t / 32, wm = warp / S::WARPS_N * WM, wn = warp % S::WARPS_N * WN;
    const unsigned m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, z = blockIdx.z;
    const int      a_row = t / 4, a_k = t % 4 * 8, b_row = t / ACROSS_B, b_across = t % ACROSS_B * 8;

    unsigned slabs = 0;
    for (int i = 0; i < p.count; i++) slabs += slabs_of(p.part[i], n0, BN);
    const unsigned first = (unsigned)((size_t)slabs * z / p.splits), last = (unsigned)((size_t)slabs * (z + 1) / p.splits);

    Walk        at = walk_to(p, first, n0, BN);
    const half *a[EACH_A];
    uint4       next_a[EACH_A], next_b[EACH_B];
    auto look = [&]() {
#pragma unroll
        for (int i = 0; i < EACH_A; i++) a[i] = pixel_met<DX>(p, p.part[at.part], at.tap, m0 + a_row + i * (S::COUNT / 4));
    };
    auto fetch = [&]() {
        const Part &part = p.part[at.part];
        const half *b = part.b + at.tap * part.b_tap;
#pragma unroll
        for (int i = 0; i < EACH_A; i++) next_a[i] = eight(a[i] ? a[i] + at.k + a_k : nullptr, part.k - at.k - a_k, part.wide_a);
#pragma unroll
        for (int i = 0; i < EACH_B; i++) {
            const int row = b_row + i * (S::COUNT / ACROSS_B);
            if (DX) {                                   /* row k, columns of y; all parts reach all of them */
                const int column = (int)n0 + b_across;
                next_b[i] = eight(at.k + row < part.k ? b + (size_t)(at.k + row) * part.b_row + column : nullptr, (int)p.n - column, part.wide_b);
            } else {
                const unsigned column = n0 + (unsigned)row - part.first;       /* before the first is far after the last */
                next_b[i] = eight(column < part.count ? b + column * part.b_row + at.k + b_across : nullptr, part.k - at.k - b_across, part.wide_b);
            }
        }
    };
    auto keep = [&](int stage) {
#pragma unroll
        for (int i = 0; i < EACH_A; i++) *(uint4 *)&s.a[stage][a_row + i * (S::COUNT / 4)][a_k] = next_a[i];
#pragma unroll
        for (int i = 0; i < EACH_B; i++) *(uint4 *)&s.b[stage][b_row + i * (S::COUNT / ACROSS_B)][b_across] = next_b[i];
    };

    float acc[WM / 16][4][4] = {}, scale = 1;
    if (first < last) {
        look(), fetch(), keep(0);
        scale = p.part[at.part].scale;
    }
    __syncthreads();
    for (unsigned slab = first, stage = 0; slab < last; slab++, stage ^= 1) {
        const bool more = slab + 1 < last;
        if (more) {
            if (walk_on(p, at, n0, BN)) look();
            fetch();
        }
        multiply<WM, false, DX>(acc, s, (int)stage, wm, wn);
        if (more) {
            const float now = p.part[at.part].scale;
            if (now != scale) {                         /* what is summed so far counts in the next part's measure: parts come by |scale| */
                const float change = scale / now;
#pragma unroll
                for (int i = 0; i < WM / 16; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++)
#pragma unroll
                        for (int c = 0; c < 4; c++) acc[i][j][c] *= change;
                scale = now;
            }
            keep((int)stage ^ 1);
        }
        __syncthreads();
    }
    leave_by_rows<WM>(acc, scale, s, [&](int row, int column, const Floats<8> &x) {
        const unsigned m = m0 + (unsigned)(wm + row), n = n0 + (unsigned)(wn + column);
        if (m >= p.m || n >= p.n) return;
        if (p.splits > 1) store_part(p.parts, z, p.m, p.n, m, n, x);
        else finish(p, m, n, x);
    });
}

template <int BM, int BN, int WM, bool DX> static void launch(const Product &p, cudaStream_t stream)
{
    typedef Slabs<BM, BN, WM, false, DX> S;
    dim3 blocks(ceil_div(p.m, BM), ceil_div(p.n, BN), p.splits);
    LAUNCH((product_kernel<BM, BN, WM, DX>), blocks, dim3(S::COUNT), sizeof(S), stream, p);
}

template <bool DX> static int run(const Product &p, Cut cut, cudaStream_t stream)
{
    if (cut.bm == 64) launch<64, 64, 32, DX>(p, stream);
    else if (cut.bn == 64) launch<128, 64, 64, DX>(p, stream);
    else launch<128, 128, 64, DX>(p, stream);
    if (p.splits > 1) LAUNCH(add_parts_kernel, blocks_for(p.m * ceil_div(p.n, 8)), THREADS, 0, stream, p);
    return 0;
}

/* ---- ops as products ---- */

static Part part_of(Tensor a, Tensor w, Attr geometry, double scale, int dx, int first)
{
    Part part = { (const half *)a.p, (const half *)w.p, a.img, a.ld, w.img, w.ld, a.h, a.w, a.c, 1, 1, 0, 0, (unsigned)first, 0, (float)scale, false, false };
    if (geometry.kernel > 0) part.kernel = geometry.kernel, part.stride = geometry.stride, part.pad_y = geometry.pad[0], part.pad_x = geometry.pad[2];
    part.count = (unsigned)(dx ? w.c : w.n);
    part.wide_a = is_wide<8>(a), part.wide_b = is_wide<8>(w);
    return part;
}

static int run_product(const Op *op, int dx, cudaStream_t stream)
{
    const int  is_conv = op->kind == OP_CONV || op->kind == OP_CONV_DX;
    const Cut  cut = cut_of_product(op);
    const Attr point = {}, geometry = is_conv ? op->a : point;
    Product    p = {};
    p.y = op->y[0], p.bias = op->bias, p.row = op->row, p.res = op->res, p.acc = op->acc;
    p.m = row_count(p.y), p.n = (unsigned)p.y.c, p.splits = cut.splits, p.parts = (float *)op->scratch;
    p.wide = is_wide<8>(p.y) && is_wide<8>(p.bias) && is_wide<8>(p.row) && is_wide<8>(p.res);
    p.part[p.count++] = part_of(op->x[0], op->w.t, geometry, op->a.scale, dx, 0);
    for (const Seg &seg : op->seg)
        if (seg.x.p) p.part[p.count++] = part_of(seg.x, seg.w.t, dx ? geometry : point, seg.scale, dx, seg.o0);
    for (int i = 1; i < p.count; i++)                   /* by |scale|, so that no sum is ever multiplied by more than 1 */
        for (int j = i; j > 0 && fabsf(p.part[j].scale) < fabsf(p.part[j - 1].scale); j--) {
            Part smaller = p.part[j];
            p.part[j] = p.part[j - 1], p.part[j - 1] = smaller;
        }
    return dx ? run<true>(p, cut, stream) : run<false>(p, cut, stream);
}

RUN(linear) { return run_product(op, 0, stream); }
RUN(linear_dx) { return run_product(op, 1, stream); }
RUN(conv) { return run_product(op, 0, stream); }
RUN(conv_dx) { return run_product(op, 1, stream); }
