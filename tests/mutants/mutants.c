#include "mutants.h"
#include "base/err.h"
#include "check/layout.h"
#include <math.h>
#include <omp.h>
#include <string.h>

/* ---- tools: elements of a view, and copies of tensors (in a spare place, one call at a time) ---- */

static double get(Tensor t, size_t j) { return type_get(t.type, t.p, element(t, j)); }
static void   put(Tensor t, size_t j, double x) { type_set(t.type, t.p, element(t, j), x); }
static size_t last(Tensor t) { return tensor_count(t) - 1; }

static float  spare[1 << 24];
static size_t used;
void mutants_forget(void) { used = 0; }

static Tensor copy_of(Tensor t)
{
    Tensor copy = tensor_of(spare + used, T_F32, t.n, t.h, t.w, t.c);
    used += tensor_count(t);
    CHECK(used <= sizeof spare / sizeof *spare, "%zu numbers do not fit", used);
    for (size_t j = 0; j < tensor_count(t); j++) put(copy, j, get(t, j));
    return copy;
}

/* A copy in which every image, or every row of an image, is the first. */
static Tensor first_image(Tensor t)
{
    Tensor copy = copy_of(t);
    size_t each = tensor_count(t) / (size_t)t.n;
    for (size_t j = 0; j < tensor_count(t); j++) put(copy, j, get(t, j % each));
    return copy;
}
static Tensor first_row(Tensor t)
{
    Tensor copy = copy_of(t);
    for (size_t j = 0; j < tensor_count(t); j++) put(copy, j, get(t, j % (size_t)t.c));
    return copy;
}

static int with_number(Set *set, Op *op, int role, size_t j, double x)  /* x[role][j] is x */
{
    op->x[role] = copy_of(op->x[role]);
    put(op->x[role], j, x);
    return set->run(set, op);
}

#define MUTANT(name)  static int name(Set *set, Op *op)
#define INSTEAD(name, ...) MUTANT(name) { __VA_ARGS__; return set->run(set, op); }                       /* the call is changed on the way in */
#define BESIDES(name, ...) MUTANT(name) { if (set->run(set, op)) return -1; __VA_ARGS__; return 0; }     /* what came out is changed */

/* ---- linear, conv ---- */

INSTEAD(bias_missed, op->bias = NONE)
INSTEAD(row_of_first_image, if (op->row.p) op->row = first_image(op->row))
INSTEAD(residual_missed, if (op->res.p != op->y[0].p) op->res = NONE)
INSTEAD(scale_missed, op->a.scale = 1)
INSTEAD(scale_squared, op->a.scale *= op->a.scale)
INSTEAD(third_segment_dropped, op->seg[2].x.p = NULL)
INSTEAD(segment_scale_of_first, op->seg[1].scale = op->seg[0].scale)
INSTEAD(accumulate_ignored, op->acc = 0)
INSTEAD(rows_packed, op->y[0].ld = (size_t)op->y[0].c)
INSTEAD(last_image_missed, if (op->x[0].n > 1) op->x[0].n--, op->x[1].n--)
INSTEAD(first_image_again, op->x[0] = first_image(op->x[0]))

MUTANT(segment_one_channel_on)
{
    for (int s = 0; s < MAX_SEG; s++)
        if (op->seg[s].x.p && op->seg[s].o0 + op->seg[s].w.t.n < op->y[0].c) op->seg[s].o0++;
    return set->run(set, op);
}

/* (o,i) read as if it were stored (i,o) */
MUTANT(weight_transposed)
{
    Tensor w = op->w.t, to = copy_of(w);
    for (int o = 0; o < w.n; o++)
        for (int i = 0; i < w.c; i++) put(to, (size_t)(o * w.c + i), get(w, (size_t)(i * w.n + o)));
    op->w = (Weight){ .t = to };
    return set->run(set, op);
}

/* of the last result, the last product */
BESIDES(product_dropped, double product = op->a.scale * get(op->x[0], last(op->x[0])) * get(op->w.t, last(op->w.t));
        put(op->y[0], last(op->y[0]), get(op->y[0], last(op->y[0])) - product))
BESIDES(product_dropped_dw, put(op->y[0], 0, get(op->y[0], 0) - op->a.scale * get(op->x[0], 0) * get(op->x[1], 0)))

static void swap(int *a, int *b) { int t = *a; *a = *b, *b = t; }
INSTEAD(padding_mirrored, (swap(&op->a.pad[0], &op->a.pad[1]), swap(&op->a.pad[2], &op->a.pad[3])))
INSTEAD(padding_off_by_one, if (op->a.pad[2] > 0) op->a.pad[2]--, op->a.pad[3]++)

