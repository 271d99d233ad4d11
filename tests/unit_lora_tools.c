/* The tools that turn LoRA files and models into others: singular values, ranks as kohya's script chooses them, sums, layouts there and back. */
#include "base/err.h"
#include "base/rng.h"
#include "lora/hashes.h"
#include "lora/matrix.h"
#include "lora/positional.h"
#include "lora/tools.h"
#include "tmp.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void ok(int status)
{
    if (status) fail_msg("%s", err_text());
}

static void refused(int status, const char *words)
{
    assert_int_equal(status, -1);
    if (!strstr(err_text(), words)) fail_msg("wanted \"%s\" in: %s", words, err_text());
}

/* ---- matrices ---- */

static double *random_matrix(size_t count, uint32_t which)
{
    double *x = malloc((count + 1) * sizeof *x);
    Rng     rng = rng_open(11, RNG_TEST, which, 0);
    assert_non_null(x);
    for (size_t i = 0; i < count; i++) x[i] = rng_normal(&rng);
    return x;
}

/* Is x, less the sum of the triplets, no longer than `bound`? Are the vectors orthonormal, and the values in order? */
static void expect_svd(const char *what, double *x, const double *u, const double *s, const double *v, int o, int n, int k, double bound)
{
    for (int i = 0; i < k; i++) {
        if (i && !(s[i] <= s[i - 1])) fail_msg("%s: value %d is larger than the one before", what, i);
        for (int j = 0; j <= i; j++) {
            double uu = 0, vv = 0;
            for (int l = 0; l < o; l++) uu += u[i * o + l] * u[j * o + l];
            for (int l = 0; l < n; l++) vv += v[i * n + l] * v[j * n + l];
            double want = i == j && s[i] > 1e-12 * s[0] ? 1 : 0, limit = s[i] > 1e-12 * s[0] ? 1e-12 : 2;
            if (!(fabs(uu - want) <= limit && fabs(vv - want) <= limit)) fail_msg("%s: vectors %d and %d: %g, %g", what, i, j, uu, vv);
        }
        for (int a = 0; a < o; a++)
            for (int b = 0; b < n; b++) x[a * n + b] -= s[i] * u[i * o + a] * v[i * n + b];
    }
    double left = matrix_norm(x, o, n);
    if (!(left <= bound)) fail_msg("%s: %g is left, bound %g", what, left, bound);
}

static void test_svd(void **state)
{
    static const int shape[][3] = { { 20, 4, 30 }, { 5, 9, 7 }, { 30, 3, 2 }, { 2, 3, 30 }, { 1, 1, 1 }, { 6, 6, 6 }, { 40, 12, 8 } };         /* o r n */
    (void)state;
    for (size_t c = 0; c < sizeof shape / sizeof *shape; c++)
        for (int degenerate = 0; degenerate < 3; degenerate++) {
            int     o = shape[c][0], r = shape[c][1], n = shape[c][2], k = o < n ? o : n;
            double *up = random_matrix((size_t)(o * r), 1), *down = random_matrix((size_t)(r * n), 2), *x = calloc((size_t)(o * n), sizeof *x);
            double *u = calloc((size_t)(r * o), sizeof *u), *s = calloc((size_t)r, sizeof *s), *v = calloc((size_t)(r * n), sizeof *v);
            assert_true(x && u && s && v);
            k = r < k ? r : k;
            if (degenerate == 1) memcpy(down + (r - 1) * n, down, (size_t)n * sizeof *down);       /* the same row twice */
            if (degenerate == 2) memset(up, 0, (size_t)(o * r) * sizeof *up);
            matrix_product(x, up, down, o, r, n, 1, 0);
            double bound = 200 * DBL_EPSILON * (matrix_norm(up, o, r) * matrix_norm(down, r, n) + DBL_MIN);
            ok(matrix_svd(u, s, v, up, down, o, r, n));
            expect_svd(name("%dx%dx%d, %d", o, r, n, degenerate).s, x, u, s, v, o, n, k, bound);
            free(up), free(down), free(x), free(u), free(s), free(v);
        }
}

