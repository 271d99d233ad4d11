/* emu.h - CUDA C++ on the CPU, for tests: what a .cu file sees in place of CUDA's headers. docs/emulator.md says how to use it and what it finds.
 *
 * A thread of a block is a fiber with a stack of its own; it runs until its next collective (barrier, shuffle, vote, ldmatrix, mma), where it waits for the
 * others. The last of a warp to arrive works the result out for all. Every collective knows the line it was called from, so that threads which wait for each
 * other at different places are named and not just stuck.
 *
 * Three things are written differently from plain CUDA, as macros with a CUDA version each (kernels/cuda/dev.h):
 *   LAUNCH(kernel, grid, block, shared bytes, stream, arguments...)     for kernel<<<...>>>(...)
 *   SMEM(Type, name)                                                    for `extern __shared__`: all shared memory of a kernel is one struct
 *   ldmatrix_*, mma_m16n8k8                                             for inline PTX */
#ifndef EMU_EMU_H
#define EMU_EMU_H
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
static inline int2   make_int2(int x, int y) { return { x, y }; }
static inline int4   make_int4(int x, int y, int z, int w) { return { x, y, z, w }; }
static inline uint2  make_uint2(unsigned x, unsigned y) { return { x, y }; }
static inline uint4  make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return { x, y, z, w }; }
static inline float2 make_float2(float x, float y) { return { x, y }; }
static inline float4 make_float4(float x, float y, float z, float w) { return { x, y, z, w }; }

#include "half.h"
#include "runtime.h"