MUTANT(kernel_mirrored)                                 /* a convolution in the mathematical sense */
{
    Tensor w = op->w.t, to = copy_of(w);
    for (int o = 0; o < w.n; o++)
        for (int tap = 0; tap < w.h * w.w; tap++)
            for (int i = 0; i < w.c; i++)
                put(to, (size_t)((o * w.h * w.w + tap) * w.c + i), get(w, (size_t)((o * w.h * w.w + w.h * w.w - 1 - tap) * w.c + i)));
    op->w = (Weight){ .t = to };
    return set->run(set, op);
}

/* ---- norm ---- */

/* rstd is f(variance); y follows where no SiLU hides it. */
static int with_rstd(Set *set, Op *op, double (*f)(double variance, double eps, double count))
{
    Tensor y = op->y[0], rstd = op->y[2];
    if (set->run(set, op)) return -1;
    int    groups = op->a.groups;
    size_t each = (size_t)y.c / (size_t)(groups ? groups : 1), area = (size_t)y.h * (size_t)y.w;
    for (size_t j = 0; j < tensor_count(y); j++) {
        size_t row = j / (size_t)y.c, channel = j % (size_t)y.c, s = groups ? row / area * (size_t)groups + channel / each : row;
        double r = get(rstd, s), beta = get(op->x[2], channel), other = f(1 / (r * r) - op->a.eps, op->a.eps, groups ? (double)(each * area) : y.c);
        if (!op->a.silu) put(y, j, beta + (get(y, j) - beta) * other / r);
    }
    for (size_t s = 0; s < tensor_count(rstd); s++) {
        double r = get(rstd, s);
        put(rstd, s, f(1 / (r * r) - op->a.eps, op->a.eps, groups ? (double)(each * area) : y.c));
    }
    return 0;
}
static double unbiased(double variance, double eps, double count) { return 1 / sqrt(variance * count / (count > 1 ? count - 1 : 1) + eps); }
static double outside(double variance, double eps, double count) { return (void)count, 1 / (sqrt(fmax(variance, 0)) + eps); }
MUTANT(variance_unbiased) { return with_rstd(set, op, unbiased); }
MUTANT(eps_outside_root) { return with_rstd(set, op, outside); }
INSTEAD(silu_missed, op->a.silu = 0)
INSTEAD(gamma_for_beta, op->x[2] = op->x[1])
INSTEAD(gamma_for_beta_dx, op->x[3] = op->x[2])
INSTEAD(rstd_of_first, op->x[5] = copy_of(op->x[5]); for (size_t j = 0; j < tensor_count(op->x[5]); j++) put(op->x[5], j, get(op->x[5], 0)))
BESIDES(last_of_dbeta_missed, put(op->y[1], last(op->y[1]), get(op->y[1], last(op->y[1])) - get(op->x[0], last(op->x[0]))))

/* ---- attention ---- */

INSTEAD(mask_missed, op->a.causal = 0)

MUTANT(mask_off_by_one)                                 /* row i sees columns 0..i+1 */
{
    Op row = *op;
    if (!op->a.causal) return set->run(set, op);
    row.a.causal = 0;
    for (int n = 0; n < op->x[0].n; n++)
        for (int i = 0; i < op->x[0].w; i++) {
            int seen = i + 2 < op->x[1].w ? i + 2 : op->x[1].w;
            for (int k = 0; k < 3; k++) row.x[k] = tensor_images(op->x[k], n, 1), row.x[k].w = k ? seen : 1;
            for (int k = 0; k < 2; k++) row.y[k] = tensor_images(op->y[k], n, 1), row.y[k].w = 1, row.y[k].p = tensor_at(row.y[k], (size_t)i * row.y[k].ld);
            row.x[0].p = tensor_at(row.x[0], (size_t)i * row.x[0].ld);
            if (set->run(set, &row)) return -1;
        }
    return 0;
}
BESIDES(key_scale_missed, for (size_t j = 0; j < tensor_count(op->y[1]); j++) put(op->y[1], j, get(op->y[1], j) / op->a.scale))
INSTEAD(share_of_softmax_missed, op->x[4] = copy_of(op->x[4]); for (size_t j = 0; j < tensor_count(op->x[4]); j++) put(op->x[4], j, 0))
BESIDES(lse_without_log, for (size_t j = 0; j < tensor_count(op->y[1]); j++) put(op->y[1], j, exp(get(op->y[1], j))))

