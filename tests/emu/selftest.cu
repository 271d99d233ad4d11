/* selftest - what the emulated device does is what CUDA's documents say: numbers, lanes, fragments, barriers, streams, events, graphs, limits. Speaks TAP. The
 * file is plain CUDA but for its macros: built by nvcc with kernels/cuda/dev.h it asks a real device the same questions. */
#include "../../kernels/cuda/dev.h"
#include <cmath>
#include <cstdio>
#include <vector>

static int         number, failures;
static const char *trouble;
#define EXPECT(condition)                                                                                                                                      \
    do {                                                                                                                                                       \
        if (!trouble && !(condition)) trouble = #condition;                                                                                                    \
    } while (0)

/* Device memory that a test reads and writes as the host's: copied there before a launch and back after it. */
template <class T> struct Array {
    std::vector<T> host;
    T             *device = nullptr;
    explicit Array(size_t count, T value = T()) : host(count, value)
    {
        EXPECT(cudaMalloc(&device, count * sizeof(T)) == cudaSuccess);
        up();
    }
    ~Array() { cudaFree(device); }
    void up() { EXPECT(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess); }
    void down() { EXPECT(cudaMemcpy(host.data(), device, host.size() * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess); }
};

/* ---- numbers ---- */

KERNEL to_floats(float *y)
{
    unsigned i = blockIdx.x * 256 + threadIdx.x;
    y[i] = __half2float(__ushort_as_half((unsigned short)i));
}
KERNEL to_halves(unsigned short *y, const float *x)
{
    unsigned i = blockIdx.x * 256 + threadIdx.x;
    y[i] = __half_as_ushort(__float2half_rn(x[i]));
}

static int same_half(unsigned short a, unsigned short b) { return a == b || ((a & 0x7fff) > 0x7c00 && (b & 0x7fff) > 0x7c00); }

static void test_halves()
{
    Array<float>          y(65536), x(65536);
    Array<unsigned short> back(65536);
    LAUNCH(to_floats, 256, 256, 0, 0, y.device);
    y.down();
    for (unsigned h = 0; h < 65536; h++) {
        float want = f16_to_f32((uint16_t)h);
        EXPECT(memcmp(&y.host[h], &want, 4) == 0 || (std::isnan(want) && std::isnan(y.host[h])));
    }
    /* Each half, the middle between it and the next, and the floats beside that middle. */
    for (int step = -1; step <= 1; step++) {
        for (unsigned h = 0; h < 65536; h++) {
            float half_way = (f16_to_f32((uint16_t)h) + f16_to_f32((uint16_t)(h + 1))) / 2;
            x.host[h] = step ? std::nextafterf(half_way, step * INFINITY) : half_way;
        }
        x.up();
        LAUNCH(to_halves, 256, 256, 0, 0, back.device, x.device);
        back.down();
        for (unsigned h = 0; h < 65536; h++) EXPECT(same_half(back.host[h], f32_to_f16(x.host[h])));
    }
    EXPECT(f32_to_f16(65519.99f) == 0x7bff && f32_to_f16(65520.0f) == 0x7c00 && f32_to_f16(0x1p-25f) == 0 && f32_to_f16(0x1.8p-24f) == 2);
}

/* ---- a warp ---- */

KERNEL lanes(int *y)
{
    int l = (int)threadIdx.x, k = 0;
    y[32 * k++ + l] = __shfl_sync(~0u, l, 5);
    y[32 * k++ + l] = __shfl_sync(~0u, l, l + 3, 8);
    y[32 * k++ + l] = __shfl_xor_sync(~0u, l, 3);
    y[32 * k++ + l] = __shfl_up_sync(~0u, l, 2, 16);
    y[32 * k++ + l] = __shfl_down_sync(~0u, l, 9);
    y[32 * k++ + l] = (int)__ballot_sync(~0u, l % 3 == 0);
    y[32 * k++ + l] = __any_sync(~0u, l == 31) + 2 * __all_sync(~0u, l < 31);
    y[32 * k++ + l] = l < 8 ? __shfl_sync(0xff, l, 7 - l) : l;
}

static void test_lanes()
{
    Array<int> y(8 * 32);
    LAUNCH(lanes, 1, 32, 0, 0, y.device);
    y.down();
    unsigned thirds = 0;
    for (int l = 0; l < 32; l += 3) thirds |= 1u << l;
    for (int l = 0; l < 32; l++) {
        const int want[8] = { 5, l / 8 * 8 + (l + 3) % 8, l ^ 3, l % 16 < 2 ? l : l - 2, l + 9 > 31 ? l : l + 9, (int)thirds, 1, l < 8 ? 7 - l : l };
        for (int k = 0; k < 8; k++) EXPECT(y.host[(size_t)(32 * k + l)] == want[k]);
    }
}

/* The matrices in shared memory, rows 8 halves each: element (r, c) of matrix m holds 64m + 8r + c. */
struct Matrices { half a[32][8]; };
KERNEL fragments(unsigned *y)
{
    SMEM(Matrices, sm);
    const unsigned l = threadIdx.x;
    for (unsigned c = 0; c < 8; c++) sm.a[l][c] = __float2half_rn((float)(8 * l + c));
    __syncthreads();
    unsigned one, two[2], four[4];
    ldmatrix_x1(one, sm.a[l % 8]), y[l] = one;
    ldmatrix_x2(two, sm.a[l % 16]), y[32 + l] = two[0], y[64 + l] = two[1];
    ldmatrix_x4(four, sm.a[l]);
    for (unsigned k = 0; k < 4; k++) y[32 * (3 + k) + l] = four[k];
    ldmatrix_x1_trans(one, sm.a[l % 8]), y[32 * 7 + l] = one;
    ldmatrix_x2_trans(two, sm.a[l % 16]), y[32 * 8 + l] = two[0], y[32 * 9 + l] = two[1];
    ldmatrix_x4_trans(four, sm.a[l]);
    for (unsigned k = 0; k < 4; k++) y[32 * (10 + k) + l] = four[k];
}

static void test_fragments()
{
    Array<unsigned> y(14 * 32);
    LAUNCH(fragments, 1, 32, sizeof(Matrices), 0, y.device);
    y.down();
    const int matrix[7] = { 0, 0, 1, 0, 1, 2, 3 };
    for (int k = 0; k < 14; k++)
        for (int l = 0; l < 32; l++) {
            int      m = matrix[k % 7], g = l / 4, t = l % 4 * 2, first = k < 7 ? 8 * g + t : 8 * t + g, second = k < 7 ? first + 1 : first + 8;
            unsigned pair = y.host[(size_t)(32 * k + l)];
            EXPECT(f16_to_f32((uint16_t)pair) == (float)(64 * m + first) && f16_to_f32((uint16_t)(pair >> 16)) == (float)(64 * m + second));
        }
}

/* D = C + A B with whole numbers, which no order of sums can round. */
DEVICE unsigned pair(half low, half high) { return bits_of<unsigned>(__halves2half2(low, high)); }
KERNEL product(float *d, const half *a, const half *b)
{
    const unsigned l = threadIdx.x, g = l / 4, t = l % 4 * 2;
    const half    *a0 = a + g * 8 + t, *a1 = a0 + 64;
    float          c[4] = { d[g * 8 + t], d[g * 8 + t + 1], d[(g + 8) * 8 + t], d[(g + 8) * 8 + t + 1] };
    mma_m16n8k8(c, pair(a0[0], a0[1]), pair(a1[0], a1[1]), pair(b[t * 8 + g], b[(t + 1) * 8 + g]));
    d[g * 8 + t] = c[0], d[g * 8 + t + 1] = c[1], d[(g + 8) * 8 + t] = c[2], d[(g + 8) * 8 + t + 1] = c[3];
}

static void test_product()
{
    Array<float>          d(128);
    Array<unsigned short> a(128), b(64);
    for (int k = 0; k < 128; k++) d.host[(size_t)k] = (float)(k % 11), a.host[(size_t)k] = f32_to_f16((float)(k * 7 % 13 - 6));
    for (int k = 0; k < 64; k++) b.host[(size_t)k] = f32_to_f16((float)(k * 5 % 17 - 8));
    d.up(), a.up(), b.up();
    std::vector<float> want = d.host;
    for (size_t i = 0; i < 16; i++)
        for (size_t j = 0; j < 8; j++)
            for (size_t k = 0; k < 8; k++) want[i * 8 + j] += f16_to_f32(a.host[i * 8 + k]) * f16_to_f32(b.host[k * 8 + j]);
    LAUNCH(product, 1, 32, 0, 0, d.device, (const half *)a.device, (const half *)b.device);
    d.down();
    EXPECT(d.host == want);
}

/* ---- a block, a grid ---- */

KERNEL places(int *y, int *votes)
{
    unsigned t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x, b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int      count = __syncthreads_count(t % 5 == 0), all = __syncthreads_and(t < 60), any = __syncthreads_or(t == 59);
    y[b * 60 + t] = (int)(100 * b + t);
    if (t == 7) votes[b] = count + 100 * all + 200 * any;
}

static void test_places()
{
    Array<int> y(24 * 60), votes(24);
    LAUNCH(places, dim3(2, 3, 4), dim3(3, 4, 5), 0, 0, y.device, votes.device);
    y.down(), votes.down();
    for (int b = 0; b < 24; b++) {
        EXPECT(votes.host[(size_t)b] == 12 + 100 + 200);
        for (int t = 0; t < 60; t++) EXPECT(y.host[(size_t)(b * 60 + t)] == 100 * b + t);
    }
}

KERNEL counters(unsigned *y, float *f)
{
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&y[0], 1u), atomicMax(&y[1], i), atomicMin(&y[2], i), atomicOr(&y[3], 1u << i % 7), atomicAnd(&y[4], ~(1u << i % 3));
    if (atomicCAS(&y[5], 0u, i + 1) == 0) atomicExch(&y[6], 77u);
    atomicAdd(f, 0.5f);
}

