/* Attention, forward and backward, a head at a time; the tq x tk matrix of scores is never stored (Dao et al. 2022). With s = scale q k^T,
 *
 *     p = e^(s - lse),   y = p v,   dv = p^T dy,   dp = dy v^T,   ds = p (dp - delta),   delta = dy . y,   dq = scale ds k,   dk = scale ds^T q.
 *
 * A block has 64 rows of a head, a warp 16 of them, and goes through the other side BN rows at a time: queries through keys forward and for dq, keys through
 * queries for dk and dv, so that every sum has one owner and one order. Scores stay in registers: what an mma leaves is what the next one takes as A.
 *
 * A product wants halves, and p and ds are floats: each is taken as the sum of two halves, 22 bits, in units that suit it. p <= 1 counts in 2^-15. ds has no
 * such bound, so its unit is a power of 2 that follows the largest of its row so far, as the forward pass follows the largest score.
 *
 * A head may be wider than the D channels of a tile. Scores are then summed over its chunks, and blocks along z leave a chunk each. */
#include "dev.h"
#include "need.h"

enum { ROWS = 64, WARP_ROWS = 16, ATTN_THREADS = ROWS / WARP_ROWS * 32 };
#define LOG2_E 1.44269504088896341f
#define LN_2   0.693147180559945309f
#define P_UNIT 32768.0f

struct Attn {
    Tensor   y, lse, q, k, v, dy, dq, dk, dv;
    float   *delta;                                     /* (n, tq, heads) */
    unsigned heads, d, chunks;
    float    scale;
    int      causal;
    bool     wide;                                      /* eight channels of q, k, v and their like lie on 16 bytes */
};

DEVICE bool sees(const Attn &p, unsigned query, unsigned key)
{
    return query < (unsigned)p.q.w && key < (unsigned)p.k.w && (!p.causal || key <= query);
}

/* ---- tiles: rows of a chunk, zeros where there are none. A row is an odd number of 16 bytes long, so that the eight addresses which ldmatrix takes at a
 * time fall on different banks ---- */

template <int R, int D> struct __align__(16) Tile {
    half at[R][D / 8 % 2 ? D : D + 8];
};

template <int R, int D> DEVICE void bring(Tile<R, D> &to, const Attn &p, const Tensor &t, unsigned row0, unsigned chunk)
{
    const unsigned n = blockIdx.y / p.heads, first = chunk * D, channel = blockIdx.y % p.heads * p.d + first;
    for (unsigned i = threadIdx.x; i < R * (D / 8); i += ATTN_THREADS) {
        const unsigned r = i / (D / 8), c = i % (D / 8) * 8, row = row0 + r;
        const half    *from = row < (unsigned)t.w && first + c < p.d ? pixel_at<const half>(t, n, row) + channel + c : nullptr;
        *(uint4 *)&to.at[r][c] = eight(from, (int)(p.d - first - c), p.wide);
    }
}

/* The warp's rows of the block's chunk, row g of its lanes scaled by scale[0], row g + 8 by scale[1]. */
template <int D> DEVICE void leave(const float (&acc)[D / 8][4], const float (&scale)[2], const Attn &p, const Tensor &t)
{
    const unsigned n = blockIdx.y / p.heads, first = blockIdx.z * D, lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const unsigned row = blockIdx.x * ROWS + threadIdx.x / 32 * WARP_ROWS + lane / 4 + 8 * i;
        if (row >= (unsigned)t.w) continue;
        half *to = pixel_at<half>(t, n, row) + blockIdx.y % p.heads * p.d;
#pragma unroll
        for (int j = 0; j < D / 8; j++) {
            const unsigned c = first + 8 * j + lane % 4 * 2;
            const float    a = acc[j][2 * i] * scale[i], b = acc[j][2 * i + 1] * scale[i];
            if (p.wide) {
                if (c < p.d) *(unsigned *)(to + c) = pack_halves(a, b);
            } else {
                if (c < p.d) round_to(to[c], a);
                if (c + 1 < p.d) round_to(to[c + 1], b);
            }
        }
    }
}

/* ---- products of a warp ---- */

