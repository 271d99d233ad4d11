#define _GNU_SOURCE                                     /* dl_iterate_phdr */
#include "base/err.h"
#include "kernels/cpu/set.h"
#include "ops/sets.h"
#include <link.h>
#include <stdio.h>
#include <string.h>

static Set *cpu_open_best(void) { return cpu_open("cpu"); }

/* auto: the fastest that runs. */
static const struct {
    const char *name;
    Set *(*open)(void);
} sets[] = {
    { "auto", cpu_open_best },
    { "cpu", cpu_open_best },
    { "ref", ref_open_f32 },
    { "ref64", ref_open_f64 },
    { "ref16", ref_open_f16 },
#ifdef WITH_CUDA
    { "cuda", cuda_open },
#endif
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

Set *set_open(const char *name)
{
    char names[256] = "";
    int  runtimes = 0;
    dl_iterate_phdr(count_openmp, &runtimes);
    if (runtimes > 1) {
        err("set %s: this program has loaded %d OpenMP runtimes; build it with the compiler whose runtime its BLAS uses, or with GEMM=naive", name, runtimes);
        return NULL;
    }
    if (strncmp(name, "cpu-", 4) == 0) return cpu_open(name);
    for (int i = 0; i < SET_COUNT; i++) {
        if (strcmp(sets[i].name, name) == 0) return sets[i].open();
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", sets[i].name);
    }
    if (strcmp(name, "cuda") == 0) return err("cuda: this program is built without its CUDA set: make CUDA=1, with nvcc on the PATH"), NULL;
    err("%s: no such kernel set, there are: %s", name, names);
    return NULL;
}

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
