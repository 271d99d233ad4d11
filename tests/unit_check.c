/* unit_check.c - the checks of the ops, checked: they hold on any data, they see one product that is missing, and what a set states of itself is so. */
#include "base/err.h"
#include "check/layout.h"
#include "check/winograd.h"
#include "crc32.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static Set *open(const char *name)
{
    Set *set = set_open(name);
    assert_non_null(set);
    return set;
}

/* Case `number` of an op with given shapes, defined for `set`. */
static void draw(Case *c, Set *set, OpKind kind, const int *given, Values values, int number)
{
    *c = (Case){ .values = values, .set = { set, open("ref64") }, .chain = set->chain, .left = BUDGET, .given = given, .op.kind = kind };
    c->rng = rng_open(7, RNG_TEST, kind, (uint32_t)number);
    checks[kind].draw(c);
    c->op.w.t.type = (Type)ACT;                         /* what reads it here reads floats */
    checks[kind].define(c);
}

/* ---- one product that is missing ---- */

static int dropped;                                     /* which of the last result's products */

static int run_without_one(Set *set, const Op *op)
{
    Tensor y = op->y[0], x = op->x[0], w = op->w.t;
    size_t last = element(y, tensor_count(y) - 1), at_x = element(x, tensor_count(x) - (size_t)x.c), at_w = element(w, tensor_count(w) - (size_t)w.c);
    (void)set;
    if (open("ref")->run(open("ref"), op)) return -1;
    ((float *)y.p)[last] -= (float)op->a.scale * ((float *)x.p)[at_x + (size_t)dropped] * ((float *)w.p)[at_w + (size_t)dropped];
    return 0;
}

/* The product of median size among those of the last row that are not 0. */
static const double *sizes;
static int by_size(const void *a, const void *b) { double x = sizes[*(const int *)a], y = sizes[*(const int *)b]; return (x > y) - (x < y); }
static int median_product(const Case *c)
{
    int     k = c->op.x[0].c, count = 0, *order = calloc((size_t)k, sizeof *order);
    double *product = calloc((size_t)k, sizeof *product), *x = c->op.x[0].p, *w = c->op.w.t.p;
    assert_true(order && product);
    x += tensor_count(c->op.x[0]) - (size_t)k, w += tensor_count(c->op.w.t) - (size_t)k;
    for (int j = 0; j < k; j++)
        if ((product[j] = fabs(x[j] * w[j])) > 0) order[count++] = j;
    assert_true(count > 0);
    sizes = product;
    qsort(order, (size_t)count, sizeof *order, by_size);
    int median = order[count / 2];
    free(order), free(product);
    return median;
}

/* K = 4608, a 3x3 kernel over 512 channels: the largest that Stable Diffusion has but for skip connections. */
static void test_dropped_product(void **state)
{
    (void)state;
    static const int shape[] = { 4608, 5, 16, 1, 1 };
    Set wrong = *open("ref");
    wrong.run = run_without_one;
    for (int number = 0; number < 24; number++) {
        Case c;
        draw(&c, open("ref"), OP_LINEAR, shape, number % 2 ? STRUCTURED : RANDOM, number);
        if (check_case(&c, open("ref"))) fail_msg("case %d: %s", number, err_text());
        dropped = median_product(&c);
        if (!check_case(&c, &wrong)) fail_msg("case %d: product %d of 4608 is missing, and nothing was noticed", number, dropped);
        case_close(&c);
    }
}

/* ---- the longest chain ----
 * To 2^digits a 1 can be added any number of times: each is rounded away. So of a sum that begins with it and goes on with ones those are lost that follow in
 * its chain, and no others. */

