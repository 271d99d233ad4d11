/* The CUDA set: its ops, memory and errors. All work goes to one stream. A launch that fails, or a kernel, is remembered until sync. */
#include "dev.h"
#include <climits>
#include <cstdio>
#include <cstdlib>

static cudaStream_t stream;

/* ---- errors ---- */

static char latched[256];

static int latch(Set *set, const char *what, cudaError_t error)
{
    if (!error || set->error) return 0;
    snprintf(latched, sizeof latched, "%s: %s", what, cudaGetErrorString(error));
    set->error = latched;
    return 0;
}

static int sync_set(Set *set)
{
    latch(set, "cuda", cudaStreamSynchronize(stream));
    const char *error = set->error;
    set->error = nullptr;
    return error ? err("%s", error) : 0;
}

/* ---- ops ---- */

typedef int Kernel(const Op *, cudaStream_t);

static Kernel *kernel_of(OpKind kind)
{
    switch (kind) {
    case OP_LINEAR: return cuda_linear;
    case OP_LINEAR_DX: return cuda_linear_dx;
    case OP_LINEAR_DW: return cuda_linear_dw;
    case OP_CONV: return cuda_conv;
    case OP_CONV_DX: return cuda_conv_dx;
    case OP_CONV_DW: return cuda_conv_dw;
    case OP_SUM: return cuda_sum;
    case OP_NORM: return cuda_norm;
    case OP_NORM_DX: return cuda_norm_dx;
    case OP_NORM_DW: return cuda_norm_dw;
    case OP_ATTN: return cuda_attn;
    case OP_ATTN_DX: return cuda_attn_dx;
    case OP_ACT: return cuda_act;
    case OP_ACT_DX: return cuda_act_dx;
    case OP_GEGLU: return cuda_geglu;
    case OP_GEGLU_DX: return cuda_geglu_dx;
    case OP_UP2: return cuda_up2;
    case OP_UP2_DX: return cuda_up2_dx;
    case OP_EMBED: return cuda_embed;
    case OP_EMBED_DW: return cuda_embed_dw;
    case OP_COPY: return cuda_copy;
    case OP_ADD: return cuda_add;
    case OP_MUL: return cuda_mul;
    case OP_DROPOUT: return cuda_dropout;
    case OP_LOSS: return cuda_loss;
    case OP_SUMSQ: return cuda_sumsq;
    case OP_UPDATE: return cuda_update;
    case OP_FILL: return cuda_fill;
    default: return nullptr;
    }
}

static int run(Set *set, const Op *op)
{
    const char *name = op_name(op->kind);
    if (op_check(set, op)) return -1;
    if (!op->scratch && set->need(set, op)) return err("%s: scratch: expected %zu bytes, found none", name, set->need(set, op));
    for (Tensor t : { op->y[0], op->x[0], op->x[1] })   /* rows and channels are counted in 32 bits */
        if (t.p && tensor_count(t) > UINT_MAX / 2) return err("%s: a tensor of %zu elements, where 2^31 are the limit", name, tensor_count(t));
    if (kernel_of(op->kind)(op, stream)) return -1;
    return latch(set, name, cudaGetLastError());
}

/* Kernels take weights as they are. */
static size_t pack(Set *, Weight *w, void *)
{
    w->packed = nullptr;
    return 0;
}

/* ---- memory ---- */

static void *alloc(Set *, size_t bytes)
{
    void       *p;
    size_t      free = 0, total = 0;
    cudaError_t error = cudaMalloc(&p, bytes ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        cudaMemGetInfo(&free, &total);
        err("cuda: no memory: %.0f MB, where %.0f of %.0f are free", (double)bytes / 1e6, (double)free / 1e6, (double)total / 1e6);
        return nullptr;
    }
    if (!error) error = cudaMemsetAsync(p, 0, bytes, stream);
    if (!error) return p;
    err("cuda: %zu bytes: %s", bytes, cudaGetErrorString(error));
    return nullptr;
}

static void release(Set *, void *p, size_t) { cudaFree(p); }

static size_t room(const Set *)
{
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    return free;
}

/* Room on the host for a tensor: the same shape and type, without gaps. free() its p. */
static Tensor stage(Tensor t)
{
    void *p = malloc(tensor_count(t) * type_size(t.type));
    if (!p) err("out of memory for %zu elements", tensor_count(t));
    return tensor_of(p, t.type, t.n, t.h, t.w, t.c);
}

static void convert(Tensor to, Tensor from)
{
    for (unsigned row = 0; row < row_count(to); row++) {
        unsigned area = (unsigned)to.h * (unsigned)to.w, n = row / area, pixel = row % area;
        type_convert(to.type, tensor_at(to, n * to.img + pixel * to.ld), from.type, tensor_at(from, n * from.img + pixel * from.ld), (size_t)to.c);
    }
}

/* Between the device and a host's tensor of the same shape and type, of which one has no gaps. */
static cudaError_t transfer(Tensor to, Tensor from, cudaMemcpyKind kind)
{
    const size_t size = type_size(to.type), width = (size_t)to.c * size, rows = (size_t)to.h * (size_t)to.w;
    if (is_dense(to) && is_dense(from)) return cudaMemcpyAsync(to.p, from.p, tensor_count(to) * size, kind, stream);
    cudaError_t error = cudaSuccess;
    for (size_t n = 0; !error && n < (size_t)to.n; n++)
        error = cudaMemcpy2DAsync(tensor_at(to, n * to.img), to.ld * size, tensor_at(from, n * from.img), from.ld * size, width, rows, kind, stream);
    return error;
}

