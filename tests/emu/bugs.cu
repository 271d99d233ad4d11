/* bugs - what the emulator is for, one kernel of each kind: `bugs NAME` runs it wrong, `bugs NAME right` as it should be. bugs.sh expects the wrong ones to be
 * reported at the lines that are marked with the name, and the right ones to stay silent. */
#ifdef CUDA_EMU
#include "emu.h"
#endif
#include <vector>

static bool right;
#define IF_RIGHT(statement) do if (right_) statement; while (0)
#define WRONG (!right_)

/* ---- barriers ---- */

struct Sums { float part[8]; };
static __global__ void partial_sums(float *y, const float *x, bool right_)
{
    SMEM(Sums, sm);
    float s = x[threadIdx.x];
    for (int k = 16; k; k /= 2) s += __shfl_xor_sync(~0u, s, k);
    if (threadIdx.x % 32 == 0) sm.part[threadIdx.x / 32] = s;
    IF_RIGHT(__syncthreads());
    float t = 0;
    for (int w = 0; w < 8; w++) t += sm.part[w];        /* BUG no_barrier */
    y[threadIdx.x] = t;
}

struct Tiles { float a[64]; };
static __global__ void tiles(float *y, const float *x, bool right_)
{
    SMEM(Tiles, sm);
    float s = 0;
    for (int k = 0; k < 4; k++) {
        sm.a[threadIdx.x] = x[k * 64 + threadIdx.x];    /* BUG no_barrier_in_loop */
        __syncthreads();
        s += sm.a[63 - threadIdx.x];
        IF_RIGHT(__syncthreads());
    }
    y[threadIdx.x] = s;
}

static __global__ void exchange(float *y, const float *x, bool right_)
{
    SMEM(Tiles, sm);
    sm.a[threadIdx.x] = x[threadIdx.x];
    IF_RIGHT(__syncwarp());
    y[threadIdx.x] = sm.a[threadIdx.x ^ 1];             /* BUG no_syncwarp */
}

static __global__ void two_barriers(float *y, bool right_)
{
    if (right_ || threadIdx.x < 32)
        __syncthreads();                                /* BUG two_barriers */
    else
        __syncthreads();                                /* BUG two_barriers */
    y[threadIdx.x] = 1;
}

static __global__ void early_return(float *y, bool right_)
{
    if (WRONG && threadIdx.x >= 32) return;
    y[threadIdx.x] = 1;
    __syncthreads();                                    /* BUG early_return */
}

static __global__ void half_a_warp(float *y, bool right_)
{
    float s = (float)threadIdx.x;
    if (right_ || threadIdx.x < 16)
        s += __shfl_xor_sync(~0u, s, 1);                /* BUG half_a_warp */
    __syncthreads();                                    /* BUG half_a_warp */
    y[threadIdx.x] = s;
}

/* ---- memory ---- */

struct Rows { float a[4][8], b[8]; };
static __global__ void row_overrun(float *y, int columns)
{
    SMEM(Rows, sm);
    if (threadIdx.x < 8) sm.b[threadIdx.x] = 1;
    for (int c = 0; c < columns; c++) sm.a[threadIdx.x % 4][c] = 2;                                    /* BUG row_overrun */
    __syncthreads();
    y[threadIdx.x] = sm.a[threadIdx.x % 4][0] + sm.b[threadIdx.x % 8];
}

static __global__ void shift(float *y, const float *x, int by)
{
    y[threadIdx.x] = x[threadIdx.x + (unsigned)by];     /* BUG read_past_end */
}