static void test_chain(void **state)
{
    (void)state;
    enum { K = 8192, ROWS = 32, O = 96 };
    static const int shapes[] = { 1, 3, ROWS };
    float *x = calloc((size_t)K * ROWS, sizeof *x), *w = calloc((size_t)K * O, sizeof *w), *y = calloc((size_t)ROWS * O, sizeof *y);
    Set   *set = open("ref");
    int    longest = 0;
    assert_true(x && w && y && set->chain > 0);
    for (int j = 0; j < K * O; j++) w[j] = 1;
    for (int shape = 0; shape < 3; shape++)
        for (int at = 0; at < K; at += 511) {
            for (int j = 0; j < K * ROWS; j++) x[j] = j % K == at ? 0x1p24f : 1;
            Op op = op_linear(tensor_of(y, T_F32, 1, 1, shapes[shape], O), tensor_of(x, T_F32, 1, 1, shapes[shape], K),
                              (Weight){ .t = tensor_of(w, T_F32, O, 1, 1, K) }, NONE, NONE, NONE);
            assert_int_equal(set->need(set, &op), 0);
            assert_int_equal(set->run(set, &op), 0);
            for (int j = 0; j < shapes[shape] * O; j++) {
                int lost = (int)(0x1p24 + K - 1 - (double)y[j]);
                if (lost > longest) longest = lost;
            }
        }
    printf("# longest chain of ref: %d of %d\n", longest, K);
    assert_true(longest < set->chain + K / set->chain);
    free(x), free(w), free(y);
}

/* ---- Winograd's transforms in float: B' d B, G g G', A' m A with the matrices of Lavin & Gray 2016 ---- */

typedef struct {
    int   m, t;
    float b[6][6], g[6][3], a[4][6];
} Matrices;
static const Matrices two = {
    2, 4, { { 1, 0, -1, 0 }, { 0, 1, 1, 0 }, { 0, -1, 1, 0 }, { 0, 1, 0, -1 } }, { { 1, 0, 0 }, { .5f, .5f, .5f }, { .5f, -.5f, .5f }, { 0, 0, 1 } },
    { { 1, 1, 1, 0 }, { 0, 1, -1, -1 } }
};
static const Matrices four = {
    4, 6, { { 4, 0, -5, 0, 1, 0 }, { 0, -4, -4, 1, 1, 0 }, { 0, 4, -4, -1, 1, 0 }, { 0, -2, -1, 2, 1, 0 }, { 0, 2, -1, -2, 1, 0 }, { 0, 4, 0, -5, 0, 1 } },
    { { 1 / 4.f, 0, 0 }, { -1 / 6.f, -1 / 6.f, -1 / 6.f }, { -1 / 6.f, 1 / 6.f, -1 / 6.f }, { 1 / 24.f, 1 / 12.f, 1 / 6.f }, { 1 / 24.f, -1 / 12.f, 1 / 6.f },
      { 0, 0, 1 } },
    { { 1, 1, 1, 1, 1, 0 }, { 0, 1, -1, 2, -2, 0 }, { 0, 1, 1, 4, 4, 0 }, { 0, 1, -1, 8, -8, 1 } }
};
static const Matrices *matrices;

/* to (rows,rows) = f x f', f (rows,k), x (k,k) */
static void transform(float *to, const float *f, int ldf, const float *x, int rows, int k)
{
    float half[36];
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < k; j++) {
            half[r * k + j] = 0;
            for (int l = 0; l < k; l++) half[r * k + j] += f[r * ldf + l] * x[l * k + j];
        }
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < rows; s++) {
            to[r * rows + s] = 0;
            for (int l = 0; l < k; l++) to[r * rows + s] += half[r * k + l] * f[s * ldf + l];
        }
}

static float *place(Tensor t, int n, int h, int w, int c) { return (float *)t.p + (size_t)n * t.img + ((size_t)h * (size_t)t.w + (size_t)w) * t.ld + c; }