/* s (16, BN) += the warp's rows of a times rows of b. */
template <int BN, int D> DEVICE void add_scores(float (&s)[BN / 8][4], const Tile<ROWS, D> &a, const Tile<BN, D> &b)
{
    const int lane = threadIdx.x % 32, row = (int)threadIdx.x / 32 * WARP_ROWS + lane % 16;
#pragma unroll
    for (int k = 0; k < D; k += 8) {
        unsigned x[2];
        ldmatrix_x2(x, &a.at[row][k]);
#pragma unroll
        for (int j = 0; j < BN / 8; j += 4) {
            unsigned y[4];
            ldmatrix_x4(y, &b.at[8 * j + lane][k]);
#pragma unroll
            for (int i = 0; i < 4; i++) mma_m16n8k8(s[j + i], x[0], x[1], y[i]);
        }
    }
}

/* a and b as the sum of two pairs of halves. */
struct Split {
    unsigned high, low;
};
DEVICE Split split(float a, float b)
{
    const unsigned high = pack_halves(a, b);
    const float2   kept = __half22float2(bits_of<half2>(high));
    return { high, pack_halves(a - kept.x, b - kept.y) };
}

/* acc (16, D) += s (16, BN), in units 1 / unit, times b. */
template <int BN, int D> DEVICE void add_mix(float (&acc)[D / 8][4], const float (&s)[BN / 8][4], const float (&unit)[2], const Tile<BN, D> &b)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < BN / 8; j++) {
        const Split g = split(s[j][0] * unit[0], s[j][1] * unit[0]), g8 = split(s[j][2] * unit[1], s[j][3] * unit[1]);
#pragma unroll
        for (int c = 0; c + 4 <= D / 8; c += 4) {
            unsigned y[4];
            ldmatrix_x4_trans(y, &b.at[8 * j + lane % 8][8 * (c + lane / 8)]);
#pragma unroll
            for (int i = 0; i < 4; i++) mma_m16n8k8(acc[c + i], g.high, g8.high, y[i]);
#pragma unroll
            for (int i = 0; i < 4; i++) mma_m16n8k8(acc[c + i], g.low, g8.low, y[i]);
        }
#pragma unroll
        for (int c = D / 32 * 4; c < D / 8; c++) {
            unsigned y;
            ldmatrix_x1_trans(y, &b.at[8 * j + lane % 8][8 * c]);
            mma_m16n8k8(acc[c], g.high, g8.high, y);
            mma_m16n8k8(acc[c], g.low, g8.low, y);
        }
    }
}

template <int D> DEVICE void scale_rows(float (&acc)[D / 8][4], float g, float g8)
{
#pragma unroll
    for (int c = 0; c < D / 8; c++) acc[c][0] *= g, acc[c][1] *= g, acc[c][2] *= g8, acc[c][3] *= g8;
}

/* A row lies in four lanes. */
DEVICE float row_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
DEVICE float row_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

/* The power of 2 that brings numbers up to `most` below 2^15; 2^127 for very small ones. */
DEVICE float unit_of(float most) { return bits_of<float>(min(268 - (bits_of<unsigned>(most) >> 23), 254u) << 23); }

/* acc += s b, s of any size: its unit follows the largest of each row. */
template <int BN, int D> DEVICE void add_free_mix(float (&acc)[D / 8][4], float (&most)[2], const float (&s)[BN / 8][4], const Tile<BN, D> &b)
{
    float now[2] = { most[0], most[1] };
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) now[i / 2] = fmaxf(now[i / 2], fabsf(s[j][i]));
    now[0] = row_max(now[0]), now[1] = row_max(now[1]);
    const float unit[2] = { unit_of(now[0]), unit_of(now[1]) };
    scale_rows<D>(acc, unit[0] / unit_of(most[0]), unit[1] / unit_of(most[1]));
    most[0] = now[0], most[1] = now[1];
    add_mix<BN, D>(acc, s, unit, b);
}

/* The order in which a block meets chunks: its own comes last and stays. */
DEVICE unsigned chunk_met(const Attn &p, unsigned i) { return (blockIdx.z + 1 + i) % p.chunks; }

/* ---- forward ---- */

template <int D> struct AttnShared {
    enum { BN = D <= 64 ? 64 : 32 };
    Tile<ROWS, D> q;
    Tile<BN, D>   k, v;
};

