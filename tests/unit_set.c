/* unit_set.c - what a reference set does beside its ops: memory, transfers, refusals. */
#define _GNU_SOURCE                                     /* dl_iterate_phdr */
#include "base/err.h"
#include "ops/null_count.h"
#include "ops/sets.h"
#include <dlfcn.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tmp.h"

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
    for (int k = 0; k < 3; k++) {
        const char *const name[] = { "ref", "ref64", "ref16" };
        assert_string_equal(set_open(name[k])->name, name[k]);
        assert_true(set_loss_scale(set_open(name[k])) == (k == 2 ? 65536 : 1));
    }
    assert_null(set_open("reference"));
    assert_non_null(strstr(err_text(), "reference"));
    assert_non_null(strstr(err_text(), "ref64"));
}

/* The CPU set by its names: the best level, any, and each without transforms; which convolutions those are for. */
static void test_levels(void **state)
{
    (void)state;
    const Attr same = { .kernel = 3, .stride = 1, .pad = { 1, 1, 1, 1 } }, half = { .kernel = 3, .stride = 2, .pad = { 1, 1, 1, 1 } };
    float      any[1];
    Set       *cpu = set_open("cpu"), *exact = set_open("cpu-exact");
    char       name[64];
    assert_non_null(cpu), assert_non_null(exact), assert_non_null(set_open("cpu-base"));
    assert_ptr_equal(set_open("auto"), cpu);
    assert_ptr_equal(set_open(cpu->name), cpu);
    snprintf(name, sizeof name, "%s-exact", cpu->name);
    assert_string_equal(exact->name, name);
    assert_ptr_equal(set_open(name), exact);
    Op large = op_conv(tensor_of(any, T_F32, 1, 64, 64, 320), tensor_of(any, T_F32, 1, 64, 64, 320), (Weight){ .t = tensor_of(any, T_F32, 320, 3, 3, 320) },
                       NONE, NONE, NONE, same);
    Op down = op_conv(tensor_of(any, T_F32, 1, 32, 32, 320), large.x[0], large.w, NONE, NONE, NONE, half);
    assert_int_equal(cpu->transform(cpu, &large), 4);
    assert_int_equal(cpu->transform(cpu, &down), 0);
    assert_int_equal(exact->transform(exact, &large), 0);
    assert_true(cpu->need(cpu, &large) > 0);
    assert_int_equal(exact->need(exact, &large), 0);
    static const char *const none[] = { "cpu-", "cpu-foo", "cpu-base-", "cpu-base-exactly", "cpu-exact-base" };
    for (size_t k = 0; k < sizeof none / sizeof *none; k++) {
        assert_null(set_open(none[k]));
        assert_non_null(strstr(err_text(), "cpu-base-exact"));
    }
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
    op.kind = OP_COUNT;
    assert_int_equal(set->run(set, &op), -1);
    assert_non_null(strstr(err_text(), ": there is none"));
}

/* ---- frozen weights in a narrower type: the same bits as with the same numbers in act ---- */

enum { N = 2, SIDE = 9, C = 24, O = 40, K = 3, KERNEL = O * K * K * C, PIXELS = N * SIDE * SIDE, GAP = 8 };

/* Memory for one op twice; numbers of 2 of the types of sets, and one narrow. */
typedef struct {
    double   x[PIXELS * O], y[2][PIXELS * O], w[KERNEL + O * GAP], scratch[1 << 17];
    uint16_t narrow[KERNEL + O * GAP];
} Room;

static void fill(Type type, void *p, size_t count)
{
    for (size_t j = 0; j < count; j++) type_set(type, p, j, (double)(j * 2654435761u % 4096) / 1024 - 2 + 1e-3);
}

static Tensor weight(void *p, Type type, int kernel, int rows_apart)
{
    Tensor t = tensor_of(p, type, O, kernel, kernel, C);
    t.img += (size_t)rows_apart;
    return t;
}

