/* estimate - what a LoRA step would take on an RTX 2080, on paper: no card is asked. A sum, with the terms shown.
 *
 *   estimate [WIDTH HEIGHT [BATCH [RANK]]]              512 768 1 32
 *
 * The step is replayed on the set that only counts (ops/null_count.h), and each call is given the longest of
 *   product   the clocks that its tensor-core instructions take. A sub-core of sm_75 starts an HMMA.1688 with f32 sums every 16 clocks at most; with w warps
 *             on it, of whose instructions a share s are HMMA (kernels/cuda/FACTS: occupancy, main loop), it starts one every 1 / (s min(1, w / 4)): a warp
 *             is taken to issue every fourth clock. A quarter more for barriers and first slabs. The last wave of blocks takes as long as a full one
 *   memory    each operand once (ops/cost.h), and the parts of a sum that is split, at four fifths of 448 GB/s
 * and 2 us to be launched. Attention recomputes scores and takes p and ds as two halves (kernels/cuda/attn.cu): 3 products forward where the textbook counts 2,
 * 10 backward where it counts 5. What stands here is arithmetic on these assumptions, no measurement. */
#include "base/err.h"
#include "kernels/cuda/need.h"
#include "ops/null_count.h"
#include "ops/wrap.h"
#include "train/step.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROCESSORS = 46, SUBCORES = 4, WARPS = 32, TOKENS = 77, ATTN_ROWS = 64, MOST = 64 };
static const double CLOCK = 1.71e9, BANDWIDTH = 0.8 * 448e9, LAUNCH = 2e-6, HMMA_CLOCKS = 16, HMMA_FLOPS = 2 * 16 * 8 * 8, ISSUE = 4, WAITS = 1.25;

/* ---- what nvcc made of a kernel ---- */

typedef struct { double share, warps, blocks; } Fact;   /* of HMMA in the loop; warps a sub-core; blocks a processor */

static Fact fact_of(const char *kernel)
{
    char   line[256], name[64], shared[16], occupancy[16], share[16], threads[16];
    Fact   f = { 0 };
    FILE  *in = fopen("kernels/cuda/FACTS", "r");
    CHECK(in, "kernels/cuda/FACTS: run from the source tree");
    while (fgets(line, sizeof line, in)) {
        if (sscanf(line, "%63s %15s %*s %15s %*s %15s %*s %*s %*s %15s", name, threads, shared, occupancy, share) != 5 || strcmp(name, kernel)) continue;
        double of_warps = atof(occupancy) > 0 ? atof(occupancy) / 100 : 0.125, per_block = atof(threads) > 0 ? atof(threads) / 32 : 4;
        f = (Fact){ atof(share) / 100, of_warps * WARPS / SUBCORES, fmax(1, of_warps * WARPS / per_block) };
    }
    fclose(in);
    CHECK(f.share > 0, "kernels/cuda/FACTS has no %s with tensor-core instructions", kernel);
    return f;
}

/* Seconds of `blocks` blocks of so many FLOPs each. */
static double product_seconds(const Fact *f, double blocks, double flops)
{
    double clocks = fmax(HMMA_CLOCKS, 1 / (f->share * fmin(1, f->warps / ISSUE))), waves = ceil(blocks / (PROCESSORS * f->blocks));
    return waves * f->blocks * flops / HMMA_FLOPS / SUBCORES * clocks * WAITS / CLOCK;
}

/* ---- an op ---- */

typedef struct {
    char   kernel[64];
    size_t calls;
    double flops, bytes, seconds;
} Row;

typedef struct {
    Wrap wrap;
    Row  row[MOST];
    int  rows;
} Estimate;

static double rows_of(Tensor t) { return (double)t.n * t.h * t.w; }

static double product(char *kernel, const Op *op, double flops, double *bytes)
{
    int         dw = op->kind == OP_LINEAR_DW || op->kind == OP_CONV_DW, dx = op->kind == OP_LINEAR_DX || op->kind == OP_CONV_DX;
    Cut         cut = dw ? cut_of_dw(op) : cut_of_product(op);
    double      m = dw ? op->y[0].n : rows_of(op->y[0]), n = dw ? (double)op->y[0].h * op->y[0].w * op->y[0].c : op->y[0].c;
    double      tiles = ceil(m / cut.bm) * ceil(n / cut.bn), padded = tiles * cut.bm * cut.bn / (m * n);
    const char *wide = cut.bm == 64 ? "32" : "64";
    if (dw) snprintf(kernel, 64, "product_dw_kernel<%u,%u,%s>", cut.bm, cut.bn, wide);
    else snprintf(kernel, 64, "product_kernel<%u,%u,%s,%s>", cut.bm, cut.bn, wide, dx ? "true" : "false");
    Fact f = fact_of(kernel);
    if (cut.splits > 1) *bytes += 4 * m * n * (2 * cut.splits + 1);
    return product_seconds(&f, tiles * cut.splits, flops * padded / (tiles * cut.splits));
}

static double attention_pass(char *kernel, const char *name, const Op *op, Tensor q, double flops)
{
    static const int sizes[] = { 40, 64, 80, 128, 160 };
    int  d = q.c / op->a.heads, size = 0;
    while (size < 4 && sizes[size] < d) size++;
    snprintf(kernel, 64, "%s<%d>", name, sizes[size]);
    Fact   f = fact_of(kernel);
    double blocks = ceil((double)q.w / ATTN_ROWS) * op->a.heads * q.n;
    return product_seconds(&f, blocks, flops / blocks);
}