/* s = 2^(s - most) where a row sees; what was summed before counts in the new measure. most, s: logarithms to base 2. */
template <int BN, int D> DEVICE void take_scores(float (&s)[BN / 8][4], float (&acc)[D / 8][4], float (&most)[2], float (&sum)[2], const Attn &p, unsigned k0)
{
    const unsigned lane = threadIdx.x % 32, row = blockIdx.x * ROWS + threadIdx.x / 32 * WARP_ROWS + lane / 4;
    const bool     edge = k0 + BN > (unsigned)p.k.w || (p.causal && k0 + BN > blockIdx.x * ROWS);
    float          now[2] = { most[0], most[1] };
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const unsigned key = k0 + 8 * j + lane % 4 * 2 + i % 2;
            s[j][i] *= p.scale * LOG2_E;
            if (edge && (key >= (unsigned)p.k.w || (p.causal && key > row + i / 2 * 8))) s[j][i] = -INFINITY;
            now[i / 2] = fmaxf(now[i / 2], s[j][i]);
        }
    now[0] = row_max(now[0]), now[1] = row_max(now[1]);
    const float change[2] = { exp2f(most[0] - now[0]), exp2f(most[1] - now[1]) };
    scale_rows<D>(acc, change[0], change[1]);
#pragma unroll
    for (int i = 0; i < 2; i++) sum[i] *= change[i], most[i] = now[i];
#pragma unroll
    for (int j = 0; j < BN / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) s[j][i] = exp2f(s[j][i] - most[i / 2]), sum[i / 2] += s[j][i];
}

template <int D> KERNEL __launch_bounds__(ATTN_THREADS) attn_kernel(const Attn p)
{
    typedef AttnShared<D> S;
    enum { BN = S::BN };
    SMEM(S, t);
    const unsigned q0 = blockIdx.x * ROWS, end = p.causal ? min((unsigned)p.k.w, q0 + ROWS) : (unsigned)p.k.w, lane = threadIdx.x % 32;
    const float    unit[2] = { P_UNIT, P_UNIT };
    float          acc[D / 8][4] = {}, most[2] = { -INFINITY, -INFINITY }, sum[2] = {};
    for (unsigned k0 = 0; k0 < end; k0 += BN) {
        float s[BN / 8][4] = {};
        for (unsigned i = 0; i < p.chunks; i++) {
            const unsigned chunk = chunk_met(p, i);
            __syncthreads();
            if (k0 == 0 || p.chunks > 1) bring(t.q, p, p.q, q0, chunk);
            bring(t.k, p, p.k, k0, chunk);
            if (i + 1 == p.chunks) bring(t.v, p, p.v, k0, chunk);
            __syncthreads();
            add_scores<BN, D>(s, t.q, t.k);
        }
        take_scores<BN, D>(s, acc, most, sum, p, k0);
        add_mix<BN, D>(acc, s, unit, t.v);
    }
    sum[0] = row_sum(sum[0]), sum[1] = row_sum(sum[1]);
    const float scale[2] = { 1 / (sum[0] * P_UNIT), 1 / (sum[1] * P_UNIT) };
    leave<D>(acc, scale, p, p.y);
    if (blockIdx.z || lane % 4) return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const unsigned row = q0 + threadIdx.x / 32 * WARP_ROWS + lane / 4 + 8 * i;
        if (row < (unsigned)p.q.w) pixel_at<float>(p.lse, blockIdx.y / p.heads, row)[blockIdx.y % p.heads] = most[i] * LN_2 + logf(sum[i]);
    }
}

/* ---- backward ---- */

/* delta = dy . y, a warp a row of a head. */
KERNEL delta_kernel(const Attn p)
{
    const unsigned i = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, lane = threadIdx.x % 32, row = i / p.heads, channel = i % p.heads * p.d;
    if (row >= row_count(p.q)) return;
    const half *dy = row_at<const half>(p.dy, row) + channel, *y = row_at<const half>(p.y, row) + channel;
    float       sum = 0;
    for (unsigned c = lane; c < p.d; c += 32) sum += to_float(dy[c]) * to_float(y[c]);
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (lane == 0) p.delta[i] = sum;
}