static __global__ void never_written(float *y, bool right_)
{
    SMEM(Tiles, sm);
    if (right_ || threadIdx.x < 60) sm.a[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = sm.a[63 - threadIdx.x];            /* BUG never_written */
}

static __global__ void copy(float *y, const float *x) { y[threadIdx.x] = x[threadIdx.x]; }             /* BUG never_copied */

static __global__ void write_past_end(float *y, bool right_)
{
    y[threadIdx.x + (right_ ? 0 : 1)] = 1;              /* BUG write_past_end */
}

static __global__ void misaligned(float *y, const half *x, bool right_)
{
    const uint2 *pair = (const uint2 *)(x + (right_ ? 0 : 1) + threadIdx.x * 4);
    y[threadIdx.x] = (float)pair->x;                    /* BUG misaligned */
}

static __global__ void sum_blocks(float *y, const float *x, bool right_)
{
    float s = x[blockIdx.x * 32 + threadIdx.x];
    for (int k = 16; k; k /= 2) s += __shfl_xor_sync(~0u, s, k);
    if (threadIdx.x) return;
    if (right_) atomicAdd(y, s);
    else *y += s;                                       /* BUG sum_blocks */
}

struct Large { float a[13000]; };
static __global__ void large(float *y)
{
    SMEM(Large, sm);
    sm.a[threadIdx.x] = 1;
    y[threadIdx.x] = sm.a[threadIdx.x];
}

static __global__ void fill(float *y) { y[threadIdx.x] = 1; }

/* ---- the host's side ---- */

static float *device(size_t count, bool written = true)
{
    float *p = nullptr;
    if (cudaMalloc(&p, count * sizeof *p)) abort();
    if (written) cudaMemset(p, 0, count * sizeof *p);
    return p;
}

static int run(const char *name)
{
    const bool on = right, upload = right || strcmp(name, "never_copied");
    float     *y = device(64), *x = device(256, upload), kept[64];
    auto       is = [&](const char *other) { return !strcmp(name, other); };
    if (is("no_barrier")) { y = device(256); LAUNCH(partial_sums, 1, 256, sizeof(Sums), 0, y, x, on); }
    else if (is("no_barrier_in_loop")) LAUNCH(tiles, 1, 64, sizeof(Tiles), 0, y, x, on);
    else if (is("no_syncwarp")) LAUNCH(exchange, 1, 32, sizeof(Tiles), 0, y, x, on);
    else if (is("two_barriers")) LAUNCH(two_barriers, 1, 64, 0, 0, y, on);
    else if (is("early_return")) LAUNCH(early_return, 1, 64, 0, 0, y, on);
    else if (is("half_a_warp")) LAUNCH(half_a_warp, 1, 32, 0, 0, y, on);
    else if (is("row_overrun")) LAUNCH(row_overrun, 1, 4, sizeof(Rows), 0, y, on ? 8 : 9);
    else if (is("read_past_end")) LAUNCH(shift, 1, 64, 0, 0, y, x, on ? 192 : 193);
    else if (is("never_written")) LAUNCH(never_written, 1, 64, sizeof(Tiles), 0, y, on);
    else if (is("never_copied")) LAUNCH(copy, 1, 64, 0, 0, y, x);
    else if (is("write_past_end")) LAUNCH(write_past_end, 1, 64, 0, 0, y, on);
    else if (is("misaligned")) LAUNCH(misaligned, 1, 32, 0, 0, y, (const half *)x, on);
    else if (is("sum_blocks")) LAUNCH(sum_blocks, 8, 32, 0, 0, y, x, on);
    else if (is("large")) {
        if (on) cudaFuncSetAttribute(large, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Large));
        LAUNCH(large, 1, 32, sizeof(Large), 0, y);      /* BUG large */
        return cudaGetLastError() ? 3 : 0;
    } else if (is("host_reads")) {
        LAUNCH(fill, 1, 64, 0, 0, y);
        if (on) cudaMemcpy(kept, y, sizeof kept, cudaMemcpyDeviceToHost);
        else kept[0] = y[0];                            /* BUG host_reads */
        return kept[0] != 1;
    } else if (is("no_sync")) {
        LAUNCH(fill, 1, 64, 0, 0, y);
        cudaMemcpyAsync(kept, y, sizeof kept, cudaMemcpyDeviceToHost);
        if (on) cudaStreamSynchronize(0);
        return kept[0] == 1 ? 0 : 1;                    /* BUG no_sync */
    } else return 2;
    return cudaDeviceSynchronize() != cudaSuccess;
}

int main(int count, char **names)
{
    if (count < 2) return 2;
    right = count > 2;
    return run(names[1]);
}
