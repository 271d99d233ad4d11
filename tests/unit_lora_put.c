/* LoRA files put on a model whose weights lie narrow in memory: what stays beside a weight and what is merged, and that both are the same sum. */
#include "base/err.h"
#include "base/rng.h"
#include "lora/lora.h"
#include "tmp.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char model_path[] = "golden/tiny-sd";      /* f16 */
static const char decomposed[] = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k", plain[] = "down_blocks.0.attentions.0.proj_in";

static void ok(int status)
{
    if (status) fail_msg("%s", err_text());
}

static void open_model(Checkpoint *m) { ok(checkpoint_open(m, model_path, set_open("ref64"))); }

/* A file of random numbers for the modules that the rules choose. */
static void write_file(const char *path, LoraRules rules)
{
    Checkpoint m;
    Lora       lora;
    Rng        rng = rng_open(5, RNG_TEST, (uint32_t)rules.dim, 0);
    open_model(&m);
    ok(lora_attach(&lora, &m, &rules));
    for (int i = 0; i < lora.params.params; i++) {
        const Param *p = &lora.params.param[i];
        size_t       count = (size_t)p->o * (size_t)(p->k * p->k) * (size_t)p->i;
        double      *x = malloc(count * sizeof *x);
        assert_non_null(x);
        for (size_t k = 0; k < count; k++) x[k] = (float)(0.1 * rng_normal(&rng));
        ok(params_set(&lora.params, i, x));
        free(x);
    }
    ok(lora_save(&lora, path, T_F32, NULL, 0));
    lora_detach(&lora);
    checkpoint_close(&m);
}

/* The file again, with magnitudes for one module: DoRA. */
static void add_magnitude(const char *to, const char *from, const char *module)
{
    Safetensors      *file = safetensors_open(from);
    SafetensorsEntry *e = file ? calloc((size_t)file->count + 1, sizeof *e) : NULL;
    static float      one[4096];
    assert_non_null(e);
    memcpy(e, file->entry, (size_t)file->count * sizeof *e);
    const SafetensorsEntry *up = safetensors_find(file, name("%s.lora_up.weight", lora_key(1, module).s).s);
    Name                    magnitude = name("%s.dora_scale", lora_key(1, module).s);
    assert_true(up && up->shape[0] <= 4096);
    for (int i = 0; i < 4096; i++) one[i] = 1 + (float)i / 4096;
    e[file->count] = (SafetensorsEntry){ .name = magnitude.s, .type = T_F32, .rank = 2, .shape = { up->shape[0], 1 }, .data = one };
    ok(safetensors_write(to, e, file->count + 1, NULL, 0));
    free(e);
    safetensors_close(file);
}

/* The k-th site of the model, text encoder first; NULL: there are no more. */
static const Site *site(const Checkpoint *m, int k)
{
    if (k < m->clip.weights.sites) return &m->clip.weights.site[k];
    k -= m->clip.weights.sites;
    return k < m->unet.weights.sites ? &m->unet.weights.site[k] : NULL;
}

static double *values(Set *set, Tensor t)               /* to free */
{
    double *x = malloc(tensor_count(t) * sizeof *x);
    assert_non_null(x);
    ok(set->download(set, tensor_of(x, T_F64, t.n, t.h, t.w, t.c), t));
    return x;
}

/* W + s B A of what lies beside it; *largest: of the terms of an element together. */
static double *sum_of(Set *set, const Site *s, double *largest)
{
    const Adapter *a = s->layer->part[s->part].adapter;
    Tensor         w = part_weight(s->layer, s->part);
    double        *x = values(set, w);
    size_t         count = tensor_count(w), columns = count / (size_t)w.n;
    *largest = 0;
    double *down = a ? values(set, a->a.t) : NULL, *up = a ? values(set, a->b.t) : NULL;
    for (size_t i = 0; i < count; i++) {
        double size = fabs(x[i]);
        for (size_t r = 0; a && r < (size_t)a->rank; r++) {
            double term = a->alpha / a->rank * up[i / columns * (size_t)a->rank + r] * down[r * columns + i % columns];
            x[i] += term, size += fabs(term);
        }
        *largest = fmax(*largest, size);
    }
    free(down), free(up);
    return x;
}

static int is_beside(const Checkpoint *m, const char *path)
{
    for (int k = 0; site(m, k); k++) {
        const Part *part = &site(m, k)->layer->part[site(m, k)->part];
        if (strcmp(part->name, path) == 0) return part->adapter != NULL;
    }
    fail_msg("no module %s", path);
    return 0;
}