/* Of a query: lse to base 2, and delta. */
DEVICE float2 statistics_of(const Attn &p, unsigned query)
{
    const unsigned n = blockIdx.y / p.heads, head = blockIdx.y % p.heads;
    if (query >= (unsigned)p.q.w) return make_float2(0, 0);
    return make_float2(pixel_at<const float>(p.lse, n, query)[head] * LOG2_E, p.delta[((size_t)n * (unsigned)p.q.w + query) * p.heads + head]);
}

DEVICE float probability(const Attn &p, float s, float lse, unsigned query, unsigned key)
{
    return sees(p, query, key) ? exp2f(s * (p.scale * LOG2_E) - lse) : 0;
}

/* mine: what the block owns rows of; met: what it goes through. */
template <int D> struct AttnDxShared {
    enum { BN = D <= 40 ? 64 : 32 };
    Tile<ROWS, D> mine[2];
    Tile<BN, D>   met[2];
    float2        statistics[BN];
};

template <int D> KERNEL __launch_bounds__(ATTN_THREADS) attn_dq_kernel(const Attn p)
{
    typedef AttnDxShared<D> S;
    enum { BN = S::BN };
    SMEM(S, t);
    const unsigned lane = threadIdx.x % 32, q0 = blockIdx.x * ROWS, query = q0 + threadIdx.x / 32 * WARP_ROWS + lane / 4;
    const unsigned end = p.causal ? min((unsigned)p.k.w, q0 + ROWS) : (unsigned)p.k.w;
    const float2   of[2] = { statistics_of(p, query), statistics_of(p, query + 8) };
    float          acc[D / 8][4] = {}, most[2] = {};
    for (unsigned k0 = 0; k0 < end; k0 += BN) {
        float s[BN / 8][4] = {}, dp[BN / 8][4] = {};
        for (unsigned i = 0; i < p.chunks; i++) {
            const unsigned chunk = chunk_met(p, i);
            __syncthreads();
            if (k0 == 0 || p.chunks > 1) bring(t.mine[0], p, p.q, q0, chunk), bring(t.mine[1], p, p.dy, q0, chunk);
            bring(t.met[0], p, p.k, k0, chunk), bring(t.met[1], p, p.v, k0, chunk);
            __syncthreads();
            add_scores<BN, D>(s, t.mine[0], t.met[0]);
            add_scores<BN, D>(dp, t.mine[1], t.met[1]);
        }
#pragma unroll
        for (int j = 0; j < BN / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const unsigned key = k0 + 8 * j + lane % 4 * 2 + i % 2;
                s[j][i] = probability(p, s[j][i], of[i / 2].x, query + i / 2 * 8, key) * (dp[j][i] - of[i / 2].y);
            }
        add_free_mix<BN, D>(acc, most, s, t.met[0]);
    }
    const float scale[2] = { p.scale / unit_of(most[0]), p.scale / unit_of(most[1]) };
    leave<D>(acc, scale, p, p.dq);
}

template <int D> KERNEL __launch_bounds__(ATTN_THREADS) attn_dkv_kernel(const Attn p)
{
    typedef AttnDxShared<D> S;
    enum { BN = S::BN };
    SMEM(S, t);
    const unsigned lane = threadIdx.x % 32, k0 = blockIdx.x * ROWS, key = k0 + threadIdx.x / 32 * WARP_ROWS + lane / 4, first = p.causal ? k0 : 0;
    const float    p_unit[2] = { P_UNIT, P_UNIT }, p_scale[2] = { 1 / P_UNIT, 1 / P_UNIT };
    float          dk[D / 8][4] = {}, dv[D / 8][4] = {}, most[2] = {};
    for (unsigned q0 = first; q0 < (unsigned)p.q.w; q0 += BN) {
        float s[BN / 8][4] = {}, dp[BN / 8][4] = {};
        for (unsigned i = 0; i < p.chunks; i++) {
            const unsigned chunk = chunk_met(p, i);
            __syncthreads();
            if (q0 == first || p.chunks > 1) bring(t.mine[0], p, p.k, k0, chunk), bring(t.mine[1], p, p.v, k0, chunk);
            bring(t.met[0], p, p.q, q0, chunk), bring(t.met[1], p, p.dy, q0, chunk);
            if (i == 0 && threadIdx.x < BN) t.statistics[threadIdx.x] = statistics_of(p, q0 + threadIdx.x);
            __syncthreads();
            add_scores<BN, D>(s, t.mine[0], t.met[0]);
            add_scores<BN, D>(dp, t.mine[1], t.met[1]);
        }
#pragma unroll
        for (int j = 0; j < BN / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const unsigned at = 8 * j + lane % 4 * 2 + i % 2;
                const float2   of = t.statistics[at];
                s[j][i] = probability(p, s[j][i], of.x, q0 + at, key + i / 2 * 8);
                dp[j][i] = s[j][i] * (dp[j][i] - of.y);
            }
        add_mix<BN, D>(dv, s, p_unit, t.met[1]);
        add_free_mix<BN, D>(dk, most, dp, t.met[0]);
    }
    const float scale[2] = { p.scale / unit_of(most[0]), p.scale / unit_of(most[1]) };
    leave<D>(dk, scale, p, p.dk);
    leave<D>(dv, p_scale, p, p.dv);
}