/* The tile of y at (h0, w0), one output channel; what else the op adds is in y already. */
static void winograd_tile(const Op *op, int n, int h0, int w0, int o)
{
    const Matrices *f = matrices;
    Tensor          x = op->x[0], y = op->y[0], w = op->w.t;
    float           sum[36] = { 0 }, d[36], g[9], v[36], u[36], to[16];
    for (int i = 0; i < x.c; i++) {
        for (int j = 0; j < f->t * f->t; j++) {
            int h = h0 - op->a.pad[0] + j / f->t, q = w0 - op->a.pad[2] + j % f->t;
            d[j] = h < 0 || q < 0 || h >= x.h || q >= x.w ? 0 : *place(x, n, h, q, i);
        }
        for (int j = 0; j < 9; j++) g[j] = ((float *)w.p)[(size_t)o * w.img + (size_t)(j * x.c + i)];
        transform(v, f->b[0], 6, d, f->t, f->t), transform(u, f->g[0], 3, g, f->t, 3);
        for (int j = 0; j < f->t * f->t; j++) sum[j] += u[j] * v[j];
    }
    transform(to, f->a[0], 6, sum, f->m, f->t);
    for (int h = 0; h < f->m && h0 + h < y.h; h++)
        for (int q = 0; q < f->m && w0 + q < y.w; q++) *place(y, n, h0 + h, w0 + q, o) += (float)op->a.scale * to[h * f->m + q];
}

static int winograd_run(Set *set, const Op *op)
{
    Op rest = *op;
    (void)set;
    rest.a.scale = 0;                                   /* bias, row, residual and segments alone */
    if (open("ref")->run(open("ref"), &rest)) return -1;
    for (int n = 0; n < op->y[0].n; n++)
        for (int h = 0; h < op->y[0].h; h += matrices->m)
            for (int w = 0; w < op->y[0].w; w += matrices->m)
                for (int o = 0; o < op->y[0].c; o++) winograd_tile(op, n, h, w, o);
    return 0;
}
static int winograd_states(const Set *set, const Op *op) { return (void)set, (void)op, matrices->m; }

/* Within its own bound on any data, and near it: that of a plain sum F(4 x 4, 3x3) exceeds. */
static void test_winograd(void **state)
{
    (void)state;
    static const int shape[] = { 0, 10, 9, 40, 3, 1 };  /* geometry, h, w, i, o, n */
    Set set = *open("ref");
    int over = 0;
    set.run = winograd_run, set.chain = 0;
    for (int number = 0; number < 24; number++) {
        Case c;
        draw(&c, &set, OP_CONV, shape, number % 4 == 3 ? HOSTILE : number % 2 ? STRUCTURED : RANDOM, number);
        matrices = number % 3 ? &four : &two;
        set.transform = winograd_states;
        if (check_case(&c, &set)) fail_msg("case %d, F(%d): %s", number, matrices->m, err_text());
        set.transform = NULL;
        over += check_case(&c, &set) != 0;
        case_close(&c);
    }
    printf("# %d of 24 exceed the bound of a plain sum\n", over);
    assert_true(over > 0);
}

/* ---- a norm of equal numbers, whose variance is 0 and whose mean may be off by more than the root of eps ---- */

static void test_equal_numbers(void **state)
{
    (void)state;
    static const int shape[] = { 30, 1, 32, 2, 9, 7 };  /* channels of a group, group norm, groups, n, h, w */
    static const char *const sets[] = { "ref", "ref64", "cpu" };
    for (int number = 0; number < 12; number++) {
        Case c;
        draw(&c, open("ref"), OP_NORM, shape, STRUCTURED, number);
        for (size_t j = 0; j < tensor_count(c.op.x[0]); j++) ((double *)c.op.x[0].p)[j] = number < 6 ? 100.3125 : -104;
        for (int k = 0; k < 3; k++) {
            c.chain = open(sets[k])->chain;
            checks[OP_NORM].define(&c);
            double most = 1.001 / sqrt(c.op.a.eps);
            for (size_t j = 0; j < tensor_count(c.op.y[2]); j++) assert_true(c.want[2][j].v + c.want[2][j].e * NUM_U <= 2 * most);
            if (check_case(&c, open(sets[k]))) fail_msg("case %d on %s: %s", number, sets[k], err_text());
        }
        case_close(&c);
    }
}