static void test_counters()
{
    Array<unsigned> y(7);
    Array<float>    f(1);
    y.host[2] = y.host[4] = ~0u;
    y.up();
    LAUNCH(counters, 7, 100, 0, 0, y.device, f.device);
    y.down(), f.down();
    EXPECT(y.host[0] == 700 && y.host[1] == 699 && y.host[2] == 0 && y.host[3] == 127 && y.host[4] == ~7u);
    EXPECT(y.host[5] >= 1 && y.host[5] <= 700 && y.host[6] == 77 && f.host[0] == 350);
}

struct Most { float a[16384]; };
KERNEL most_shared(float *y)
{
    SMEM(Most, sm);
    for (unsigned i = threadIdx.x; i < 16384; i += blockDim.x) sm.a[i] = (float)i;
    __syncthreads();
    y[threadIdx.x] = sm.a[16383 - threadIdx.x];
}

static void test_limits()
{
    Array<float> y(1024);
    LAUNCH(most_shared, 1, 1024, sizeof(Most), 0, y.device);
    EXPECT(cudaGetLastError() != cudaSuccess && cudaGetLastError() == cudaSuccess);
    EXPECT(allow_shared(most_shared, sizeof(Most)) == cudaSuccess);
    LAUNCH(most_shared, 1, 1024, sizeof(Most), 0, y.device);
    EXPECT(cudaGetLastError() == cudaSuccess);
    y.down();
    EXPECT(y.host[0] == 16383 && y.host[1023] == 15360);
    LAUNCH(most_shared, 1, 1025, sizeof(Most), 0, y.device);
    EXPECT(cudaGetLastError() != cudaSuccess);
    LAUNCH(most_shared, dim3(1, 65536), 32, sizeof(Most), 0, y.device);
    EXPECT(cudaGetLastError() != cudaSuccess);
    EXPECT(cudaDeviceSynchronize() == cudaSuccess);
}