/* Singular values 1, 1/2, 1/4, ... of random directions: the first k are found, and what is left is as long as the best that there is, to a hundredth. */
static void test_svd_large(void **state)
{
    enum { O = 90, N = 140, R = 60, K = 5 };
    double *a = random_matrix(O * R, 3), *b = random_matrix(R * N, 4), *x = calloc(O * N, sizeof *x), left = 0;
    double *u = calloc(R * O, sizeof *u), *s = calloc(R, sizeof *s), *v = calloc(R * N, sizeof *v), *exact = calloc(R, sizeof *exact);
    (void)state;
    assert_true(x && u && s && v && exact);
    for (int j = 0; j < R; j++)
        for (int i = 0; i < O; i++) a[i * R + j] *= ldexp(1, -j);
    matrix_product(x, a, b, O, R, N, 1, 0);
    ok(matrix_svd(u, exact, v, a, b, O, R, N));
    for (int j = K; j < R; j++) left += exact[j] * exact[j];
    ok(matrix_svd_large(u, s, v, x, O, N, K, 1));
    for (int j = 0; j < K; j++)
        if (!(fabs(s[j] - exact[j]) <= 1e-9 * exact[j])) fail_msg("value %d: %.17g, want %.17g", j, s[j], exact[j]);
    expect_svd("large", x, u, s, v, O, N, K, 1.01 * sqrt(left));
    free(a), free(b), free(x), free(u), free(s), free(v), free(exact);
}

/* kohya's counts, by its own functions (golden/lora_keep.py); where there are fewer values, ours keeps those that there are. */
static void test_keep(void **state)
{
    static const char *const methods[] = { "none", "sv_ratio", "sv_fro", "sv_cumulative" };
    FILE                    *golden = fopen("golden/lora/keep.txt", "r");
    char                     line[2048], method[32];
    int                      seen = 0;
    (void)state;
    assert_non_null(golden);
    while (fgets(line, sizeof line, golden)) {
        double s[32], param;
        int    rank, kept, at, n = 0, step, m = 0;
        assert_int_equal(sscanf(line, "%31s %lf %d %d%n", method, &param, &rank, &kept, &at), 4);
        for (; sscanf(line + at, "%lf%n", &s[n], &step) == 1; at += step) n++;
        while (strcmp(methods[m], method)) m++;
        int want = kept < n ? kept : n, found = lora_keep(s, n, rank, (LoraKeep)m, param);
        if (found != want) fail_msg("%s %g, rank %d, %d values: %d, want %d", method, param, rank, n, found, want);
        seen++;
    }
    fclose(golden);
    assert_true(seen > 200);
}

/* ---- files ---- */

static LoraTarget target(const char *path, LoraLayout layout, Type type) { return (LoraTarget){ path, layout, type, 0 }; }

/* The delta of the module of a path, DoRA aside; to free. */
static double *delta_of(const LoraFile *f, int is_unet, const char *path, size_t *count)
{
    const LoraFileModule *m = lora_file_find(f, is_unet, path);
    if (!m) fail_msg("%s: no %s", f->path, path);
    *count = (size_t)m->o * (size_t)m->columns;
    double *x = malloc(*count * sizeof *x);
    assert_non_null(x);
    ok(lora_delta(x, m, f->path));
    return x;
}

static void expect_same(const char *a, const char *b)
{
    LoraFile f, g;
    ok(lora_file_open(&f, a));
    ok(lora_file_open(&g, b));
    assert_int_equal(f.modules, g.modules);
    for (int i = 0; i < f.modules; i++) {
        const LoraFileModule *m = &f.module[i], *n = lora_file_find(&g, m->is_unet, m->path.s);
        if (!n) fail_msg("%s: no %s", b, m->key);
        if (!(fabs(m->scale - n->scale) <= 4 * DBL_EPSILON * fabs(m->scale))) fail_msg("%s: scale %.17g, %.17g", m->key, m->scale, n->scale);
        for (int r = 0; r < LORA_ROLES; r++) {
            if (r == LORA_ALPHA) continue;
            assert_true(!m->part[r] == !n->part[r]);
            if (!m->part[r]) continue;
            assert_true(m->part[r]->type == n->part[r]->type && m->part[r]->count == n->part[r]->count);
            assert_memory_equal(m->part[r]->data, n->part[r]->data, m->part[r]->bytes);
        }
    }
    lora_file_close(&f);
    lora_file_close(&g);
}