static void add(Estimate *e, const char *kernel, double flops, double bytes, double seconds)
{
    int k = 0;
    while (k < e->rows && strcmp(e->row[k].kernel, kernel)) k++;
    CHECK(k < MOST, "more kernels than %d", MOST);
    if (k == e->rows) snprintf(e->row[e->rows++].kernel, sizeof e->row->kernel, "%s", kernel);
    Row *r = &e->row[k];
    r->calls++, r->flops += flops, r->bytes += bytes, r->seconds += fmax(seconds, bytes / BANDWIDTH) + LAUNCH;
}

static int run(Set *set, const Op *op)
{
    Estimate *e = (Estimate *)set;
    Cost      cost = op_cost(op);
    char      kernel[64];
    if (wrap_inner(set)->run(wrap_inner(set), op)) return -1;
    double f = cost.flops, seconds;
    switch (op->kind) {
    case OP_LINEAR: case OP_LINEAR_DX: case OP_LINEAR_DW: case OP_CONV: case OP_CONV_DX: case OP_CONV_DW:
        seconds = product(kernel, op, f, &cost.bytes);
        add(e, kernel, f, cost.bytes, seconds);
        break;
    case OP_ATTN:                                       /* q k, and p v twice */
        seconds = attention_pass(kernel, "attn_kernel", op, op->x[0], f * 3 / 2);
        add(e, kernel, f, cost.bytes, seconds);
        break;
    case OP_ATTN_DX:                                    /* scores, dp, dq twice; scores, dp, dv and dk twice. The textbook's FLOPs stand with the first */
        seconds = attention_pass(kernel, "attn_dq_kernel", op, op->x[1], f * 4 / 5);
        add(e, kernel, f, cost.bytes, seconds);
        seconds = attention_pass(kernel, "attn_dkv_kernel", op, op->x[2], f * 6 / 5);
        add(e, kernel, 0, cost.bytes, seconds);
        break;
    default: add(e, op_name(op->kind), f, cost.bytes, 0);
    }
    return 0;
}

/* ---- the step ---- */

static int by_seconds(const void *a, const void *b)
{
    double x = ((const Row *)a)->seconds, y = ((const Row *)b)->seconds;
    return (x < y) - (x > y);
}

static void print(Estimate *e)
{
    Row all = { .kernel = "all" };
    qsort(e->row, (size_t)e->rows, sizeof *e->row, by_seconds);
    printf("%-34s %6s %9s %9s %8s %7s %8s\n", "kernel", "calls", "GFLOP", "MB", "ms", "TFLOPS", "share");
    for (int k = 0; k < e->rows; k++) {
        const Row *r = &e->row[k];
        all.calls += r->calls, all.flops += r->flops, all.bytes += r->bytes, all.seconds += r->seconds;
    }
    for (int k = 0; k <= e->rows; k++) {
        const Row *r = k < e->rows ? &e->row[k] : &all;
        printf("%-34s %6zu %9.1f %9.1f %8.2f %7.1f %7.1f%%\n", r->kernel, r->calls, 1e-9 * r->flops, 1e-6 * r->bytes, 1e3 * r->seconds,
               1e-12 * r->flops / r->seconds, 100 * r->seconds / all.seconds);
    }
    printf("%.2f steps a second\n", 1 / all.seconds);
}

static void expect(int status) { CHECK(status == 0, "%s", err_text()); }

int main(int argc, char **argv)
{
    int         w = argc > 2 ? atoi(argv[1]) : 512, h = argc > 2 ? atoi(argv[2]) : 768, n = argc > 3 ? atoi(argv[3]) : 1, rank = argc > 4 ? atoi(argv[4]) : 32;
    Set        *null = set_null(set_describe("cuda"));
    Estimate    e = { .rows = 0 };
    Checkpoint  model;
    Lora        lora;
    Tape        tape;
    LoraRules   rules = { .dim = rank, .alpha = rank, .unet = 1, .text = 1 };
    ParamUpdate update = { .step = 1, .clip = 1 };
    double      loss[64];
    CHECK(null && w > 0 && h > 0 && w % 64 == 0 && h % 64 == 0 && n > 0 && n <= 64 && rank > 0, "see the head of bench/estimate.c");
    wrap_open(&e.wrap, null);
    e.wrap.set.run = run;
    Set *set = &e.wrap.set;
    expect(checkpoint_describe(&model, "sd15", set) || lora_attach(&lora, &model, &rules) || tape_open(&tape, set, (size_t)1 << 46));
    StepBatch b = { .n = n, .h = h / 8, .w = w / 8, .c = model.unet.config.in, .tokens = TOKENS, .chunks = 1 };
    expect(params_clear(&lora.params) || step_pass(&tape, &model, &lora, &b, TAPE_TRAIN, 1, loss) || params_update(&lora.params, &update));
    printf("SD 1.5, %dx%d, batch %d, LoRA of rank %d on UNet and text encoder, nothing computed again; RTX 2080, estimated\n", w, h, n, rank);
    print(&e);
    tape_close(&tape), lora_detach(&lora), checkpoint_close(&model), free(null);
    return 0;
}