/* ---- streams, events, graphs ---- */

KERNEL scale_add(float *y, float scale, float add) { y[threadIdx.x] = y[threadIdx.x] * scale + add; }

static void test_streams()
{
    Array<float> y(32);
    cudaStream_t a, b;
    cudaEvent_t  done, start;
    float        ms = -1;
    EXPECT(!cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking) && !cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
    EXPECT(!cudaEventCreate(&done) && !cudaEventCreate(&start));
    cudaEventRecord(start, a);
    LAUNCH(scale_add, 1, 32, 0, a, y.device, 1, 3);
    cudaEventRecord(done, a);
    cudaStreamWaitEvent(b, done);
    LAUNCH(scale_add, 1, 32, 0, b, y.device, 2, 0);
    EXPECT(cudaStreamSynchronize(b) == cudaSuccess && cudaEventQuery(done) == cudaSuccess && cudaEventElapsedTime(&ms, start, done) == cudaSuccess && ms >= 0);
    y.down();
    EXPECT(y.host[31] == 6);
    cudaEventDestroy(done), cudaEventDestroy(start), cudaStreamDestroy(a), cudaStreamDestroy(b);
}

static void test_graphs()
{
    Array<float>    y(32);
    cudaStream_t    s;
    cudaGraph_t     graph;
    cudaGraphExec_t exec;
    EXPECT(!cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) && !cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    LAUNCH(scale_add, 1, 32, 0, s, y.device, 2, 0);
    LAUNCH(scale_add, 1, 32, 0, s, y.device, 1, 1);
    EXPECT(!cudaStreamEndCapture(s, &graph) && !cudaGraphInstantiate(&exec, graph, 0));
    for (int k = 0; k < 3; k++) EXPECT(!cudaGraphLaunch(exec, s));
    EXPECT(!cudaStreamSynchronize(s));
    y.down();
    EXPECT(y.host[5] == 7);                             /* 0 -> 1 -> 3 -> 7: nothing ran while it was captured */
    cudaGraphExecDestroy(exec), cudaGraphDestroy(graph), cudaStreamDestroy(s);
}

