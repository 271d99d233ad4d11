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

static int dispatch(const Op *op)
{
    switch (op->kind) {
    case OP_LINEAR: return cuda_linear(op, stream);
    case OP_LINEAR_DX: return cuda_linear_dx(op, stream);
    case OP_LINEAR_DW: return cuda_linear_dw(op, stream);
    case OP_CONV: return cuda_conv(op, stream);
    case OP_CONV_DX: return cuda_conv_dx(op, stream);
    case OP_CONV_DW: return cuda_conv_dw(op, stream);
    case OP_SUM: return cuda_sum(op, stream);
    case OP_NORM: return cuda_norm(op, stream);
    case OP_NORM_DX: return cuda_norm_dx(op, stream);
    case OP_NORM_DW: return cuda_norm_dw(op, stream);
    case OP_ATTN: return cuda_attn(op, stream);
    case OP_ATTN_DX: return cuda_attn_dx(op, stream);
    case OP_ACT: return cuda_act(op, stream);
    case OP_ACT_DX: return cuda_act_dx(op, stream);
    case OP_GEGLU: return cuda_geglu(op, stream);
    case OP_GEGLU_DX: return cuda_geglu_dx(op, stream);
    case OP_UP2: return cuda_up2(op, stream);
    case OP_UP2_DX: return cuda_up2_dx(op, stream);
    case OP_EMBED: return cuda_embed(op, stream);
    case OP_EMBED_DW: return cuda_embed_dw(op, stream);
    case OP_COPY: return cuda_copy(op, stream);
    case OP_ADD: return cuda_add(op, stream);
    case OP_MUL: return cuda_mul(op, stream);
    case OP_DROPOUT: return cuda_dropout(op, stream);
    case OP_LOSS: return cuda_loss(op, stream);
    case OP_SUMSQ: return cuda_sumsq(op, stream);
    case OP_UPDATE: return cuda_update(op, stream);
    case OP_FILL: return cuda_fill(op, stream);
    default: return err("%s: the cuda set has no such op", op_name(op->kind));
    }
}

static int run(Set *set, const Op *op)
{
    const char *name = op_name(op->kind);
    if (op_check(set, op)) return -1;
    if (!op->scratch && set->need(set, op)) return err("%s: scratch: expected %zu bytes, found none", name, set->need(set, op));
    for (Tensor t : { op->y[0], op->x[0], op->x[1] })   /* rows and channels are counted in 32 bits */
        if (t.p && tensor_count(t) > UINT_MAX / 2) return err("%s: a tensor of %zu elements, where 2^31 are the limit", name, tensor_count(t));
    if (dispatch(op)) return -1;
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

Set *cuda_open(void)
{
    static Set set = { "cuda", T_F16, T_F32, nullptr, run, cuda_need, pack, alloc, release, upload, download, sync_set, 0, nullptr, room };
    int         devices = 0;
    cudaError_t error = stream ? cudaSuccess : cudaGetDeviceCount(&devices);
    if (!error && !stream) error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (!error) return &set;
    err("cuda: %s", cudaGetErrorString(error));
    return nullptr;
}
