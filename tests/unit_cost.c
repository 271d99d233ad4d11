/* unit_cost.c - flops and bytes of calls against figures worked out by hand. */
#include "ops/cost.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static char here;                                       /* a tensor that is there; nothing is read from it */

static Tensor t(Type type, int n, int h, int w, int c) { return tensor_of(&here, type, n, h, w, c); }
static Weight weight(Type type, int o, int k, int i) { return (Weight){ .t = t(type, o, k, k, i) }; }

static void check(Op op, double flops, double bytes)
{
    Cost cost = op_cost(&op);
    if (cost.flops != flops || cost.bytes != bytes)
        fail_msg("%s: %.0f flops, %.0f bytes; worked out by hand: %.0f, %.0f", op_name(op.kind), cost.flops, cost.bytes, flops, bytes);
}

/* 77 rows of 768 to 320, a rank of 4 on the first 160 outputs. */
static void test_linear(void **state)
{
    (void)state;
    Op op = op_linear(t(T_F32, 1, 1, 77, 320), t(T_F32, 1, 1, 77, 768), weight(T_F32, 320, 1, 768), NONE, NONE, NONE);
    check(op, 37847040, 98560 + 236544 + 983040);
    op.bias = t(T_F32, 1, 1, 1, 320), op.res = t(T_F32, 1, 1, 77, 320), op.w.t.type = T_F16;
    check(op, 37847040, 98560 + 236544 + 491520 + 1280 + 98560);
    op.seg[1] = (Seg){ t(T_F32, 1, 1, 77, 4), weight(T_F32, 160, 1, 4), 1, 0 };
    check(op, 37847040 + 98560, 98560 + 236544 + 491520 + 1280 + 98560 + 1232 + 2560);
    check(op_linear_dx(t(T_F32, 1, 1, 77, 768), t(T_F32, 1, 1, 77, 320), weight(T_F32, 320, 1, 768), 1, 1), 37847040, 2 * 236544 + 98560 + 983040);
    check(op_linear_dw(t(T_F32, 4, 1, 1, 768), t(T_F32, 1, 1, 77, 4), t(T_F32, 1, 1, 77, 768), 1, 0), 473088, 12288 + 1232 + 236544);
}

/* 64x96, 320 to 320, 3x3 of stride 1 and 2; padding counts as any place. */
static void test_conv(void **state)
{
    (void)state;
    Attr   same = { .kernel = 3, .stride = 1, .pad = { 1, 1, 1, 1 } }, half = { .kernel = 3, .stride = 2, .pad = { 1, 1, 1, 1 } };
    Tensor large = t(T_F16, 1, 96, 64, 320), small = t(T_F16, 1, 48, 32, 320);
    Weight w = weight(T_F16, 320, 3, 320);
    check(op_conv(large, large, w, NONE, NONE, NONE, same), 11324620800, 2 * 3932160 + 1843200);
    check(op_conv(small, large, w, NONE, NONE, NONE, half), 2831155200, 3932160 + 983040 + 1843200);
    Op dx = op_conv_dx(large, small, w, half, 1, 0);
    check(dx, 2831155200, 3932160 + 983040 + 1843200);
    dx.seg[0] = (Seg){ t(T_F16, 1, 48, 32, 8), weight(T_F16, 8, 3, 320), 1, 0 };
    check(dx, 2831155200 + 70778880, 3932160 + 983040 + 1843200 + 24576 + 46080);
    check(op_conv_dw(t(T_F32, 320, 3, 3, 320), small, large, half, 1, 1), 2831155200, 3932160 + 983040 + 2 * 3686400);
}

/* 8 heads of 40: 6144 queries with themselves, and with 77 words; causal: 77 * 78 / 2 pairs in 12 heads of 64. */
static void test_attention(void **state)
{
    (void)state;
    Tensor q = t(T_F32, 1, 1, 6144, 320), k = t(T_F32, 1, 1, 77, 320), lse = t(T_F32, 1, 1, 6144, 8), text = t(T_F32, 2, 1, 77, 768);
    check(op_attn(q, lse, q, q, q, 8, 0, 0.5), 48318382080, 4 * 7864320 + 196608);
    check(op_attn(q, lse, q, k, k, 8, 0, 0.5), 605552640, 2 * 7864320 + 2 * 98560 + 196608);
    check(op_attn_dx(q, k, k, q, q, k, k, q, lse, 8, 0, 0.5), 1513881600, 4 * 7864320 + 4 * 98560 + 196608);
    check(op_attn(text, t(T_F32, 2, 1, 77, 12), text, text, text, 12, 1, 0.125), 2 * 12 * 3003 * 64 * 4, 4 * 473088 + 7392);
}