/* Every kind to every layout that can hold it and back: the same tensors, the same scale. */
static void test_convert(void **state)
{
    static const struct { const char *file; int dots; } kinds[] = {
        { "locon.safetensors", 1 }, { "dora.safetensors", 1 }, { "kohya-alphas.safetensors", 1 }, { "diffusers-old.safetensors", 1 },
        { "diffusers.safetensors", 1 }, { "peft-pattern", 1 }, { "peft-rslora", 1 }, { "peft-dora", 1 }, { "locon-tucker.safetensors", 0 },
        { "loha.safetensors", 0 }, { "loha-dora.safetensors", 0 }, { "lokr.safetensors", 0 }, { "lokr-tucker.safetensors", 0 }, { "peft-loha", 0 },
        { "dora-inputs.safetensors", 0 } };
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char        from[256], kohya[256], there[256], back[256];
        snprintf(from, sizeof from, "golden/lora/%s", kinds[i].file);
        snprintf(kohya, sizeof kohya, "%s", tmp_path("kohya.safetensors"));
        LoraTarget to = target(kohya, LORA_KOHYA, T_COUNT);
        ok(lora_convert(&to, from));
        expect_same(from, kohya);
        for (LoraLayout layout = LORA_DIFFUSERS; layout <= LORA_PEFT; layout++) {
            snprintf(there, sizeof there, "%s", tmp_path(layout == LORA_PEFT ? name("peft%zu", i).s : "diffusers.safetensors"));
            snprintf(back, sizeof back, "%s", tmp_path("back.safetensors"));
            LoraTarget other = target(there, layout, T_COUNT), again = target(back, LORA_KOHYA, T_COUNT);
            if (!kinds[i].dots) {
                refused(lora_convert(&other, kohya), "cannot hold");
                continue;
            }
            ok(lora_convert(&other, kohya));
            expect_same(from, there);
            ok(lora_convert(&again, there));
            expect_same(from, back);
        }
    }
    LoraTarget places = target(tmp_path("places.safetensors"), LORA_CLONEOFSIMO, T_COUNT);
    refused(lora_convert(&places, "golden/lora/diffusers-bare.safetensors"), "numbers all attention layers");
    refused(lora_convert(&places, "golden/lora/locon.safetensors"), "cannot hold");
    refused(lora_convert(&places, "golden/lora/none"), "No such file");
}

/* PEFT finds a module by the end of its path: a text encoder's are told without the level that some transformers lack. */
static void test_targets(void **state)
{
    LoraTarget to = target(tmp_path("targets"), LORA_PEFT, T_COUNT);
    (void)state;
    ok(lora_convert(&to, "golden/lora/kohya-alphas.safetensors"));
    char *text = file_read(tmp_path("targets/text_encoder/adapter_config.json"), 1 << 16, NULL);
    assert_non_null(text);
    assert_true(strstr(text, "\"encoder.layers.0.mlp.fc1\"") && !strstr(text, "text_model"));
    free(text);
}