/* The op that `pick` numbers, with this weight. */
static Op narrow_op(int pick, Type act, Room *r, void *out, Tensor w)
{
    static const int32_t ids[6] = { 3, 0, 39, 7, 7, 12 };
    static const Attr    plain = { .kernel = 3, .stride = 1, .pad = { 1, 1, 1, 1 } }, stride = { .kernel = 3, .stride = 2, .pad = { 0, 1, 0, 1 } },
                         point = { .kernel = 1, .stride = 1 };
    Tensor wide = tensor_of(r->x, act, N, SIDE, SIDE, O), x = tensor_of(r->x, act, N, SIDE, SIDE, C), y = tensor_of(out, act, N, SIDE, SIDE, O);
    Tensor dx = tensor_of(out, act, N, SIDE, SIDE, C), half_y = tensor_of(out, act, N, 4, 4, O), half_dy = tensor_of(r->x, act, N, 4, 4, O);
    Weight weight = { .t = w };
    Tensor half_x = tensor_of(r->x, act, N, 8, 8, C), half_dx = tensor_of(out, act, N, 8, 8, C), position = tensor_of(w.p, w.type, 1, 1, 3, C);
    switch (pick) {
    case 0: return op_linear(y, x, weight, NONE, NONE, NONE);
    case 1: return op_linear_dx(dx, wide, weight, 0.5, 0);
    case 2: return op_conv(y, x, weight, NONE, NONE, NONE, point);
    case 3: return op_conv_dx(dx, wide, weight, point, 1, 0);
    case 4: return op_conv(y, x, weight, NONE, NONE, NONE, plain);
    case 5: return op_conv_dx(dx, wide, weight, plain, 0.5, 0);
    case 6: return op_conv(half_y, half_x, weight, NONE, NONE, NONE, stride);
    case 7: return op_conv_dx(half_dx, half_dy, weight, stride, 1, 0);
    case 8: return op_embed(tensor_of(out, act, 2, 1, 3, C), tensor_of((void *)ids, T_I32, 2, 1, 3, 1), w, NONE, NONE);
    default: return op_embed(tensor_of(out, act, 2, 1, 3, C), tensor_of((void *)ids, T_I32, 2, 1, 3, 1), w, NONE, position);
    }
}

static void test_narrow(void **state)
{
    static Room r;
    (void)state;
    for (int s = 0; s < 2; s++)
        for (int pick = 0; pick < 10; pick++)
            for (Type type = T_F16; type <= T_BF16; type++) {
                Set *set = set_open(s ? "ref64" : "ref");
                int  kernel = pick >= 4 && pick < 8 ? K : 1, gap = pick % 2 ? GAP : 0;
                fill(set->act, r.x, PIXELS * O);
                fill(type, r.narrow, KERNEL + O * GAP);
                type_convert(set->act, r.w, type, r.narrow, KERNEL + O * GAP);
                for (int narrow = 0; narrow < 2; narrow++) {
                    Op op = narrow_op(pick, set->act, &r, r.y[narrow], narrow ? weight(r.narrow, type, kernel, gap) : weight(r.w, set->act, kernel, gap));
                    assert_true(set->need(set, &op) <= sizeof r.scratch);
                    memset(r.scratch, 0xff, sizeof r.scratch);
                    op.scratch = r.scratch;
                    if (set->run(set, &op)) fail_msg("%s, op %d: %s", set->name, pick, err_text());
                }
                if (memcmp(r.y[0], r.y[1], sizeof r.y[0])) fail_msg("%s, op %d: other bits with %s", set->name, pick, type_name(type));
            }
}

