/* dev.h - what every file of the CUDA set begins with, and its only header beside ops.h: the device, views of tensors, vectors of numbers, and the set's
 * functions.
 *
 * The device is CUDA (sm_75 and later), or, with CUDA_EMU, the emulator of tests/emu, which runs the same files on the CPU and looks for races, reads of what
 * was never written and accesses out of bounds (docs/emulator.md). So a kernel keeps to what both have:
 *   LAUNCH(kernel, grid, block, shared bytes, stream, arguments...)     never <<< >>>. A template goes in parentheses: (k<8, half>)
 *   SMEM(Type, name)                                                    all shared memory of a kernel is one struct, and `name` a reference to it
 *   ldmatrix_*, mma_m16n8k8                                             no inline PTX elsewhere
 *
 * Storage is f16 (`half`, T_F16: Set.act) or f32 (T_F32: Set.acc); arithmetic is float, and every element is rounded once, when it is stored. No atomics on
 * floats, no sum whose order depends on which block comes first: two runs are equal to the bit. */
#ifndef CUDA_DEV_H
#define CUDA_DEV_H
#ifdef CUDA_EMU
#include "emu.h"
#else
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif
#include <cstring>
#define _Noreturn [[noreturn]]                          /* C's word for it */
extern "C" {
#include "base/err.h"
#include "ops/ops.h"
#include "ops/sets.h"
}

/* ---- the device ---- */

#define KERNEL static __global__ void
#define DEVICE static __device__ __forceinline__
#define BOTH   static __device__ __host__ __forceinline__

#ifndef CUDA_EMU
#define LAUNCH(kernel, grid, block, shared, stream, ...) (kernel)<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
#define SMEM(Type, name)                                                                                                                                       \
    extern __shared__ __align__(128) unsigned char shared_memory[];                                                                                            \
    Type &name = *reinterpret_cast<Type *>(shared_memory)

/* Fragments of a warp: lane l, g = l / 4, t = l % 4. A register holds two halves, the lower one first.
 * ldmatrix: lane 8m + r gives the address of row r of matrix m (8 halves, a multiple of 16 bytes, in shared memory) and gets (g, 2t), (g, 2t+1) of each
 * matrix; with trans (2t, g), (2t+1, g). */
#define LDMATRIX(shape, registers, ...)                                                                                                                        \
    asm volatile("ldmatrix.sync.aligned.m8n8." shape ".shared.b16 {" registers : __VA_ARGS__ : "r"((unsigned)__cvta_generic_to_shared(row)) : "memory")
DEVICE void ldmatrix_x1(unsigned &r, const void *row) { LDMATRIX("x1", "%0}, [%1];", "=r"(r)); }
DEVICE void ldmatrix_x2(unsigned (&r)[2], const void *row) { LDMATRIX("x2", "%0, %1}, [%2];", "=r"(r[0]), "=r"(r[1])); }
DEVICE void ldmatrix_x4(unsigned (&r)[4], const void *row) { LDMATRIX("x4", "%0, %1, %2, %3}, [%4];", "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])); }
DEVICE void ldmatrix_x1_trans(unsigned &r, const void *row) { LDMATRIX("x1.trans", "%0}, [%1];", "=r"(r)); }
DEVICE void ldmatrix_x2_trans(unsigned (&r)[2], const void *row) { LDMATRIX("x2.trans", "%0, %1}, [%2];", "=r"(r[0]), "=r"(r[1])); }
DEVICE void ldmatrix_x4_trans(unsigned (&r)[4], const void *row)
{
    LDMATRIX("x4.trans", "%0, %1, %2, %3}, [%4];", "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]));
}
#undef LDMATRIX

/* D (16,8) += A (16,8) B (8,8), halves into floats: a0 = A(g, 2t..), a1 = A(g+8, 2t..), b = B(2t.., g), d = D(g, 2t..), D(g+8, 2t..). */
DEVICE void mma_m16n8k8(float (&d)[4], unsigned a0, unsigned a1, unsigned b)
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a0), "r"(a1), "r"(b));
}
#endif