/* ---- ops ---- */

static int launched(const char *name, cudaError_t error) { return error ? err("%s: shared memory: %s", name, cudaGetErrorString(error)) : 0; }

template <int D> struct Forward {
    static int run(const Attn &p, cudaStream_t stream)
    {
        typedef AttnShared<D> S;
        LAUNCH((attn_kernel<D>), dim3(ceil_div((unsigned)p.q.w, ROWS), (unsigned)p.q.n * p.heads, p.chunks), dim3(ATTN_THREADS), sizeof(S), stream, p);
        return 0;
    }
};

template <int D> struct Backward {
    static int run(const Attn &p, cudaStream_t stream)
    {
        typedef AttnDxShared<D> S;
        static const cudaError_t dq = allow_shared(attn_dq_kernel<D>, sizeof(S)), dkv = allow_shared(attn_dkv_kernel<D>, sizeof(S));
        if (launched("attn_dx", dq ? dq : dkv)) return -1;
        const unsigned heads = (unsigned)p.q.n * p.heads;
        LAUNCH(delta_kernel, dim3(ceil_div(row_count(p.q) * p.heads, THREADS / 32)), dim3(THREADS), 0, stream, p);
        LAUNCH((attn_dq_kernel<D>), dim3(ceil_div((unsigned)p.q.w, ROWS), heads, p.chunks), dim3(ATTN_THREADS), sizeof(S), stream, p);
        LAUNCH((attn_dkv_kernel<D>), dim3(ceil_div((unsigned)p.k.w, ROWS), heads, p.chunks), dim3(ATTN_THREADS), sizeof(S), stream, p);
        return 0;
    }
};

/* The narrowest tile that holds a head, or chunks of 128. */
template <template <int> class Pass> static int run(Attn p, cudaStream_t stream)
{
    p.chunks = p.d <= 160 ? 1 : ceil_div(p.d, 128);
    if (p.d <= 40) return Pass<40>::run(p, stream);
    if (p.d <= 64) return Pass<64>::run(p, stream);
    if (p.d <= 80) return Pass<80>::run(p, stream);
    if (p.d <= 128 || p.chunks > 1) return Pass<128>::run(p, stream);
    return Pass<160>::run(p, stream);
}

static Attn attn_of(const Op *op)
{
    Attn p = {};
    if (op->kind == OP_ATTN) {
        p.y = op->y[0], p.lse = op->y[1], p.q = op->x[0], p.k = op->x[1], p.v = op->x[2];
    } else {
        p.dq = op->y[0], p.dk = op->y[1], p.dv = op->y[2];
        p.dy = op->x[0], p.q = op->x[1], p.k = op->x[2], p.v = op->x[3], p.y = op->x[4], p.lse = op->x[5];
    }
    p.heads = (unsigned)op->a.heads, p.d = (unsigned)p.q.c / p.heads, p.causal = op->a.causal, p.scale = (float)op->a.scale, p.delta = (float *)op->scratch;
    p.wide = p.d % 8 == 0;
    for (const Tensor &t : { p.q, p.k, p.v, p.y, p.dy, p.dq, p.dk, p.dv }) p.wide = p.wide && is_wide<8>(t);
    return p;
}

RUN(attn) { return run<Forward>(attn_of(op), stream); }
RUN(attn_dx) { return run<Backward>(attn_of(op), stream); }
