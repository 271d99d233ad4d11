/* The gradients of linear and conv with respect to their weights: with pixels p = (n, y, x) of dy,
 *
 *     dw[o, tap, i] = scale * sum over p of  dy[p, o] x[pixel(p, tap), i]
 *
 * Both operands are read by columns, as they lie. (tap, i) is one index of dw's row, so that taps are columns and nothing is made of patches. A LoRA's dw is
 * small and its sum long: many blocks share it (need.c), and a second kernel adds their parts in order. */
#include "product.h"

struct ProductDw {
    Tensor   dw, dy, x;
    float   *parts;                                     /* (splits, m, n) where splits > 1 */
    unsigned m, n, k, splits;                           /* m outputs, n = taps * inputs, k pixels of dy */
    int      kernel, stride, pad_y, pad_x, acc;
    float    scale;
    bool     wide_dy, wide_x, wide_dw;
};

/* x at (pixel met by p and the tap of column n, channel of n), or NULL: the tap lies outside. */
DEVICE const half *x_met(const ProductDw &p, unsigned pixel, unsigned n)
{
    if (n >= p.n || pixel >= p.k) return nullptr;
    if (p.kernel == 1 && p.stride == 1 && p.pad_y == 0 && p.pad_x == 0 && p.dy.w == p.x.w && p.dy.h == p.x.h) return row_at<const half>(p.x, pixel) + n;
    const unsigned tap = n / (unsigned)p.x.c, c = n - tap * (unsigned)p.x.c, line = pixel / (unsigned)p.dy.w, image = line / (unsigned)p.dy.h;
    const int      y = (int)(line - image * (unsigned)p.dy.h) * p.stride + (int)tap / p.kernel - p.pad_y;
    const int      x = (int)(pixel - line * (unsigned)p.dy.w) * p.stride + (int)tap % p.kernel - p.pad_x;
    if ((unsigned)y >= (unsigned)p.x.h || (unsigned)x >= (unsigned)p.x.w) return nullptr;
    return pixel_at<const half>(p.x, image, (unsigned)(y * p.x.w + x)) + c;
}

/* Eight columns of x from n on. Where channels do not come in eights, they may belong to two taps. */
DEVICE uint4 eight_of_x(const ProductDw &p, unsigned pixel, unsigned n)
{
    if (p.wide_x) return eight(x_met(p, pixel, n), 8, true);
    uint4 x = make_uint4(0, 0, 0, 0);
#pragma unroll 1
    for (unsigned j = 0; j < 8; j++) {
        const half *from = x_met(p, pixel, n + j);
        push_half(x, from ? *from : __float2half_rn(0));
    }
    return x;
}

DEVICE void finish(const ProductDw &p, unsigned m, unsigned column, Floats<8> x)
{
    const int  count = (int)(p.n - column);
    const bool wide = p.wide_dw && count >= 8;
    float     *dw = (float *)p.dw.p + m * p.dw.img + column;
    if (p.acc) add_eight(x, dw, count, wide);
    store_eight(dw, x, count, wide);
}

KERNEL add_parts_kernel(ProductDw p)
{
    const unsigned groups = ceil_div(p.n, 8);
    FOR_EACH (i, p.m * groups) {
        const unsigned m = i / groups, column = i % groups * 8;
        finish(p, m, column, sum_of_parts(p.parts, p.splits, p.m, p.n, m, column));
    }
}