/* More than 48 KB of shared memory, up to 64, must be asked for, once a kernel; 0, or an error for the set to latch. */
template <class K> static inline cudaError_t allow_shared(K *kernel, size_t bytes)
{
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

enum { THREADS = 256, MOST_BLOCKS = 46 * 4 * 8 };       /* of elementwise kernels: blocks enough to fill the largest Turing card eight times over */
BOTH unsigned ceil_div(unsigned a, unsigned b) { return (a + b - 1) / b; }

/* The launch of an elementwise kernel, and its loop: each of `count` pieces of work, whatever the number of blocks. */
static inline unsigned blocks_for(unsigned count)
{
    unsigned blocks = ceil_div(count, THREADS);
    return blocks < MOST_BLOCKS ? blocks : (unsigned)MOST_BLOCKS;
}
#define FOR_EACH(i, count) for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (count); i += gridDim.x * blockDim.x)

/* The sum of a number of each of THREADS threads, always in the same order: all of them get it. room: shared, a number a thread. */
template <class T> DEVICE T block_sum(T x, T *room)
{
    const unsigned t = threadIdx.x;
    room[t] = x;
    __syncthreads();
#pragma unroll
    for (unsigned step = THREADS / 2; step > 0; step /= 2) {
        if (t < step) room[t] += room[t + step];
        __syncthreads();
    }
    return room[0];
}

/* ---- views ---- */

template <class T> struct TypeOf;
template <> struct TypeOf<half> { static const Type type = T_F16; };
template <> struct TypeOf<float> { static const Type type = T_F32; };

BOTH unsigned row_count(const Tensor &t) { return (unsigned)t.n * (unsigned)t.h * (unsigned)t.w; }

/* The channels at (n, pixel), and at `row`, counted through n, h and w. */
template <class T> BOTH T *pixel_at(const Tensor &t, unsigned n, unsigned pixel) { return (T *)t.p + n * t.img + pixel * t.ld; }
template <class T> BOTH T *row_at(const Tensor &t, unsigned row)
{
    unsigned area = (unsigned)t.h * (unsigned)t.w, n = row / area;
    return pixel_at<T>(t, n, row - n * area);
}

/* May V channels of the tensor be moved at once, wherever a multiple of V starts? Absent tensors never stand in the way. */
template <int V> static inline bool is_wide(const Tensor &t)
{
    size_t bytes = V * type_size(t.type);
    if (bytes > 16) bytes = 16;
    return !t.p || ((size_t)t.p % bytes == 0 && t.c % V == 0 && t.ld % V == 0 && t.img % V == 0);
}

/* Is the tensor one piece of memory? Then it can be one row. */
static inline bool is_dense(const Tensor &t) { return !t.p || (t.ld == (size_t)t.c && tensor_is_matrix(t)); }
static inline Tensor as_row(Tensor t)
{
    return t.p ? tensor_of(t.p, t.type, 1, 1, 1, (int)tensor_count(t)) : t;
}

/* ---- V numbers in registers ---- */

template <int V> struct Floats {
    float v[V];
};

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(half x) { return __half2float(x); }
DEVICE void  round_to(float &to, float x) { to = x; }
DEVICE void  round_to(half &to, float x) { to = __float2half_rn(x); }

/* 16 bytes at a time where there are so many: the widest access there is. */
template <class To, class From> DEVICE To bits_of(const From &x)
{
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
template <int V> DEVICE Floats<V> load(const float *p)
{
    Floats<V> x;
    if constexpr (V % 4 == 0) {
#pragma unroll
        for (int j = 0; j < V; j += 4) {
            float4 four = *(const float4 *)(p + j);
            x.v[j] = four.x, x.v[j + 1] = four.y, x.v[j + 2] = four.z, x.v[j + 3] = four.w;
        }
    } else {
#pragma unroll
        for (int j = 0; j < V; j++) x.v[j] = p[j];
    }
    return x;
}
template <int V> DEVICE Floats<V> load(const half *p)
{
    Floats<V> x;
    if constexpr (V % 8 == 0) {
#pragma unroll
        for (int j = 0; j < V; j += 8) {
            const uint4    eight = *(const uint4 *)(p + j);
            const unsigned pair[4] = { eight.x, eight.y, eight.z, eight.w };
#pragma unroll
            for (int k = 0; k < 4; k++) {
                float2 two = __half22float2(bits_of<half2>(pair[k]));
                x.v[j + 2 * k] = two.x, x.v[j + 2 * k + 1] = two.y;
            }
        }
    } else {
#pragma unroll
        for (int j = 0; j < V; j++) x.v[j] = __half2float(p[j]);
    }
    return x;
}
template <int V> DEVICE void store(float *p, const Floats<V> &x)
{
    if constexpr (V % 4 == 0) {
#pragma unroll
        for (int j = 0; j < V; j += 4) *(float4 *)(p + j) = make_float4(x.v[j], x.v[j + 1], x.v[j + 2], x.v[j + 3]);
    } else {
#pragma unroll
        for (int j = 0; j < V; j++) p[j] = x.v[j];
    }
}
DEVICE unsigned pack_halves(float low, float high) { return bits_of<unsigned>(__floats2half2_rn(low, high)); }
template <int V> DEVICE void store(half *p, const Floats<V> &x)
{
    if constexpr (V % 8 == 0) {
#pragma unroll
        for (int j = 0; j < V; j += 8)
            *(uint4 *)(p + j) = make_uint4(pack_halves(x.v[j], x.v[j + 1]), pack_halves(x.v[j + 2], x.v[j + 3]), pack_halves(x.v[j + 4], x.v[j + 5]),
                                           pack_halves(x.v[j + 6], x.v[j + 7]));
    } else {
#pragma unroll
        for (int j = 0; j < V; j++) p[j] = __float2half_rn(x.v[j]);
    }
}

/* x moves down by a half, and `top` comes on top: eight of these, the first ends at the bottom. Slow paths load this way, in loops that stay small: they lie
 * inside of fast ones. */
DEVICE void push_half(uint4 &x, half top)
{
    x.x = x.x >> 16 | x.y << 16, x.y = x.y >> 16 | x.z << 16, x.z = x.z >> 16 | x.w << 16;
    x.w = x.w >> 16 | (unsigned)bits_of<unsigned short>(top) << 16;
}

/* Eight halves from p on, zeros after the first `count`; p NULL: zeros. wide: p lies on 16 bytes, and of eight either all are there or none. */
DEVICE uint4 eight(const half *p, int count, bool wide)
{
    uint4 x = make_uint4(0, 0, 0, 0);
    if (!p || count <= 0) return x;
    if (wide) return *(const uint4 *)p;
#pragma unroll 1
    for (int j = 0; j < 8; j++) push_half(x, j < count ? p[j] : __float2half_rn(0));
    return x;
}

DEVICE float logistic(float x) { return 1 / (1 + expf(-x)); }

/* ---- what runs each op: shapes have been through op_check, scratch is there. 0, or -1 and err() ---- */

#define RUN(stem) int cuda_##stem(const Op *op, cudaStream_t stream)
RUN(linear); RUN(linear_dx); RUN(linear_dw);
RUN(conv); RUN(conv_dx); RUN(conv_dw);
RUN(norm); RUN(norm_dx); RUN(norm_dw);
RUN(attn); RUN(attn_dx);
RUN(act); RUN(act_dx); RUN(geglu); RUN(geglu_dx);
RUN(sum); RUN(up2); RUN(up2_dx); RUN(embed); RUN(embed_dw); RUN(copy); RUN(add); RUN(mul); RUN(dropout); RUN(fill);
RUN(loss);
RUN(sumsq); RUN(update);
#endif