/* A rounded copy is rounded once; without metadata there are none, and the hash of the numbers is as before. */
static void test_precision(void **state)
{
    const char *from = "golden/parity/b/lora.safetensors";
    LoraTarget  half = target(tmp_path("half.safetensors"), LORA_KOHYA, T_BF16), bare = { tmp_path("bare.safetensors"), LORA_KOHYA, T_COUNT, 1 };
    char        model[HASH_SIZE];
    (void)state;
    ok(lora_convert(&half, from));
    ok(lora_convert(&bare, from));
    Safetensors *a = safetensors_open(from), *b = safetensors_open(half.path), *c = safetensors_open(bare.path);
    assert_true(a && b && c);
    assert_int_equal(c->pairs, 0);
    for (int i = 0; i < a->count; i++) {
        const SafetensorsEntry *e = &a->entry[i], *h = safetensors_find(b, e->name);
        assert_non_null(h);
        if (strstr(e->name, ".alpha")) continue;
        assert_int_equal(h->type, T_BF16);
        for (size_t k = 0; k < e->count; k++) {
            uint16_t want;
            type_convert(T_BF16, &want, e->type, (const char *)e->data + k * type_size(e->type), 1);
            assert_memory_equal((const char *)h->data + 2 * k, &want, 2);
        }
    }
    hash_data(model, b->data, b->bytes);
    assert_string_equal(safetensors_meta(b, "sshs_model_hash"), model);
    safetensors_close(a);
    safetensors_close(b);
    safetensors_close(c);
}

/* The sum of two files, one with other ranks and modules, is that of their deltas: exactly that, but for the rounding to float; also as singular triplets. */
static void test_join(void **state)
{
    LoraTerm   term[] = { { "golden/lora/locon.safetensors", 0.75 }, { "golden/lora/peft-pattern", -0.5 }, { "golden/lora/locon-tucker.safetensors", 2 } };
    LoraTarget to = target(tmp_path("sum.safetensors"), LORA_KOHYA, T_COUNT), cut = target(tmp_path("cut.safetensors"), LORA_KOHYA, T_COUNT);
    LoraRank   exact = { 0 }, all = { 8, 0, KEEP_RANK, 0 };
    LoraFile   f[3], sum[2];
    int        seen = 0, added = 0;
    (void)state;
    ok(lora_join(&to, term, 3, &exact, NULL));
    ok(lora_join(&cut, term, 3, &all, NULL));                                /* no module has a larger rank than the sum of its ranks, 8 */
    ok(lora_file_open(&sum[0], to.path));
    ok(lora_file_open(&sum[1], cut.path));
    for (int i = 0; i < 3; i++) ok(lora_file_open(&f[i], term[i].path));
    for (int i = 0; i < sum[0].modules; i++, seen++) {
        const LoraFileModule *m = &sum[0].module[i];
        size_t                count, n;
        double               *x[2] = { delta_of(&sum[0], m->is_unet, m->path.s, &count), delta_of(&sum[1], m->is_unet, m->path.s, &count) }, largest = 0;
        double               *want = calloc(count, sizeof *want);
        assert_non_null(want);
        for (int k = 0; k < 3; k++) {
            if (!lora_file_find(&f[k], m->is_unet, m->path.s)) continue;
            double *part = delta_of(&f[k], m->is_unet, m->path.s, &n);
            for (size_t j = 0; j < count; j++) want[j] += term[k].ratio * part[j], largest = fmax(largest, fabs(term[k].ratio * part[j]));
            free(part);
            added++;
        }
        for (size_t j = 0; j < count; j++)
            for (int w = 0; w < 2; w++)
                if (!(fabs(x[w][j] - want[j]) <= 64 * FLT_EPSILON * largest)) fail_msg("%s, %d: element %zu: %g, want %g", m->key, w, j, x[w][j], want[j]);
        free(x[0]), free(x[1]), free(want);
    }
    assert_true(seen == 6 && added == 12);
    for (int i = 0; i < 3; i++) lora_file_close(&f[i]);
    lora_file_close(&sum[0]);
    lora_file_close(&sum[1]);
    LoraTerm other[] = { { "golden/lora/dora.safetensors", 1 } }, hada[] = { { "golden/lora/loha.safetensors", 1 } };
    refused(lora_join(&to, other, 1, &all, NULL), "DoRA depends on the model");
    refused(lora_join(&to, hada, 1, &exact, NULL), "--new_rank says");
    ok(lora_join(&to, hada, 1, &all, NULL));
}