/* Narrow is what a frozen weight may be, and nothing else; and what is no narrower than act is not. */
static void test_narrow_refusals(void **state)
{
    static Room r;
    Set *set = ref(), *wide = set_open("ref64");
    (void)state;
    assert_int_equal(op_weight_type(set, T_F16), T_F16);
    assert_int_equal(op_weight_type(wide, T_BF16), T_BF16);
    assert_int_equal(op_weight_type(set, T_F32), T_F32);
    assert_int_equal(op_weight_type(wide, T_F32), T_F64);
    assert_int_equal(op_weight_type(set, T_F64), T_F32);
    assert_int_equal(op_weight_type(set, T_COUNT), T_F32);
    assert_int_equal(op_weight_type(&(Set){ .act = T_F16, .acc = T_F32 }, T_BF16), T_F16);
    Tensor x = tensor_of(r.x, T_F32, 1, 1, 6, C), y = tensor_of(r.y, T_F32, 1, 1, 6, O), u = tensor_of(r.x, T_F32, 1, 1, 6, 4);
    Weight w = { .t = weight(r.narrow, T_F16, 1, 0) }, b = { .t = tensor_of(r.narrow, T_F16, O, 1, 1, 4) };
    Op     op = op_linear(y, x, w, tensor_of(r.narrow, T_F16, 1, 1, 1, O), NONE, NONE);
    assert_int_equal(op_check(set, &op), -1);
    assert_non_null(strstr(err_text(), "linear: bias: expected f32"));
    op = op_linear(y, x, w, NONE, NONE, NONE);
    assert_int_equal(op_check(set, &op), 0);
    op.seg[0] = (Seg){ .x = u, .w = b, .scale = 1 };
    assert_int_equal(op_check(set, &op), -1);
    assert_non_null(strstr(err_text(), "linear: segment's w: expected f32"));
    op = op_linear(y, x, (Weight){ .t = weight(r.narrow, T_F64, 1, 0) }, NONE, NONE, NONE);
    assert_int_equal(op_check(set, &op), -1);
    assert_non_null(strstr(err_text(), "linear: w: expected f32"));
    op = op_linear(y, x, w, NONE, NONE, NONE);
    assert_int_equal(set->run(set, &op), -1);
    assert_non_null(strstr(err_text(), "linear: scratch"));
}

/* A set that lacks an op is refused with the op's name. */
static void test_complete(void **state)
{
    Set      half = { .name = "half" };
    uint64_t all = ((uint64_t)1 << OP_COUNT) - 1;
    (void)state;
    assert_ptr_equal(set_if_complete(&half, all), &half);
    for (int k = 0; k < OP_COUNT; k++) {
        char want[128];
        snprintf(want, sizeof want, "set half: it has no %s, and a set must have every operation", op_name((OpKind)k));
        assert_null(set_if_complete(&half, all & ~((uint64_t)1 << k)));
        assert_string_equal(err_text(), want);
    }
}

/* Each set is listed; a plan knows the types and scratch of one that is not built in; a set of the host has no devices. */
static void test_entries(void **state)
{
    SetEntry e;
    int      k = 0, cuda = 0;
    char     x[1];
    Device   d;
    (void)state;
    for (; set_entry(&e, k); k++) {
        const Set *like = set_describe(e.name);
        assert_true(like && like->act == e.act && like->acc == e.acc && *e.what);
        if (!*e.why_not) assert_non_null(set_open(e.name));
        cuda += !strcmp(e.name, "cuda");
        if (strcmp(e.name, "cuda")) assert_null(set_open_on(e.name, 1));
        if (strcmp(e.name, "cuda")) assert_int_equal(set_device(&d, e.name, 0), -1);
    }
    assert_true(k == 5 && cuda == 1);
    assert_null(set_open_on("cpu-base", 1));
    assert_non_null(strstr(err_text(), "--device 1: the set cpu-base runs on the host"));
    Tensor y = tensor_of(x, T_F16, 1, 16, 24, 1280);    /* few results, long sums: the work is split, which takes scratch */
    Attr   same = { .kernel = 3, .stride = 1, .pad = { 1, 1, 1, 1 } };
    Op     op = op_conv(y, y, (Weight){ .t = tensor_of(x, T_F16, 1280, 3, 3, 1280) }, NONE, NONE, NONE, same);
    assert_true(set_describe("cuda")->need(set_describe("cuda"), &op) > 0);
}