static int same_shape(Tensor to, Tensor from)
{
    if (to.n == from.n && to.h == from.h && to.w == from.w && to.c == from.c) return 1;
    err("copy between memories: expected (%d,%d,%d,%d), found (%d,%d,%d,%d)", to.n, to.h, to.w, to.c, from.n, from.h, from.w, from.c);
    return 0;
}

static int upload(Set *set, Tensor dst, Tensor host)
{
    if (!same_shape(dst, host)) return -1;
    Tensor staged = stage(dst);
    if (!staged.p) return -1;
    convert(staged, host);
    latch(set, "upload", transfer(dst, staged, cudaMemcpyHostToDevice));
    int failed = sync_set(set);
    free(staged.p);
    return failed;
}

static int download(Set *set, Tensor host, Tensor src)
{
    if (!same_shape(host, src)) return -1;
    Tensor staged = stage(src);
    if (!staged.p) return -1;
    latch(set, "download", transfer(staged, src, cudaMemcpyDeviceToHost));
    int failed = sync_set(set);
    if (!failed) convert(host, staged);
    free(staged.p);
    return failed;
}

/* ---- devices ---- */

enum { LEAST_MAJOR = 7, LEAST_MINOR = 5 };              /* what the kernels are compiled for: Turing */

void cuda_versions(int *driver, int *runtime)
{
    *driver = *runtime = 0;
    cudaDriverGetVersion(driver);
    cudaRuntimeGetVersion(runtime);
}

int cuda_devices()
{
    int         count = 0, driver, runtime;
    cudaError_t error = cudaGetDeviceCount(&count);
    cudaGetLastError();                                 /* nothing is wrong yet */
    cuda_versions(&driver, &runtime);
    if (error == cudaErrorInsufficientDriver && !driver) return err("cuda: no NVIDIA driver was found: docs/gpu.md says what to install");
    if (error == cudaErrorInsufficientDriver)
        return err("cuda: the driver is for CUDA %d.%d, and this program wants %d.%d: a newer driver, or a build by an older toolkit", driver / 1000,
                   driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (error == cudaErrorNoDevice || (!error && !count)) return err("cuda: there is a driver, but no NVIDIA card that it lets this program use");
    return error ? err("cuda: %s", cudaGetErrorString(error)) : count;
}

int cuda_device(Device *d, int number)
{
    cudaDeviceProp p;
    int            kilohertz = 0, memory_kilohertz = 0, bits = 0;
    cudaError_t    error = cudaGetDeviceProperties(&p, number);
    *d = {};
    if (!error) error = cudaSetDevice(number);
    if (!error) error = cudaMemGetInfo(&d->free, &d->total);
    if (!error) error = cudaDeviceGetAttribute(&kilohertz, cudaDevAttrClockRate, number);
    if (!error) error = cudaDeviceGetAttribute(&memory_kilohertz, cudaDevAttrMemoryClockRate, number);
    if (!error) error = cudaDeviceGetAttribute(&bits, cudaDevAttrGlobalMemoryBusWidth, number);
    cudaGetLastError();
    if (error) return err("cuda: device %d: %s", number, cudaGetErrorString(error));
    snprintf(d->name, sizeof d->name, "%s", p.name);
    d->major = p.major, d->minor = p.minor, d->processors = p.multiProcessorCount, d->megahertz = kilohertz / 1000;
    d->gigabytes_a_second = (int)(2.0 * memory_kilohertz * bits / 8e6);         /* two transfers a clock */
    return 0;
}

/* Is it there, and new enough? */
static int usable(int number)
{
    Device d;
    int    count = cuda_devices();
    if (count < 0) return 0;
    if (number < 0 || number >= count) return err("--device %d: there %s %d, counted from 0 (`sdlora devices`)", number, count == 1 ? "is" : "are", count), 0;
    if (cuda_device(&d, number)) return 0;
    if (d.major > LEAST_MAJOR || (d.major == LEAST_MAJOR && d.minor >= LEAST_MINOR)) return 1;
    err("cuda: device %d, %s, is of compute capability %d.%d, and %d.%d is the least: RTX 20, GTX 16 and later", number, d.name, d.major, d.minor, LEAST_MAJOR,
        LEAST_MINOR);
    return 0;
}

Set *cuda_open(int device)
{
    static Set set = { "cuda", T_F16, T_F32, nullptr, run, cuda_need, pack, alloc, release, upload, download, sync_set, 0, nullptr, room };
    static int opened = -1;
    uint64_t   has = 0;
    if (opened == device) return &set;
    if (opened >= 0) return err("--device %d: device %d is in use, and a run has one", device, opened), nullptr;
    for (int k = 0; k < OP_COUNT; k++) has |= (uint64_t)(kernel_of((OpKind)k) != nullptr) << k;
    if (!set_if_complete(&set, has) || !usable(device)) return nullptr;
    cudaError_t error = cudaSetDevice(device);
    if (!error) error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (error) return err("cuda: device %d: %s", device, cudaGetErrorString(error)), nullptr;
    opened = device;
    return &set;
}