/* ---- memory ---- */

static void test_memory()
{
    size_t free_before, total, free_after;
    float *p = nullptr, back[4], rows[6] = { 0, 1, 2, 3, 4, 5 };
    EXPECT(cudaMemGetInfo(&free_before, &total) == cudaSuccess && free_before <= total);
    EXPECT(cudaMalloc(&p, total + 1) == cudaErrorMemoryAllocation && cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);
    EXPECT(cudaMalloc(&p, 4 << 20) == cudaSuccess && (size_t)p % 256 == 0);
    EXPECT(cudaMemGetInfo(&free_after, &total) == cudaSuccess && free_before - free_after >= 4 << 20);
#ifdef CUDA_EMU
    cudaMemcpy(back, p, sizeof back, cudaMemcpyDeviceToHost);
    EXPECT(std::isnan(back[0]) && std::isnan(back[3]));
#endif
    cudaMemset(p, 0, 64);
    EXPECT(cudaMemcpy2DAsync(p, 8, rows, 12, 8, 2, cudaMemcpyHostToDevice, 0) == cudaSuccess);
    EXPECT(cudaMemcpy(back, p, sizeof back, cudaMemcpyDeviceToHost) == cudaSuccess && back[0] == 0 && back[1] == 1 && back[2] == 3 && back[3] == 4);
    EXPECT(cudaFree(p) == cudaSuccess && cudaMemGetInfo(&free_after, &total) == cudaSuccess && free_after == free_before);
}

static void run(const char *name, void (*test)())
{
    trouble = nullptr;
    test();
    failures += trouble != nullptr;
    printf("%s %d - emu: %s%s%s\n", trouble ? "not ok" : "ok", ++number, name, trouble ? ": " : "", trouble ? trouble : "");
}

int main()
{
    run("halves, every one of them and every rounding", test_halves);
    run("shuffles and votes", test_lanes);
    run("ldmatrix: which lane gets what", test_fragments);
    run("mma: fragments and sums", test_product);
    run("places, barriers that count", test_places);
    run("atomics", test_counters);
    run("limits of a launch", test_limits);
    run("streams and events", test_streams);
    run("graphs", test_graphs);
    run("memory: refused, strided, given back", test_memory);
    printf("1..%d\n", number);
    return failures > 0;
}