/* The set that only counts: the sums of its calls, whatever was refused left out. */
static void test_null(void **state)
{
    Set   *set = set_null(ref());
    char   x[1];
    Tensor y = tensor_of(x, T_F32, 1, 2, 3, 8);
    Op     add = op_add(y, y, y), wrong = op_add(y, y, tensor_of(x, T_F32, 1, 2, 2, 8));
    (void)state;
    assert_non_null(set);
    assert_int_equal(set->run(set, &add), 0);
    assert_int_equal(set->run(set, &wrong), -1);
    assert_int_equal(set->run(set, &add), 0);
    const NullCount *count = null_count(set);
    assert_true(count->calls == 2 && count->cost.flops == 2 * 48 && count->cost.bytes == 2 * 3 * 192);
    assert_true(set->alloc(set, 65) != set->alloc(set, 65) && count->allocated == 130);
    free(set);
}

/* Smooth L1 of width 0 is 2 |d|, and where two slopes meet it has none. */
static void test_pointed(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        Set   *set = set_open(k ? "cpu" : "ref");
        float  pred[2] = { 1, 3 }, target[2] = { 1, 1 }, one[1] = { 1 }, none[1] = { 0 }, loss[1], slope[2], ctl[CTL_COUNT] = { 0 };
        Tensor each = tensor_of(one, T_F32, 1, 1, 1, 1);
        ctl[CTL_SCALE] = 1;
        Op op = op_loss(tensor_of(loss, T_F32, 1, 1, 1, 1), tensor_of(slope, T_F32, 1, 1, 1, 2), tensor_of(pred, T_F32, 1, 1, 1, 2),
                        tensor_of(target, T_F32, 1, 1, 1, 2), each, tensor_of(none, T_F32, 1, 1, 1, 1), NONE, tensor_of(ctl, T_F32, 1, 1, 1, CTL_COUNT),
                        LOSS_SMOOTH_L1, 1);
        if (set->run(set, &op)) fail_msg("%s", err_text());
        assert_true(loss[0] == 2 && slope[0] == 0 && slope[1] == 1);
    }
}

static int find_cmocka(struct dl_phdr_info *library, size_t size, void *path)
{
    (void)size;
    if (strstr(library->dlpi_name, "/libcmocka.so")) snprintf(path, PATH_SIZE, "%s", library->dlpi_name);
    return 0;
}

/* A library of that name is a second OpenMP runtime. Any will do: here a copy of cmocka. */
static void test_runtimes(void **state)
{
    char   path[PATH_SIZE] = "";
    size_t size;
    dl_iterate_phdr(find_cmocka, path);
    assert_int_equal(tmp_open(state), 0);
    char *library = file_read(path, (size_t)1 << 28, &size);
    FILE *copy = fopen(tmp_path("libomp.so"), "wb");
    assert_true(library && copy && fwrite(library, 1, size, copy) == size && fclose(copy) == 0);
    void *second = dlopen(tmp_path("libomp.so"), RTLD_LAZY | RTLD_LOCAL);
    assert_non_null(second);
    assert_null(set_open("ref"));
    assert_non_null(strstr(err_text(), "2 OpenMP runtimes"));
    dlclose(second);
    assert_non_null(set_open("ref"));
    free(library);
    tmp_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_open),     cmocka_unit_test(test_alloc),  cmocka_unit_test(test_transfer),
                                        cmocka_unit_test(test_refusals), cmocka_unit_test(test_narrow), cmocka_unit_test(test_narrow_refusals),
                                        cmocka_unit_test(test_levels),   cmocka_unit_test(test_complete), cmocka_unit_test(test_entries),
                                        cmocka_unit_test(test_null),     cmocka_unit_test(test_runtimes), cmocka_unit_test(test_pointed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