/* An error that reaches over 0, or beyond what an exponential holds, leaves a bound. */
static void test_wide_errors(void **state)
{
    (void)state;
    Num wide = { 0.5, 1 / NUM_U }, inverse = num_inverse(wide, 0.25), far = num_logistic((Num){ -3, 1e4 / NUM_U });
    assert_true(inverse.v == 2 && inverse.e * NUM_U >= 2 && inverse.e * NUM_U < 2.001);
    assert_true(far.v > 0.04 && far.e * NUM_U >= 0.95 && far.e * NUM_U < 1);
    for (double x = -90; x <= 90; x += 0.37) {          /* both ways to work it out, in float */
        float  z = (float)x, q = expf(-fabsf(z)), got[] = { 1 / (1 + expf(-z)), z > 0 ? 1 / (1 + q) : q / (1 + q) };
        Num    s = num_logistic(num((double)z));
        for (int k = 0; k < 2; k++) assert_true(fabs((double)got[k] - s.v) <= s.e * NUM_U);
    }
}

/* ---- a case is its number: whatever compiled the program draws the same ---- */

static uint32_t crc_of_op(uint32_t crc, const Op *drawn)
{
    Op op = *drawn;
    for (int role = 0; role < OP_TENSORS; role++) {
        const Tensor *t = op_tensor(&op, role);
        int32_t shape[] = { t->p != NULL, (int)t->type, t->n, t->h, t->w, t->c };
        crc = crc32_more(crc, shape, t->p ? sizeof shape : sizeof *shape);
        if (t->p && role >= OUTPUTS && role < OUTPUTS + 2) crc = crc32_more(crc, t->p, sizeof(double));
    }
    for (int k = 0; k < MAX_SEG; k++) {
        int32_t first = op.seg[k].o0;
        crc = crc32_more(crc32_more(crc, &op.seg[k].scale, sizeof(double)), &first, sizeof first);
    }
    return crc32_more(crc32_more(crc, &op.a.scale, sizeof(double)), &op.a.key, sizeof op.a.key);
}

static void test_same_draws(void **state)
{
    (void)state;
    static const uint32_t DRAWS = 0xe6bad24d;           /* by gcc and by clang */
    uint32_t crc = 0;
    for (int kind = 0; kind < OP_COUNT; kind++)
        for (int number = 0; number < 12; number++) {
            Case c = { .values = (Values)(number % 3), .set = { open("ref16"), open("ref64") }, .left = BUDGET / 8, .op.kind = (OpKind)kind };
            c.rng = rng_open(7, RNG_TEST, (uint32_t)kind, (uint32_t)number);
            checks[kind].draw(&c);
            uint32_t next = rng_u32(&c.rng);            /* how many numbers were drawn */
            crc = crc32_more(crc_of_op(crc, &c.op), &next, sizeof next);
            case_close(&c);
        }
    if (crc != DRAWS) fail_msg("%08x: if it is the drawing that was changed, this is the new DRAWS; if not, two draws share a statement", crc);
}

/* ---- what counts as equal ---- */

static void test_sums(void **state)
{
    (void)state;
    Sum s = { 0 };
    double a[3000], b[3000];
    for (int j = 0; j < 3000; j++) a[j] = 0.5, b[j] = j % 2 ? -2 : 3;
    for (int j = 0; j < 3000; j++) sum_mul(&s, a[j], b[j]);
    sum_dot(&s, a, b, 3000, 2);
    Num random = sum_num(s, 1, 0), worst = sum_num(s, 0, 0), blocks = sum_num(s, 0, 1000);
    assert_true(s.k == 6000 && s.m == 11250 && random.v == 2250 && worst.v == 2250);
    assert_true(fabs(random.e / 11250 - (8 + sqrt(6000))) < 1e-9 && fabs(worst.e / 11250 - 6008) < 1e-9 && fabs(blocks.e / 11250 - 1014) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropped_product),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_winograd),
        cmocka_unit_test(test_equal_numbers),
        cmocka_unit_test(test_wide_errors),
        cmocka_unit_test(test_same_draws),
        cmocka_unit_test(test_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
