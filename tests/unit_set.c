/* unit_set.c - what a reference set does beside its ops: memory, transfers, refusals. */
#include "base/err.h"
#include "ops/ops.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static Set *ref(void)
{
    Set *set = set_open("ref");
    assert_non_null(set);
    return set;
}

static void test_open(void **state)
{
    (void)state;
    assert_ptr_equal(set_open("ref"), set_open("ref"));
    assert_int_equal(ref()->act, T_F32);
    assert_int_equal(set_open("ref64")->acc, T_F64);
    assert_null(set_open("reference"));
    assert_non_null(strstr(err_text(), "reference"));
    assert_non_null(strstr(err_text(), "ref64"));
}

static void test_alloc(void **state)
{
    (void)state;
    Set   *set = ref();
    size_t bytes = (size_t)1 << 34;                     /* only the touched pages cost */
    char  *p = set->alloc(set, bytes);
    assert_non_null(p);
    assert_int_equal((size_t)p % 64, 0);
    assert_int_equal(p[bytes - 1], 0);
    p[0] = 1;
    set->release(set, p, bytes);
}

/* f16 with gaps, to f32 without, to f64 with others. */
static void test_transfer(void **state)
{
    (void)state;
    Set     *set = ref();
    uint16_t half[64] = { 0 };
    float    single[2 * 3 * 2];
    double   wide[64];
    Tensor   from = { half, T_F16, 2, 1, 3, 2, 5, 20 }, mid = tensor_of(single, T_F32, 2, 1, 3, 2), to = { wide, T_F64, 2, 1, 3, 2, 4, 30 };
    for (int j = 0; j < 64; j++) half[j] = f32_to_f16((float)j + 0.5f), wide[j] = -1;
    assert_int_equal(set->upload(set, mid, from), 0);
    assert_int_equal(set->download(set, to, mid), 0);
    for (int n = 0; n < 2; n++)
        for (int w = 0; w < 3; w++)
            for (int c = 0; c < 2; c++) {
                assert_true(single[(n * 3 + w) * 2 + c] == (float)(n * 20 + w * 5 + c) + 0.5f);
                assert_true(wide[n * 30 + w * 4 + c] == n * 20 + w * 5 + c + 0.5);
            }
    assert_true(wide[2] == -1 && wide[11] == -1);
    assert_int_equal(set->upload(set, mid, tensor_images(from, 0, 1)), -1);
}

static void test_refusals(void **state)
{
    (void)state;
    Set    *set = ref();
    float   x[6] = { 0 }, w[8] = { 0 }, y[8];
    Tensor  tx = tensor_of(x, T_F32, 1, 1, 3, 2), ty = tensor_of(y, T_F32, 1, 1, 3, 2);
    Op      op = op_linear(ty, tx, (Weight){ tensor_of(w, T_F32, 4, 1, 1, 2), NULL }, NONE, NONE, NONE);
    int32_t ids[3] = { 0, 4, 1 };
    assert_int_equal(set->run(set, &op), -1);
    assert_string_equal(err_text(), "linear: w: expected f32 (2,1,1,2), found f32 (4,1,1,2)");
    op = op_sum(tensor_of(y, T_F32, 1, 1, 1, 2), tx, 0, 0);
    assert_true(set->need(set, &op) > 0);
    assert_int_equal(set->run(set, &op), -1);
    assert_non_null(strstr(err_text(), "sum: scratch"));
    op = op_act(ty, tx, ACT_SILU);
    op.acc = 1;
    assert_int_equal(set->run(set, &op), -1);
    op = op_embed(ty, tensor_of(ids, T_I32, 1, 1, 3, 1), tensor_of(w, T_F32, 4, 1, 1, 2), NONE, NONE);
    assert_int_equal(set->run(set, &op), -1);
    assert_string_equal(err_text(), "embed: ids: expected 0 to 3, found 4 at 1");
    ids[1] = 3;
    assert_int_equal(set->run(set, &op), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_open), cmocka_unit_test(test_alloc), cmocka_unit_test(test_transfer),
                                        cmocka_unit_test(test_refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