/* Of a LoHa, rank 4 of 2 x 2, rank 4 holds all of it; and a resized LoRA is the nearest there is of its rank. */
static void test_resize(void **state)
{
    LoraTerm   hada[] = { { "golden/lora/loha.safetensors", 1 } };
    LoraTarget to = target(tmp_path("hada.safetensors"), LORA_KOHYA, T_F64), small = target(tmp_path("small.safetensors"), LORA_KOHYA, T_F64);
    LoraRank   four = { 4, 0, KEEP_RANK, 0 }, one = { 1, 0, KEEP_RANK, 0 };
    LoraFile   f[3];
    (void)state;
    ok(lora_join(&to, hada, 1, &four, NULL));
    ok(lora_resize(&small, to.path, &one, NULL));
    ok(lora_file_open(&f[0], hada[0].path));
    ok(lora_file_open(&f[1], to.path));
    ok(lora_file_open(&f[2], small.path));
    for (int i = 0; i < f[0].modules; i++) {
        const LoraFileModule *m = &f[0].module[i], *s = lora_file_find(&f[2], m->is_unet, m->path.s);
        size_t                count;
        double               *x = delta_of(&f[0], m->is_unet, m->path.s, &count), *y = delta_of(&f[1], m->is_unet, m->path.s, &count);
        double               *z = delta_of(&f[2], m->is_unet, m->path.s, &count), whole = matrix_norm(x, m->o, m->columns), largest[4], best = 0;
        double               *u = malloc(4 * (size_t)m->o * sizeof *u), *v = malloc(4 * (size_t)m->columns * sizeof *v);
        assert_true(u && v && s && s->rank == 1);
        ok(matrix_svd_large(u, largest, v, x, m->o, m->columns, 4, 1));
        for (int k = 1; k < 4; k++) best += largest[k] * largest[k];
        for (size_t j = 0; j < count; j++) y[j] -= x[j], z[j] -= x[j];
        double lost4 = matrix_norm(y, m->o, m->columns), lost1 = matrix_norm(z, m->o, m->columns);
        if (!(lost4 <= 1e-12 * whole)) fail_msg("%s: %g is lost at rank 4", m->key, lost4);
        if (!(fabs(lost1 - sqrt(best)) <= 1e-9 * whole)) fail_msg("%s: %g is lost at rank 1, best %g", m->key, lost1, sqrt(best));
        free(x), free(y), free(z), free(u), free(v);
    }
    for (int i = 0; i < 3; i++) lora_file_close(&f[i]);
    refused(lora_resize(&small, "golden/lora/lokr.safetensors", &one, NULL), "this is LoKr");
}

/* ---- models ---- */

static const char model_path[] = "golden/parity/b/model";

/* A LoRA merged into a model gives the golden weights, rounded to f32; and what is extracted from the pair is the LoRA. */
static void test_model(void **state)
{
    static const char *const kinds[] = { "locon", "loha", "lokr", "dora", "peft-pattern" };
    Safetensors             *golden = safetensors_open("golden/lora/want.safetensors");
    ModelSource              source = { .path = model_path };
    char                     lora[256], merged[256];
    (void)state;
    assert_non_null(golden);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        snprintf(lora, sizeof lora, "golden/lora/%s%s", kinds[k], strncmp(kinds[k], "peft", 4) ? ".safetensors" : "");
        snprintf(merged, sizeof merged, "%s", tmp_path(k % 2 ? "merged" : "merged.safetensors"));
        LoraTerm term = { lora, 1 };
        ok(lora_merge_model(merged, k % 2 ? MODEL_FOLDER : MODEL_FILE, T_F32, &source, &term, 1, 0));
        ModelSource from = { .path = merged };
        ModelFiles *after = model_files_open(&from);
        int         seen = 0;
        if (!after) fail_msg("%s", err_text());
        for (int i = 0; i < golden->count; i++) {
            const SafetensorsEntry *want = &golden->entry[i];
            size_t                  length = strlen(kinds[k]);
            if (strncmp(want->name, kinds[k], length) || want->name[length] != '/') continue;
            const char             *path = want->name + length + 1;
            int                     text = strncmp(path, "text_model", 10) == 0;
            const SafetensorsEntry *e = safetensors_find(after->part[text ? MODEL_TEXT : MODEL_UNET], name("%s.weight", path).s);
            if (!e) fail_msg("%s: no %s", merged, path);
            assert_true(e->type == T_F32 && e->count == want->count);
            for (size_t j = 0; j < e->count; j++) {
                double x = type_get(T_F32, e->data, j), y = type_get(want->type, want->data, j);
                if (!(fabs(x - y) <= FLT_EPSILON * fmax(fabs(y), 0.01))) fail_msg("%s: element %zu is %.9g, want %.9g", want->name, j, x, y);
            }
            seen++;
        }
        assert_true(seen >= 5);
        model_files_close(after);
    }
    safetensors_close(golden);
}

