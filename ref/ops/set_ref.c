#include "base/err.h"
#include "ops/host.h"
#include "ops/ref.h"
#include "ops/sets.h"

static const struct {
    int (*run)(const Op *);
    size_t (*need)(const Op *);                         /* NULL: none */
} table[OP_COUNT] = {
    [OP_LINEAR] = { NAME(linear), NAME(linear_need) },
    [OP_LINEAR_DX] = { NAME(linear_dx), NAME(linear_dx_need) },
    [OP_LINEAR_DW] = { NAME(linear_dw), NAME(linear_dw_need) },
    [OP_CONV] = { NAME(conv), NAME(conv_need) },
    [OP_CONV_DX] = { NAME(conv_dx), NAME(conv_dx_need) },
    [OP_CONV_DW] = { NAME(conv_dw), NAME(conv_dw_need) },
    [OP_SUM] = { NAME(sum), NAME(sum_need) },
    [OP_NORM] = { NAME(norm), NAME(norm_need) },
    [OP_NORM_DX] = { NAME(norm_dx), NAME(norm_dx_need) },
    [OP_NORM_DW] = { NAME(norm_dw), NAME(norm_dw_need) },
    [OP_ATTN] = { NAME(attn), NAME(attn_need) },
    [OP_ATTN_DX] = { NAME(attn_dx), NAME(attn_dx_need) },
    [OP_ACT] = { NAME(act), NULL },
    [OP_ACT_DX] = { NAME(act_dx), NULL },
    [OP_GEGLU] = { NAME(geglu), NULL },
    [OP_GEGLU_DX] = { NAME(geglu_dx), NULL },
    [OP_UP2] = { NAME(up2), NULL },
    [OP_UP2_DX] = { NAME(up2_dx), NULL },
    [OP_EMBED] = { NAME(embed), NULL },
    [OP_EMBED_DW] = { NAME(embed_dw), NULL },
    [OP_COPY] = { NAME(copy), NULL },
    [OP_ADD] = { NAME(add), NULL },
    [OP_MUL] = { NAME(mul), NULL },
    [OP_DROPOUT] = { NAME(dropout), NULL },
    [OP_LOSS] = { NAME(loss), NULL },
    [OP_SUMSQ] = { NAME(sumsq), NAME(sumsq_need) },
    [OP_UPDATE] = { NAME(update), NULL },
    [OP_FILL] = { NAME(fill), NULL },
};

static size_t need(const Set *set, const Op *op)
{
    (void)set;
    return table[op->kind].need ? table[op->kind].need(op) : 0;
}

static int run(Set *set, const Op *op)
{
    if (op_check(set, op)) return -1;
    if (!op->scratch && need(set, op)) return err("%s: scratch: expected %zu bytes, found none", op_name(op->kind), need(set, op));
    return table[op->kind].run(op);
}

/* The GEMM takes weights as they are. */
static size_t pack(Set *set, Weight *w, void *dst)
{
    (void)set, (void)dst;
    w->packed = NULL;
    return 0;
}

static void *alloc(Set *set, size_t bytes) { return (void)set, host_alloc(bytes); }
static void  release(Set *set, void *p, size_t bytes) { (void)set, host_release(p, bytes); }
static int   upload(Set *set, Tensor dst, Tensor host) { return (void)set, host_move(dst, host); }
static int   download(Set *set, Tensor host, Tensor src) { return (void)set, host_move(host, src); }
static int   sync_set(Set *set) { return (void)set, 0; }

Set *NAME(ref_open)(void)
{
    static Set set = { REAL == 32 ? "ref" : "ref64", T_REAL, T_REAL, NULL, run, need, pack, alloc, release, upload, download, sync_set, 0, NULL, NULL };
    uint64_t   has = 0;
    NAME(gemm_open)();
    set.chain = REAL == 32 ? NAME(gemm_chain) : 0;
    for (int k = 0; k < OP_COUNT; k++) has |= (uint64_t)(table[k].run != NULL) << k;
    return set_if_complete(&set, has);
}