/* ---- elementwise, moves ---- */

BESIDES(gelu_by_tanh, if (op->a.kind == ACT_GELU && op->y[0].p != op->x[0].p) for (size_t j = 0; j < tensor_count(op->y[0]); j++) {
    double x = get(op->x[0], j);
    put(op->y[0], j, 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))));
})
BESIDES(quick_gelu_of_1_7, if (op->a.kind == ACT_QUICK_GELU && op->y[0].p != op->x[0].p) for (size_t j = 0; j < tensor_count(op->y[0]); j++) {
    double x = get(op->x[0], j);
    put(op->y[0], j, x / (1 + exp(-1.7 * x)));
})
BESIDES(nan_swallowed, for (size_t j = 0; j < tensor_count(op->y[0]); j++) if (isnan(get(op->y[0], j))) put(op->y[0], j, 0))
BESIDES(input_overwritten, if (op->y[0].p != op->x[0].p) put(op->x[0], 0, get(op->x[0], 0) + 1))
BESIDES(written_before, type_set(op->y[0].type, (char *)op->y[0].p - type_size(op->y[0].type), 0, 1))
BESIDES(written_between_rows, if (op->y[0].ld > (size_t)op->y[0].c) type_set(op->y[0].type, op->y[0].p, (size_t)op->y[0].c, 1))

MUTANT(halves_swapped)                                  /* y = gelu(a) b */
{
    Tensor x = op->x[0], to = copy_of(x);
    size_t c = (size_t)x.c / 2;
    for (size_t j = 0; j < tensor_count(x); j++) put(to, j, get(x, j / c % 2 ? j - c : j + c));
    op->x[0] = to;
    return set->run(set, op);
}
BESIDES(fourth_missed, put(op->y[0], 0, get(op->y[0], 0) - get(op->x[0], 0)))
INSTEAD(position_missed, op->x[3] = NONE)
INSTEAD(next_word, op->a.base++)
INSTEAD(broadcast_of_first_image, op->x[1] = first_image(op->x[1]))
INSTEAD(broadcast_of_first_row, op->x[1] = first_row(op->x[1]))
BESIDES(one_ulp_off, put(op->y[0], 0, get(op->y[0], 0) * (1 + 1.2e-7)))
BESIDES(other_sum_of_many_threads, if (omp_get_max_threads() > 2) put(op->y[0], 0, get(op->y[0], 0) * (1 + 1.2e-7)))
INSTEAD(key_words_swapped, op->a.key = op->a.key >> 32 | op->a.key << 32)
INSTEAD(mask_of_all_images, op->a.each = 0)
BESIDES(kept_not_scaled, for (size_t j = 0; j < tensor_count(op->y[0]); j++) put(op->y[0], j, get(op->y[0], j) * (1 - op->a.p)))

/* ---- loss, update ---- */

INSTEAD(loss_mask_missed, op->x[4] = NONE)
INSTEAD(smooth_l1_for_huber, if (op->a.kind == LOSS_HUBER) op->a.kind = LOSS_SMOOTH_L1)
BESIDES(mean_of_pixels, for (size_t j = 0; j < tensor_count(op->y[0]); j++) put(op->y[0], j, get(op->y[0], j) * op->x[0].c))
MUTANT(loss_scale_missed) { return with_number(set, op, 5, CTL_SCALE, 1); }
BESIDES(last_square_missed, put(op->y[0], CTL_SUMSQ, get(op->y[0], CTL_SUMSQ) - pow(get(op->x[0], last(op->x[0])), 2)))
BESIDES(infinity_not_seen, put(op->y[0], CTL_BAD, 0))
MUTANT(clip_missed) { return with_number(set, op, 1, CTL_CLIP, 0); }
MUTANT(clip_of_scaled_norm) { return with_number(set, op, 1, CTL_SUMSQ, get(op->x[1], CTL_SUMSQ) * pow(get(op->x[1], CTL_SCALE), 2)); }
MUTANT(bad_gradient_taken) { return with_number(set, op, 1, CTL_BAD, 0); }
MUTANT(bias_correction_missed) { return with_number(set, op, 1, CTL_BIAS2, 1); }
INSTEAD(decay_missed, op->a.decay = 0)
INSTEAD(eps_missed, op->a.eps = 1e-3)
INSTEAD(rate_of_first_group, op->a.base = 0)
MUTANT(betas_swapped)
{
    double beta1 = op->a.beta1;
    op->a.beta1 = op->a.beta2, op->a.beta2 = beta1;
    return set->run(set, op);
}
BESIDES(last_not_filled, put(op->y[0], last(op->y[0]), op->a.scale + 1))