static void test_rest(void **state)
{
    (void)state;
    Tensor x = t(T_F32, 1, 8, 8, 64), c = t(T_F32, 1, 1, 1, 64), stat = t(T_F32, 1, 1, 1, 32);
    check(op_norm(x, stat, stat, x, c, c, 32, 0, 1e-5), 8 * 4096, 2 * 16384 + 2 * 128 + 2 * 256);
    check(op_norm(x, stat, stat, x, c, c, 32, 1, 1e-5), 12 * 4096, 2 * 16384 + 2 * 128 + 2 * 256);
    check(op_norm_dx(x, x, x, c, c, stat, stat, 32, 1, 1), 23 * 4096, 4 * 16384 + 2 * 128 + 2 * 256);
    check(op_norm_dw(c, c, x, x, c, c, stat, stat, 32, 0, 0), 5 * 4096, 2 * 256 + 2 * 16384 + 2 * 256 + 2 * 128);
    check(op_norm_dw(c, c, x, x, c, c, stat, stat, 32, 1, 1), 17 * 4096, 4 * 256 + 2 * 16384 + 2 * 256 + 2 * 128);
    check(op_act(x, x, ACT_SILU), 5 * 4096, 2 * 16384);
    check(op_act_dx(x, x, x, ACT_SILU, 1), 9 * 4096, 4 * 16384);
    Tensor gated = t(T_F32, 1, 8, 8, 32);
    check(op_geglu(gated, x), 3 * 4096, 8192 + 16384);
    check(op_geglu_dx(x, gated, x, 0), 6 * 4096, 2 * 16384 + 8192);
    check(op_mul(x, x, c), 4096, 2 * 16384 + 256);
    check(op_dropout(x, x, 0.5, 0, 1), 4096, 2 * 16384);
    check(op_up2(t(T_F32, 1, 16, 16, 64), x), 0, 5 * 16384);
    check(op_up2_dx(x, t(T_F32, 1, 16, 16, 64), 0), 16384, 5 * 16384);
    check(op_add(x, x, c), 4096, 2 * 16384 + 256);
    check(op_copy(t(T_F16, 1, 8, 8, 64), x, 1, 0), 4096, 8192 + 16384);
    check(op_fill(x, 0), 0, 16384);
    check(op_sum(c, x, 0, 1), 4096, 2 * 256 + 16384);
    Tensor ids = t(T_I32, 2, 1, 77, 1), words = t(T_F32, 2, 1, 77, 768);
    check(op_embed(words, ids, t(T_F16, 49408, 1, 1, 768), NONE, t(T_F32, 1, 1, 77, 768)), 118272, 473088 + 616 + 236544 + 236544);
    check(op_embed_dw(t(T_F32, 3, 1, 1, 768), words, ids, 49408, 1), 118272, 2 * 9216 + 473088 + 616);
    Tensor g = t(T_F32, 1, 1, 1, 1000), ctl = t(T_F32, 1, 1, 1, CTL_COUNT);
    check(op_sumsq(ctl, g), 2000, 4000 + 2 * 4 * CTL_COUNT);
    check(op_update(g, g, g, t(T_F16, 1, 1, 1, 1000), g, ctl, UPDATE_ADAMW, 0, 0.9, 0.999, 1e-8, 0), 16000, 6 * 4000 + 2000 + 4000 + 4 * CTL_COUNT);
    Tensor one = t(T_F32, 1, 1, 1, 1);
    check(op_loss(one, x, x, x, one, NONE, NONE, ctl, LOSS_L2, 1), 7 * 4096, 3 * 16384 + 8 + 4 * CTL_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
