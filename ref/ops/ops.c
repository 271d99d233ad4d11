#define _GNU_SOURCE                                     /* dl_iterate_phdr */
#include "base/err.h"
#include "kernels/cpu/set.h"
#include "ops/sets.h"
#include <link.h>
#include <stdio.h>
#include <string.h>

#ifdef WITH_CUDA
enum { HAS_CUDA = 1 };
#else
enum { HAS_CUDA = 0 };
static const char not_built[] = "cuda: this program is built without its CUDA set: make CUDA=1, with nvcc on the PATH (docs/gpu.md)";
Set *cuda_open(int device) { return (void)device, err("%s", not_built), NULL; }
int  cuda_devices(void) { return err("%s", not_built); }
int  cuda_device(Device *d, int number) { return (void)d, (void)number, err("%s", not_built); }
void cuda_versions(int *driver, int *runtime) { *driver = *runtime = 0; }
#endif

static Set *cpu_open_best(void) { return cpu_open("cpu"); }

/* auto: the fastest that runs. */
static const struct {
    const char *name;
    Set *(*open)(void);                                 /* on the host; */
    Set *(*open_on)(int device);                        /* or on a device */
    const char *what;
} sets[] = {
    { "cpu", cpu_open_best, NULL, "this processor, by its best instructions" },
    { "ref", ref_open_f32, NULL, "the reference, in float" },
    { "ref64", ref_open_f64, NULL, "the reference, in double" },
    { "ref16", ref_open_f16, NULL, "the reference, rounded to f16 between operations" },
    { "cuda", NULL, cuda_open, "an NVIDIA card" },
};
enum { SET_COUNT = sizeof sets / sizeof *sets };

/* Two OpenMP runtimes in one process (gcc's beside clang's, brought by a BLAS) share no threads: each sees the other's parallel regions as serial code. */
static int count_openmp(struct dl_phdr_info *library, size_t size, void *count)
{
    const char *const names[] = { "/libgomp.so", "/libomp.so", "/libomp5.so", "/libiomp5.so" };
    (void)size;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) *(int *)count += strstr(library->dlpi_name, names[i]) != NULL;
    return 0;
}

static int is_host(const char *name)
{
    for (int i = 0; i < SET_COUNT; i++)
        if (sets[i].open && !strcmp(sets[i].name, name)) return 1;
    return !strncmp(name, "cpu-", 4);
}

Set *set_open(const char *name) { return set_open_on(name, 0); }

Set *set_open_on(const char *name, int device)
{
    char names[256] = "auto";
    int  runtimes = 0;
    dl_iterate_phdr(count_openmp, &runtimes);
    if (runtimes > 1) {
        err("set %s: this program has loaded %d OpenMP runtimes; build it with the compiler whose runtime its BLAS uses, or with GEMM=naive", name, runtimes);
        return NULL;
    }
    if (!strcmp(name, "auto")) name = HAS_CUDA && cuda_devices() > 0 ? "cuda" : "cpu";
    if (device && is_host(name)) return err("--device %d: the set %s runs on the host; --set cuda has devices (`sdlora devices`)", device, name), NULL;
    if (strncmp(name, "cpu-", 4) == 0) return cpu_open(name);
    for (int i = 0; i < SET_COUNT; i++) {
        if (strcmp(sets[i].name, name) == 0) return sets[i].open ? sets[i].open() : sets[i].open_on(device);
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, ", %s", sets[i].name);
    }
    err("%s: no such kernel set, there are: %s", name, names);
    return NULL;
}

const Set *set_describe(const char *name)
{
    static const Set cuda = { .name = "cuda", .act = T_F16, .acc = T_F32, .need = cuda_need };
    return strcmp(name, "cuda") ? set_open(name) : &cuda;
}

Set *set_if_complete(Set *set, uint64_t has)
{
    for (int k = 0; k < OP_COUNT; k++)
        if (!(has >> k & 1)) return err("set %s: it has no %s, and a set must have every operation", set->name, op_name((OpKind)k)), NULL;
    return set;
}

int set_entry(SetEntry *e, int k)
{
    if (k >= SET_COUNT) return 0;
    const Set *like = set_describe(sets[k].name), *set = set_open(sets[k].name);
    *e = (SetEntry){ .name = sets[k].name, .what = sets[k].what };
    if (like) e->act = like->act, e->acc = like->acc;
    if (!set) snprintf(e->why_not, sizeof e->why_not, "%s", err_text());
    if (sets[k].open) return 1;
    int devices = cuda_devices();
    e->devices = devices > 0 ? devices : 0;
    cuda_versions(&e->driver, &e->runtime);
    return 1;
}

int set_device(Device *d, const char *name, int number) { return is_host(name) ? err("%s: it has no devices", name) : cuda_device(d, number); }

static const char *const op_names[OP_COUNT] = {
    [OP_LINEAR] = "linear",
    [OP_LINEAR_DX] = "linear_dx",
    [OP_LINEAR_DW] = "linear_dw",
    [OP_CONV] = "conv",
    [OP_CONV_DX] = "conv_dx",
    [OP_CONV_DW] = "conv_dw",
    [OP_SUM] = "sum",
    [OP_NORM] = "norm",
    [OP_NORM_DX] = "norm_dx",
    [OP_NORM_DW] = "norm_dw",
    [OP_ATTN] = "attn",
    [OP_ATTN_DX] = "attn_dx",
    [OP_ACT] = "act",
    [OP_ACT_DX] = "act_dx",
    [OP_GEGLU] = "geglu",
    [OP_GEGLU_DX] = "geglu_dx",
    [OP_UP2] = "up2",
    [OP_UP2_DX] = "up2_dx",
    [OP_EMBED] = "embed",
    [OP_EMBED_DW] = "embed_dw",
    [OP_COPY] = "copy",
    [OP_ADD] = "add",
    [OP_MUL] = "mul",
    [OP_DROPOUT] = "dropout",
    [OP_LOSS] = "loss",
    [OP_SUMSQ] = "sumsq",
    [OP_UPDATE] = "update",
    [OP_FILL] = "fill",
};

const char *op_name(OpKind kind) { return (unsigned)kind < OP_COUNT ? op_names[kind] : "unknown op"; }

Tensor *op_tensor(Op *op, int k)
{
    Tensor *const part[] = { &op->w.t, &op->bias, &op->row, &op->res };
    if (k < 4) return &op->y[k];
    if (k < 10) return &op->x[k - 4];
    if (k < 14) return part[k - 10];
    return k < 14 + MAX_SEG ? &op->seg[k - 14].x : &op->seg[k - 14 - MAX_SEG].w.t;
}

double set_loss_scale(const Set *set) { return set->act == T_F16 && set->acc != T_F16 ? 65536 : 1; }