/* Put and merged are the same weights, up to the rounding of sums of at most 16 terms in another order. Returns how many modules lie beside theirs. */
static int check_sum(const Checkpoint *put, const Checkpoint *merged, const Checkpoint *before)
{
    Set *set = put->unet.weights.set;
    int  beside = 0, moved = 0;
    for (int k = 0; site(put, k); k++) {
        const Site *s = site(put, k);
        const Part *part = &s->layer->part[s->part];
        double      largest, ignored;
        double     *got = sum_of(set, s, &largest), *want = sum_of(set, site(merged, k), &ignored), *was = sum_of(set, site(before, k), &ignored);
        size_t      count = tensor_count(part_weight(s->layer, s->part));
        for (size_t i = 0; i < count; i++) {
            if (!(fabs(got[i] - want[i]) <= 16 * DBL_EPSILON * largest)) fail_msg("%s: element %zu is %.17g, want %.17g", part->name, i, got[i], want[i]);
            moved += want[i] != was[i];
        }
        if (part->adapter) assert_int_equal(s->layer->w.t.type, T_F16);
        beside += part->adapter != NULL;
        free(got), free(want), free(was);
    }
    assert_true(moved > 0);
    return beside;
}

static void write_files(void)
{
    write_file(tmp_path("one.safetensors"), (LoraRules){ .dim = 2, .alpha = 1, .conv_dim = 1, .conv_alpha = 0.5, .unet = 1, .text = 1 });
    write_file(tmp_path("two.safetensors"), (LoraRules){ .dim = 1, .alpha = 3, .unet = 1 });
    write_file(tmp_path("wide.safetensors"), (LoraRules){ .dim = 64, .alpha = 64, .text = 1 });
    add_magnitude(tmp_path("dora.safetensors"), tmp_path("two.safetensors"), decomposed);
}

static void test_sums(void **state)
{
    static const struct { const char *file[3]; int files, all, beside_decomposed; } cases[] = {
        { { "one.safetensors" }, 1, 1, 1 },
        { { "one.safetensors", "two.safetensors" }, 2, 1, 1 },
        { { "two.safetensors", "one.safetensors", "two.safetensors" }, 3, 0, 1 },
        { { "one.safetensors", "dora.safetensors" }, 2, 0, 0 },
        { { "dora.safetensors", "one.safetensors" }, 2, 0, 0 },
        { { "one.safetensors", "wide.safetensors" }, 2, 0, 1 },
    };
    static const double weight[] = { 0.75, -0.5, 0.25 };
    (void)state;
    write_files();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Checkpoint put, merged, before;
        Lora       lora;
        LoraTerm   term[3];
        char       path[3][256];
        open_model(&put), open_model(&merged), open_model(&before);
        size_t bytes = weights_bytes(&put.unet.weights);
        for (int k = 0; k < cases[i].files; k++) {
            snprintf(path[k], sizeof path[k], "%s", tmp_path(cases[i].file[k]));
            term[k] = (LoraTerm){ path[k], weight[k] };
            ok(lora_merge(&merged, path[k], weight[k], 0));
        }
        ok(lora_put(&lora, &put, term, cases[i].files, 0));
        int beside = check_sum(&put, &merged, &before), modules = lora.modules;
        if (!(beside > 0 && beside < modules)) fail_msg("case %zu: %d of %d modules lie beside their weights", i, beside, modules);
        assert_int_equal(is_beside(&put, decomposed), cases[i].beside_decomposed);
        assert_true(is_beside(&put, plain));
        if (cases[i].all) assert_true(weights_bytes(&put.unet.weights) < bytes + bytes / 50);
        lora_detach(&lora);
        assert_false(is_beside(&put, plain));
        checkpoint_close(&put), checkpoint_close(&merged), checkpoint_close(&before);
    }
}

/* A weight that is as wide as the set computes is merged into: nothing is saved beside it. */
static void test_wide_weights(void **state)
{
    Checkpoint m;
    Lora       lora;
    LoraTerm   term = { tmp_path("one.safetensors"), 1 };
    (void)state;
    ok(checkpoint_open(&m, model_path, set_open("ref16")));
    ok(lora_put(&lora, &m, &term, 1, 0));
    assert_false(is_beside(&m, plain));
    lora_detach(&lora);
    checkpoint_close(&m);
}

static void test_refusals(void **state)
{
    Checkpoint m;
    Lora       lora;
    LoraTerm   term[2] = { { tmp_path("one.safetensors"), 1 }, { "golden/parity/b/lora.safetensors", 1 } };
    (void)state;
    open_model(&m);
    assert_int_equal(lora_put(&lora, &m, term, 2, 0), -1);                  /* and the first has changed nothing */
    assert_false(is_beside(&m, plain));
    assert_int_equal(lora_put(&lora, &m, &(LoraTerm){ "golden/none", 1 }, 1, 0), -1);
    checkpoint_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sums), cmocka_unit_test(test_wide_weights), cmocka_unit_test(test_refusals) };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