namespace emu {

/* A line of a source file; as a default argument EMU_HERE is the caller's. */
struct Site {
    const char *file;
    int         line;
    static constexpr Site here(const char *f = __builtin_FILE(), int l = __builtin_LINE()) { return { f, l }; }
};
#define EMU_HERE emu::Site::here()

/* Where a thread is; `self` is the one that runs now, NULL on the host. */
struct Thread {
    uint3    thread, block;
    dim3     threads, blocks;
    unsigned index, lane, warp;                         /* in its block; in its warp; warp in the block */
};
extern __thread Thread *self __attribute__((tls_model("initial-exec")));

/* Waits until all lanes of `mask` have called from the same place. The last one calls combine(args, mask), args[lane] being what that lane gave. combine
 * NULL: __syncwarp, the only one of these that orders memory. */
typedef void Combine(void **args, unsigned mask);
void warp_step(unsigned mask, void *arg, Combine *combine, Site site);

enum Vote { VOTE_NONE, VOTE_COUNT, VOTE_AND, VOTE_OR };
int block_step(Vote vote, int value, Site site);        /* the barrier of a block */

void *shared_memory(size_t bytes, Site site);           /* this block's */

[[noreturn]] void fail(Site site, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A kernel and its arguments. */
struct Call {
    const void *kernel;
    const char *name;
    Site        site;
    dim3        blocks, threads;
    size_t      shared, bytes;                          /* bytes: of the whole object, arguments included */
    virtual void run() = 0;                             /* one thread of it */
    virtual ~Call() {}
};
void launch(Call *call, cudaStream_t stream);           /* takes the call over */

template <class K, class... A> struct KernelCall : Call {
    K                function;
    std::tuple<A...> arguments;
    KernelCall(K k, std::tuple<A...> a) : function(k), arguments(a) {}
    void run() override { std::apply(function, arguments); }
};
template <class K, class... A>
static inline void launch(K kernel, const char *name, Site site, dim3 blocks, dim3 threads, size_t shared, cudaStream_t stream, A... arguments)
{
    auto *call = new KernelCall<K, A...>(kernel, std::tuple<A...>(arguments...));
    call->kernel = (const void *)kernel, call->name = name, call->site = site;
    call->blocks = blocks, call->threads = threads, call->shared = shared, call->bytes = sizeof *call;
    launch(call, stream);
}
}

#define threadIdx (emu::self->thread)
#define blockIdx  (emu::self->block)
#define blockDim  (emu::self->threads)
#define gridDim   (emu::self->blocks)
enum { warpSize = 32 };

#define LAUNCH(kernel, grid, block, shared, stream, ...) \
    emu::launch((kernel), #kernel, emu::Site { __FILE__, __LINE__ }, (grid), (block), (shared), (stream), ##__VA_ARGS__)
#define SMEM(Type, name) Type &name = *static_cast<Type *>(emu::shared_memory(sizeof(Type), EMU_HERE))

/* ---- barriers, votes ---- */

static inline void __syncthreads(emu::Site site = EMU_HERE) { emu::block_step(emu::VOTE_NONE, 0, site); }
static inline int  __syncthreads_count(int value, emu::Site site = EMU_HERE) { return emu::block_step(emu::VOTE_COUNT, value, site); }
static inline int  __syncthreads_and(int value, emu::Site site = EMU_HERE) { return emu::block_step(emu::VOTE_AND, value, site); }
static inline int  __syncthreads_or(int value, emu::Site site = EMU_HERE) { return emu::block_step(emu::VOTE_OR, value, site); }
static inline void __syncwarp(unsigned mask = ~0u, emu::Site site = EMU_HERE) { emu::warp_step(mask, nullptr, nullptr, site); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

namespace emu {
struct Ballot { int value; unsigned result; };
void combine_ballot(void **args, unsigned mask);
}
static inline unsigned __ballot_sync(unsigned mask, int value, emu::Site site = EMU_HERE)
{
    emu::Ballot ballot = { value, 0 };
    emu::warp_step(mask, &ballot, emu::combine_ballot, site);
    return ballot.result;
}
static inline int __any_sync(unsigned mask, int value, emu::Site site = EMU_HERE) { return __ballot_sync(mask, value, site) != 0; }
static inline int __all_sync(unsigned mask, int value, emu::Site site = EMU_HERE) { return __ballot_sync(mask, value, site) == mask; }

/* ---- shuffles: a lane's value is read by the lanes that name it as their source ---- */

namespace emu {
struct Shuffle { uint64_t value, result; int source; Site site; };
void combine_shuffle(void **args, unsigned mask);

template <class T> static inline T shuffle(unsigned mask, T value, int source, Site site)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    Shuffle s = { 0, 0, source, site };
    memcpy(&s.value, &value, sizeof value);
    warp_step(mask, &s, combine_shuffle, site);
    memcpy(&value, &s.result, sizeof value);
    return value;
}
static inline int lane() { return (int)self->lane; }
static inline int within(int source, int width) { return source / width == lane() / width && source >= 0 ? source : lane(); }
}
template <class T> static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, emu::Site site = EMU_HERE)
{
    return emu::shuffle(mask, value, emu::lane() / width * width + (source & (width - 1)), site);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, emu::Site site = EMU_HERE)
{
    return emu::shuffle(mask, value, emu::within(emu::lane() ^ bits, width), site);
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, emu::Site site = EMU_HERE)
{
    return emu::shuffle(mask, value, emu::within(emu::lane() - (int)by, width), site);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, emu::Site site = EMU_HERE)
{
    return emu::shuffle(mask, value, emu::within(emu::lane() + (int)by, width), site);
}

/* ---- matrices of a warp: fragments as the PTX manual lays them out ("Warp Level Matrix Instructions") ---- */

namespace emu {
void load_matrices(unsigned *r, const void *row, int count, int trans, Site site);
void multiply(float *d, unsigned a0, unsigned a1, unsigned b, Site site);
}
static inline void ldmatrix_x1(unsigned &r, const void *row, emu::Site site = EMU_HERE) { emu::load_matrices(&r, row, 1, 0, site); }
static inline void ldmatrix_x2(unsigned (&r)[2], const void *row, emu::Site site = EMU_HERE) { emu::load_matrices(r, row, 2, 0, site); }
static inline void ldmatrix_x4(unsigned (&r)[4], const void *row, emu::Site site = EMU_HERE) { emu::load_matrices(r, row, 4, 0, site); }
static inline void ldmatrix_x1_trans(unsigned &r, const void *row, emu::Site site = EMU_HERE) { emu::load_matrices(&r, row, 1, 1, site); }
static inline void ldmatrix_x2_trans(unsigned (&r)[2], const void *row, emu::Site site = EMU_HERE) { emu::load_matrices(r, row, 2, 1, site); }
static inline void ldmatrix_x4_trans(unsigned (&r)[4], const void *row, emu::Site site = EMU_HERE) { emu::load_matrices(r, row, 4, 1, site); }
static inline void mma_m16n8k8(float (&d)[4], unsigned a0, unsigned a1, unsigned b, emu::Site site = EMU_HERE) { emu::multiply(d, a0, a1, b, site); }

/* ---- atomics: each returns what was there ---- */

namespace emu {
enum Change { CHANGE_ADD, CHANGE_MAX, CHANGE_MIN, CHANGE_AND, CHANGE_OR, CHANGE_SET };
template <class T> T atomic(T *p, Change change, T value);
template <class T> T atomic_cas(T *p, T expected, T value);
}
#define EMU_ATOMIC(name, T, change) static inline T name(T *p, T value) { return emu::atomic(p, emu::change, value); }
EMU_ATOMIC(atomicAdd, int, CHANGE_ADD)
EMU_ATOMIC(atomicAdd, unsigned, CHANGE_ADD)
EMU_ATOMIC(atomicAdd, unsigned long long, CHANGE_ADD)
EMU_ATOMIC(atomicAdd, float, CHANGE_ADD)
EMU_ATOMIC(atomicMax, int, CHANGE_MAX)
EMU_ATOMIC(atomicMax, unsigned, CHANGE_MAX)
EMU_ATOMIC(atomicMin, int, CHANGE_MIN)
EMU_ATOMIC(atomicMin, unsigned, CHANGE_MIN)
EMU_ATOMIC(atomicAnd, unsigned, CHANGE_AND)
EMU_ATOMIC(atomicOr, unsigned, CHANGE_OR)
EMU_ATOMIC(atomicExch, int, CHANGE_SET)
EMU_ATOMIC(atomicExch, unsigned, CHANGE_SET)
EMU_ATOMIC(atomicExch, float, CHANGE_SET)
#undef EMU_ATOMIC
static inline int      atomicSub(int *p, int value) { return emu::atomic(p, emu::CHANGE_ADD, -value); }
static inline unsigned atomicSub(unsigned *p, unsigned value) { return emu::atomic(p, emu::CHANGE_ADD, 0 - value); }
static inline int      atomicCAS(int *p, int expected, int value) { return emu::atomic_cas(p, expected, value); }
static inline unsigned atomicCAS(unsigned *p, unsigned expected, unsigned value) { return emu::atomic_cas(p, expected, value); }

/* ---- arithmetic that CUDA has and C has not ---- */

using std::max;
using std::min;
#define __expf expf                                     /* glibc has symbols of these names */
#define __logf logf
#define __powf powf
#define __sinf sinf
#define __cosf cosf
static inline float    rsqrtf(float x) { return 1 / sqrtf(x); }
static inline float    __frsqrt_rn(float x) { return (float)(1 / sqrt((double)x)); }
static inline float    __fdividef(float a, float b) { return a / b; }
static inline float    __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline int      __popc(unsigned x) { return __builtin_popcount(x); }
static inline int      __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int      __ffs(int x) { return __builtin_ffs(x); }
template <class To, class From> static inline To emu_bits(From x)
{
    static_assert(sizeof(To) == sizeof(From), "");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
static inline unsigned __float_as_uint(float x) { return emu_bits<unsigned>(x); }
static inline int      __float_as_int(float x) { return emu_bits<int>(x); }
static inline float    __uint_as_float(unsigned x) { return emu_bits<float>(x); }
static inline float    __int_as_float(int x) { return emu_bits<float>(x); }
template <class T> static inline T __ldg(const T *p) { return *p; }
#endif
