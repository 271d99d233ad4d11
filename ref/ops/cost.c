#include "ops/cost.h"

static double count(Tensor t) { return t.p ? (double)tensor_count(t) : 0; }
static double rows(Tensor t) { return t.p ? (double)t.n * t.h * t.w : 0; }
static double bytes(Tensor t) { return count(t) * (double)type_size(t.type); }

/* ---- products: 2 for each multiply-add ---- */

/* Segments: each row of x with each of w's numbers. In conv_dx, too: each place of x meets all k k r i of them. */
static double segments(const Op *op)
{
    double sum = 0;
    for (int s = 0; s < MAX_SEG; s++) sum += op->seg[s].x.p ? 2 * rows(op->seg[s].x) * count(op->seg[s].w.t) : 0;
    return sum;
}

/* The rows of the product's output side, times the weight: y and w, dy and w, dy and dw. */
static double product(const Op *op) { return 2 * rows(op->y[0]) * count(op->w.t) + segments(op); }
static double product_dx(const Op *op) { return 2 * rows(op->x[0]) * count(op->w.t) + segments(op); }
static double product_dw(const Op *op) { return 2 * rows(op->x[0]) * count(op->y[0]); }

/* `products` of q's size with the keys that are seen. */
static double attention(const Op *op, Tensor q, Tensor k, int products)
{
    double seen = op->a.causal ? (k.w + 1) / 2.0 : k.w;
    return 2 * products * count(q) * seen;
}
static double attn(const Op *op) { return attention(op, op->x[0], op->x[1], 2); }
static double attn_dx(const Op *op) { return attention(op, op->x[1], op->x[2], 5); }

/* ---- the table ---- */

enum { Y0 = 1, Y1 = 2, Y2 = 4 };

static const struct {
    double (*products)(const Op *);
    int      each, silu;                                /* without products: flops an element of the largest tensor, y[0] or x[0]; and more with a SiLU */
    unsigned updated;                                   /* outputs that are read before they are written */
} table[OP_COUNT] = {
    [OP_LINEAR] = { .products = product },
    [OP_LINEAR_DX] = { .products = product_dx },
    [OP_LINEAR_DW] = { .products = product_dw },
    [OP_CONV] = { .products = product },
    [OP_CONV_DX] = { .products = product_dx },
    [OP_CONV_DW] = { .products = product_dw },
    [OP_ATTN] = { .products = attn },
    [OP_ATTN_DX] = { .products = attn_dx },
    [OP_SUM] = { .each = 1 },
    [OP_NORM] = { .each = 8, .silu = 4 },               /* mean 1, variance 3, (x - mean) rstd gamma + beta 4; SiLU: -z, e^, +, / */
    [OP_NORM_DX] = { .each = 11, .silu = 12 },          /* hat 2, g gamma 1, sums 3, result 5; slope: z 2, logistic 4, s (1 + z (1-s)) dy 6 */
    [OP_NORM_DW] = { .each = 5, .silu = 12 },           /* hat 2, sums 3 */
    [OP_ACT] = { .each = 5 },
    [OP_ACT_DX] = { .each = 9 },
    [OP_GEGLU] = { .each = 3 },                         /* of x, which is twice y: gelu 5 and a product */
    [OP_GEGLU_DX] = { .each = 6 },                      /* of dx: gelu and its slope 9, three products */
    [OP_UP2] = { .each = 0 },
    [OP_UP2_DX] = { .each = 1 },                        /* of dy */
    [OP_EMBED] = { .each = 1 },
    [OP_EMBED_DW] = { .each = 1 },                      /* of dy: as if every word were learned */
    [OP_COPY] = { .each = 1 },
    [OP_ADD] = { .each = 1 },
    [OP_MUL] = { .each = 1 },
    [OP_DROPOUT] = { .each = 1 },                       /* random numbers are integers */
    [OP_LOSS] = { .each = 7 },                          /* l2: d 1, mask d^2 summed 3, slope 3 */
    [OP_SUMSQ] = { .each = 2, .updated = Y0 },
    [OP_UPDATE] = { .each = 16, .updated = Y0 | Y1 | Y2 },      /* AdamW: g' 1, m 3, v 4, w 8 */
    [OP_FILL] = { .each = 0 },
};

static double elementwise(const Op *op)
{
    double y = count(op->y[0]), x = count(op->x[0]);
    return (table[op->kind].each + (op->a.silu ? table[op->kind].silu : 0)) * (x > y ? x : y);
}

/* A weight, or the rows of a table that ids ask for: extra ones count as the table's. */
static double bytes_of_weights(const Op *op)
{
    double sum = bytes(op->w.t);
    for (int s = 0; s < MAX_SEG; s++) sum += op->seg[s].x.p ? bytes(op->seg[s].x) + bytes(op->seg[s].w.t) : 0;
    if (op->kind == OP_EMBED) sum += count(op->y[0]) * (double)type_size(op->x[1].type);
    return sum;
}

Cost op_cost(const Op *op)
{
    Cost cost = { table[op->kind].products ? table[op->kind].products(op) : elementwise(op), bytes_of_weights(op) };
    for (int k = 0; k < 4; k++) cost.bytes += bytes(op->y[k]) * (op->acc || table[op->kind].updated & 1u << k ? 2 : 1);
    for (int k = 0; k < 6; k++) cost.bytes += op->kind == OP_EMBED && (k == 1 || k == 2) ? 0 : bytes(op->x[k]);
    cost.bytes += bytes(op->bias) + bytes(op->row) + bytes(op->res);
    return cost;
}