static void test_extract(void **state)
{
    LoraTerm    term = { "golden/lora/locon.safetensors", 1 };
    ModelSource org = { .path = model_path }, tuned = { .path = tmp_path("tuned.safetensors") };
    LoraTarget  to = target(tmp_path("extracted.safetensors"), LORA_KOHYA, T_F64), small = target(tmp_path("unet.safetensors"), LORA_KOHYA, T_F32);
    LoraExtract how = { { 2, 2, KEEP_RANK, 0 }, 0.01, 1 };
    LoraFile    f, g;
    char       *text = NULL;
    size_t      size, count, rest;
    (void)state;
    ok(lora_merge_model(tuned.path, MODEL_FILE, T_F32, &org, &term, 1, 0));
    FILE *report = open_memstream(&text, &size);
    assert_non_null(report);
    ok(lora_extract(&to, &org, &tuned, &how, report));
    fclose(report);
    assert_non_null(strstr(text, "lora_te_text_model_encoder_layers_0_mlp_fc1"));
    assert_non_null(strstr(text, "error 0.0000"));
    free(text);
    ok(lora_file_open(&f, term.path));
    ok(lora_file_open(&g, to.path));
    for (int i = 0; i < f.modules; i++) {
        const LoraFileModule *m = &f.module[i];
        double               *x = delta_of(&f, m->is_unet, m->path.s, &count), *y = delta_of(&g, m->is_unet, m->path.s, &rest), whole;
        assert_int_equal(count, rest);
        whole = matrix_norm(x, m->o, m->columns);
        for (size_t j = 0; j < count; j++) x[j] -= y[j];
        if (!(matrix_norm(x, m->o, m->columns) <= 1e-5 * whole)) fail_msg("%s: %g of %g is lost", m->key, matrix_norm(x, m->o, m->columns), whole);
        free(x), free(y);
    }
    assert_string_equal(lora_file_meta(&g, "ss_base_model_version"), "sd_v1");
    assert_true(g.modules > 200);                                            /* the others add 0 */
    lora_file_close(&g);
    how.min_diff = 100, how.rank.conv_rank = 0, how.clamp_quantile = 0.99;
    ok(lora_extract(&small, &org, &tuned, &how, NULL));
    ok(lora_file_open(&g, small.path));
    for (int i = 0; i < g.modules; i++) assert_true(g.module[i].is_unet && strstr(g.module[i].path.s, ".attentions."));
    lora_file_close(&g);
    lora_file_close(&f);
    tuned.path = "golden/parity/a/model";
    refused(lora_extract(&small, &org, &tuned, &how, NULL), "golden/parity/a/model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_svd),       cmocka_unit_test(test_svd_large), cmocka_unit_test(test_keep),
        cmocka_unit_test(test_convert),   cmocka_unit_test(test_targets),   cmocka_unit_test(test_precision), cmocka_unit_test(test_join),
        cmocka_unit_test(test_resize),    cmocka_unit_test(test_model),     cmocka_unit_test(test_extract),
    };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