#define ROW(kind, function) { #function, kind, function }
const Mutant mutants[] = {
    ROW(OP_LINEAR, bias_missed), ROW(OP_LINEAR, row_of_first_image), ROW(OP_LINEAR, residual_missed), ROW(OP_LINEAR, scale_missed),
    ROW(OP_LINEAR, third_segment_dropped), ROW(OP_LINEAR, segment_one_channel_on), ROW(OP_LINEAR, segment_scale_of_first), ROW(OP_LINEAR, weight_transposed),
    ROW(OP_LINEAR, product_dropped), ROW(OP_LINEAR, rows_packed), ROW(OP_LINEAR, first_image_again),
    ROW(OP_LINEAR_DX, accumulate_ignored), ROW(OP_LINEAR_DX, third_segment_dropped), ROW(OP_LINEAR_DX, weight_transposed),
    ROW(OP_LINEAR_DW, scale_squared), ROW(OP_LINEAR_DW, product_dropped_dw), ROW(OP_LINEAR_DW, last_image_missed),
    ROW(OP_CONV, padding_mirrored), ROW(OP_CONV, padding_off_by_one), ROW(OP_CONV, kernel_mirrored), ROW(OP_CONV, row_of_first_image),
    ROW(OP_CONV_DX, padding_mirrored), ROW(OP_CONV_DX, kernel_mirrored), ROW(OP_CONV_DX, scale_missed), ROW(OP_CONV_DX, segment_scale_of_first),
    ROW(OP_CONV_DW, padding_mirrored), ROW(OP_CONV_DW, last_image_missed), ROW(OP_CONV_DW, accumulate_ignored),
    ROW(OP_SUM, other_sum_of_many_threads), ROW(OP_SUM, accumulate_ignored),
    ROW(OP_NORM, variance_unbiased), ROW(OP_NORM, eps_outside_root), ROW(OP_NORM, silu_missed), ROW(OP_NORM, gamma_for_beta),
    ROW(OP_NORM_DX, silu_missed), ROW(OP_NORM_DX, gamma_for_beta_dx), ROW(OP_NORM_DX, rstd_of_first), ROW(OP_NORM_DW, last_of_dbeta_missed),
    ROW(OP_ATTN, scale_missed), ROW(OP_ATTN, mask_missed), ROW(OP_ATTN, mask_off_by_one), ROW(OP_ATTN, lse_without_log),
    ROW(OP_ATTN_DX, mask_missed), ROW(OP_ATTN_DX, key_scale_missed), ROW(OP_ATTN_DX, share_of_softmax_missed),
    ROW(OP_ACT, gelu_by_tanh), ROW(OP_ACT, quick_gelu_of_1_7), ROW(OP_ACT, nan_swallowed), ROW(OP_ACT, input_overwritten), ROW(OP_ACT, written_before),
    ROW(OP_ACT, written_between_rows), ROW(OP_ACT_DX, accumulate_ignored), ROW(OP_GEGLU, halves_swapped),
    ROW(OP_UP2_DX, fourth_missed), ROW(OP_EMBED, position_missed), ROW(OP_EMBED_DW, next_word), ROW(OP_COPY, one_ulp_off), ROW(OP_COPY, scale_missed),
    ROW(OP_ADD, broadcast_of_first_image), ROW(OP_MUL, broadcast_of_first_row),
    ROW(OP_DROPOUT, key_words_swapped), ROW(OP_DROPOUT, mask_of_all_images), ROW(OP_DROPOUT, kept_not_scaled),
    ROW(OP_LOSS, loss_mask_missed), ROW(OP_LOSS, scale_missed), ROW(OP_LOSS, smooth_l1_for_huber), ROW(OP_LOSS, mean_of_pixels),
    ROW(OP_LOSS, loss_scale_missed),
    ROW(OP_SUMSQ, last_square_missed), ROW(OP_SUMSQ, infinity_not_seen),
    ROW(OP_UPDATE, clip_missed), ROW(OP_UPDATE, clip_of_scaled_norm), ROW(OP_UPDATE, bad_gradient_taken), ROW(OP_UPDATE, bias_correction_missed),
    ROW(OP_UPDATE, decay_missed), ROW(OP_UPDATE, eps_missed), ROW(OP_UPDATE, rate_of_first_group), ROW(OP_UPDATE, betas_swapped), ROW(OP_FILL, last_not_filled),
};
const int mutant_count = sizeof mutants / sizeof *mutants;