template <int BM, int BN, int WM> KERNEL __launch_bounds__((Slabs<BM, BN, WM, true, true>::COUNT), BM == 64 ? 4 : 1) product_dw_kernel(const ProductDw p)
{
    typedef Slabs<BM, BN, WM, true, true> S;
    enum { EACH_A = BM * SLAB / 8 / S::COUNT, EACH_B = BN * SLAB / 8 / S::COUNT, ACROSS_A = BM / 8, ACROSS_B = BN / 8 };
    SMEM(S, s);
    const int      t = (int)threadIdx.x, warp = t / 32, wm = warp / S::WARPS_N * WM, wn = warp % S::WARPS_N * WN;
    const unsigned m0 = blockIdx.x * BM, n0 = blockIdx.y * BN, z = blockIdx.z, slabs = ceil_div(p.k, SLAB);
    const unsigned first = (unsigned)((size_t)slabs * z / p.splits), last = (unsigned)((size_t)slabs * (z + 1) / p.splits);
    const int      a_row = t / ACROSS_A, a_across = t % ACROSS_A * 8, b_row = t / ACROSS_B, b_across = t % ACROSS_B * 8;

    uint4 next_a[EACH_A], next_b[EACH_B];
    auto fetch = [&](unsigned slab) {
#pragma unroll
        for (int i = 0; i < EACH_A; i++) {
            const unsigned pixel = slab * SLAB + (unsigned)(a_row + i * (S::COUNT / ACROSS_A)), o = m0 + (unsigned)a_across;
            next_a[i] = eight(pixel < p.k ? row_at<const half>(p.dy, pixel) + o : nullptr, (int)p.m - (int)o, p.wide_dy);
        }
#pragma unroll
        for (int i = 0; i < EACH_B; i++)
            next_b[i] = eight_of_x(p, slab * SLAB + (unsigned)(b_row + i * (S::COUNT / ACROSS_B)), n0 + (unsigned)b_across);
    };
    auto keep = [&](int stage) {
#pragma unroll
        for (int i = 0; i < EACH_A; i++) *(uint4 *)&s.a[stage][a_row + i * (S::COUNT / ACROSS_A)][a_across] = next_a[i];
#pragma unroll
        for (int i = 0; i < EACH_B; i++) *(uint4 *)&s.b[stage][b_row + i * (S::COUNT / ACROSS_B)][b_across] = next_b[i];
    };

    float acc[WM / 16][4][4] = {};
    if (first < last) fetch(first), keep(0);
    __syncthreads();
    for (unsigned slab = first, stage = 0; slab < last; slab++, stage ^= 1) {
        if (slab + 1 < last) fetch(slab + 1);
        multiply<WM, true, true>(acc, s, (int)stage, wm, wn);
        if (slab + 1 < last) keep((int)stage ^ 1);
        __syncthreads();
    }
    leave_by_rows<WM>(acc, p.scale, s, [&](int row, int column, const Floats<8> &x) {
        const unsigned m = m0 + (unsigned)(wm + row), n = n0 + (unsigned)(wn + column);
        if (m >= p.m || n >= p.n) return;
        if (p.splits > 1) store_part(p.parts, z, p.m, p.n, m, n, x);
        else finish(p, m, n, x);
    });
}

template <int BM, int BN, int WM> static void launch(const ProductDw &p, cudaStream_t stream)
{
    typedef Slabs<BM, BN, WM, true, true> S;
    dim3 blocks(ceil_div(p.m, BM), ceil_div(p.n, BN), p.splits);
    LAUNCH((product_dw_kernel<BM, BN, WM>), blocks, dim3(S::COUNT), sizeof(S), stream, p);
}

static int run_product_dw(const Op *op, Attr geometry, cudaStream_t stream)
{
    const Cut cut = cut_of_dw(op);
    ProductDw p = {};
    p.dw = op->y[0], p.dy = op->x[0], p.x = op->x[1], p.parts = (float *)op->scratch, p.splits = cut.splits, p.acc = op->acc, p.scale = (float)op->a.scale;
    p.m = (unsigned)p.dw.n, p.n = (unsigned)(p.dw.h * p.dw.w * p.dw.c), p.k = row_count(p.dy);
    p.kernel = geometry.kernel, p.stride = geometry.stride, p.pad_y = geometry.pad[0], p.pad_x = geometry.pad[2];
    p.wide_dy = is_wide<8>(p.dy), p.wide_x = is_wide<8>(p.x), p.wide_dw = p.n % 8 == 0 && p.dw.img % 4 == 0 && (size_t)p.dw.p % 16 == 0;
    if (cut.bm == 64) launch<64, 64, 32>(p, stream);
    else if (cut.bn == 64) launch<128, 64, 64>(p, stream);
    else launch<128, 128, 64>(p, stream);
    if (p.splits > 1) LAUNCH(add_parts_kernel, blocks_for(p.m * ceil_div(p.n, 8)), THREADS, 0, stream, p);
    return 0;
}

RUN(linear_dw)
{
    Attr point = {};
    point.kernel = point.stride = 1;
    return run_product_dw(op, point, stream);
}
RUN(conv_dw) { return run_product_dw(op, op->a, stream); }
