/* product.h - what the two kernels of products share: blocks of halves in shared memory, a warp's multiply-adds, and how results leave.
 *
 * A warp makes WM x 32 results in registers, of slabs that lie in shared memory either as rows, [m][k] and [n][k], or as columns, [k][m] and [k][n]: ldmatrix
 * reads both, so that a weight serves forward and backward as it is. Rows of 32 + 8 halves, and of a multiple of 64, + 8: the eight addresses that ldmatrix
 * takes at a time fall on different banks. */
#ifndef CUDA_PRODUCT_H
#define CUDA_PRODUCT_H
#include "dev.h"
#include "need.h"

enum { GAP = 8, WN = 32, STRIP = 16 };

/* Two slabs of each operand, one multiplied while the other arrives; at the end, room for 16 rows of each warp's results. */
template <int BM, int BN, int WM, bool A_COLUMNS, bool B_COLUMNS> struct __align__(16) Slabs {
    enum { WARPS_M = BM / WM, WARPS_N = BN / WN, COUNT = WARPS_M * WARPS_N * 32 };     /* COUNT threads */
    enum { A_ROWS = A_COLUMNS ? SLAB : BM, A_WIDTH = A_COLUMNS ? BM : SLAB, B_ROWS = B_COLUMNS ? SLAB : BN, B_WIDTH = B_COLUMNS ? BN : SLAB };
    union {
        struct {
            half a[2][A_ROWS][A_WIDTH + GAP], b[2][B_ROWS][B_WIDTH + GAP];
        };
        float strip[WARPS_M * WARPS_N][STRIP][WN + 4];
    };
};

/* acc += the slab's product: A (WM, SLAB) from (m, n) on. acc[i][j]: rows 16 i + lane/4 (and + 8), columns 8 j + lane%4*2 (and + 1). */
template <int WM, bool A_COLUMNS, bool B_COLUMNS, class S> DEVICE void multiply(float (&acc)[WM / 16][4][4], const S &s, int stage, int m, int n)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < SLAB; k += 16) {
        unsigned a[WM / 16][4], b[2][4];
#pragma unroll
        for (int i = 0; i < WM / 16; i++) {
            if constexpr (A_COLUMNS) ldmatrix_x4_trans(a[i], &s.a[stage][k + lane / 16 * 8 + lane % 8][m + 16 * i + lane / 8 % 2 * 8]);
            else ldmatrix_x4(a[i], &s.a[stage][m + 16 * i + lane % 16][k + lane / 16 * 8]);
        }
#pragma unroll
        for (int half_k = 0; half_k < 2; half_k++) {
            if constexpr (B_COLUMNS) ldmatrix_x4_trans(b[half_k], &s.b[stage][k + 8 * half_k + lane % 8][n + lane / 8 * 8]);
            else ldmatrix_x4(b[half_k], &s.b[stage][n + lane][k + 8 * half_k]);
        }
#pragma unroll
        for (int half_k = 0; half_k < 2; half_k++)
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) mma_m16n8k8(acc[i][j], a[i][2 * half_k], a[i][2 * half_k + 1], b[half_k][j]);
    }
}

/* Gives each thread eight neighbours of a row of the warp's results at a time: leave(row, column, values), counted from the warp's first. */
template <int WM, class S, class F> DEVICE void leave_by_rows(const float (&acc)[WM / 16][4][4], float scale, S &s, F leave)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < WM / 16; i++) {
        __syncwarp();
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) s.strip[warp][lane / 4 + c / 2 * 8][8 * j + lane % 4 * 2 + c % 2] = scale * acc[i][j][c];
        __syncwarp();
#pragma unroll
        for (int q = lane; q < STRIP * WN / 8; q += 32) leave(16 * i + q / 4, q % 4 * 8, load<8>(&s.strip[warp][q / 4][q % 4 * 8]));
    }
}

/* The first `count` of eight values, added to or stored; wide: there are eight and p lies on 16 bytes. */
template <class T> DEVICE void add_eight(Floats<8> &x, const T *p, int count, bool wide)
{
    if (wide) {
        Floats<8> more = load<8>(p);
#pragma unroll
        for (int j = 0; j < 8; j++) x.v[j] += more.v[j];
    } else {
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (j < count) x.v[j] += to_float(p[j]);
    }
}
template <class T> DEVICE void store_eight(T *p, const Floats<8> &x, int count, bool wide)
{
    if (wide) {
        store<8>(p, x);
    } else {
#pragma unroll
        for (int j = 0; j < 8; j++)
            if (j < count) round_to(p[j], x.v[j]);
    }
}

/* parts (splits, m, n): the part of one block, and the sum of all, in order. */
DEVICE Floats<8> sum_of_parts(const float *parts, unsigned splits, size_t m, size_t n, size_t row, size_t column)
{
    const int count = (int)(n - column);
    Floats<8> x = {};
    for (unsigned z = 0; z < splits; z++) add_eight(x, parts + (z * m + row) * n + column, count, count >= 8 && n % 4 == 0);
    return x;
}
DEVICE void store_part(float *parts, unsigned z, size_t m, size_t n, size_t row, size_t column, const Floats<8> &x)
{
    const int count = (int)(n - column);
    store_eight(parts + (z * m + row) * n + column, x, count, count >= 8 && n % 4 == 0);
}
#endif
