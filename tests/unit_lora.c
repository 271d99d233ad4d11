/* LoRA: which modules, under which names; files out and in; merging; files that are refused. The numbers of modules are diffusers' and transformers'. */
#include "base/err.h"
#include "base/rng.h"
#include "io/hash.h"
#include "lora/lora.h"
#include "tmp.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char      tiny[] = "golden/tiny-sd", small[] = "golden/parity/b/model", file_b[] = "golden/parity/b/lora.safetensors";
static const LoraRules rules_b = { .dim = 3, .alpha = 2, .conv_dim = 2, .conv_alpha = 1.5, .unet = 1, .text = 1 };

static void open_model(Checkpoint *m, const char *path, const char *set)
{
    if (checkpoint_open(m, path, set_open(set))) fail_msg("%s", err_text());
}

static void attach(Lora *lora, Checkpoint *m, LoraRules rules)
{
    if (lora_attach(lora, m, &rules)) fail_msg("%s", err_text());
}

static size_t param_count(const Param *p) { return (size_t)p->o * (size_t)(p->k * p->k) * (size_t)p->i; }

static double *values_of(const Lora *lora, int index)   /* to free */
{
    double *x = malloc(param_count(&lora->params.param[index]) * sizeof *x);
    assert_non_null(x);
    assert_int_equal(params_get(&lora->params, index, x), 0);
    return x;
}

static void randomise(Lora *lora)
{
    Rng rng = rng_open(5, RNG_TEST, 0, 0);
    for (int i = 0; i < lora->params.params; i++) {
        double *x = values_of(lora, i);
        for (size_t k = 0; k < param_count(&lora->params.param[i]); k++) x[k] = (float)rng_normal(&rng);
        assert_int_equal(params_set(&lora->params, i, x), 0);
        free(x);
    }
}

/* ---- modules ---- */

static int has_key(const Lora *lora, const char *key)
{
    for (int i = 0; i < lora->modules; i++)
        if (strcmp(lora->module[i].key, key) == 0) return 1;
    return 0;
}

static void test_modules(void **state)
{
    static const struct {
        LoraRules rules;
        int       modules, conv, text;
        size_t    numbers;                              /* 0: not asked */
    } want[] = {
        { { .dim = 4, .alpha = 1, .unet = 1 }, 84, 0, 0, 0 },
        { { .dim = 4, .alpha = 1, .text = 1 }, 12, 0, 1, 0 },
        { { .dim = 4, .alpha = 1, .unet = 1, .text = 1 }, 96, 0, 1, 78848 },
        { { .dim = 4, .alpha = 1, .unet = 1, .text = 1, .conv_dim = 2, .conv_alpha = 1 }, 141, 1, 1, 143936 },
    };
    Checkpoint m;
    Lora       lora;
    (void)state;
    open_model(&m, tiny, "ref");
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        size_t numbers = 0;
        attach(&lora, &m, want[i].rules);
        assert_int_equal(lora.modules, want[i].modules);
        for (int k = 0; k < lora.params.params; k++) numbers += param_count(&lora.params.param[k]);
        if (want[i].numbers) assert_int_equal(numbers, want[i].numbers);
        assert_int_equal(has_key(&lora, "lora_te_text_model_encoder_layers_1_self_attn_out_proj"), want[i].text);
        assert_int_equal(has_key(&lora, "lora_te_text_model_encoder_layers_0_mlp_fc1"), want[i].text);
        assert_int_equal(has_key(&lora, "lora_unet_mid_block_attentions_0_proj_in"), want[i].rules.unet);
        assert_int_equal(has_key(&lora, "lora_unet_up_blocks_1_attentions_1_transformer_blocks_0_attn2_to_out_0"), want[i].rules.unet);
        assert_int_equal(has_key(&lora, "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_0_proj"), want[i].rules.unet);
        assert_int_equal(has_key(&lora, "lora_unet_down_blocks_0_downsamplers_0_conv"), want[i].conv);
        assert_int_equal(has_key(&lora, "lora_unet_down_blocks_1_resnets_0_conv_shortcut"), want[i].conv);
        assert_int_equal(has_key(&lora, "lora_unet_mid_block_resnets_1_time_emb_proj"), want[i].conv);
        assert_false(has_key(&lora, "lora_unet_conv_in") || has_key(&lora, "lora_unet_time_embedding_linear_1"));
        lora_detach(&lora);
    }
    LoraRules none = { .dim = 4, .alpha = 1 };
    assert_int_equal(lora_attach(&lora, &m, &none), -1);
    assert_non_null(strstr(err_text(), "nothing to train"));
    checkpoint_close(&m);
}

/* A is uniform within its bound, the same for a seed, another for another; B is 0. */
static void test_init(void **state)
{
    Checkpoint m;
    Lora       lora;
    (void)state;
    open_model(&m, tiny, "ref");
    attach(&lora, &m, (LoraRules){ .dim = 4, .alpha = 1, .conv_dim = 4, .conv_alpha = 1, .unet = 1, .text = 1 });
    assert_int_equal(lora_init(&lora, 3), 0);
    double *first = values_of(&lora, 0);
    for (int i = 0; i < lora.modules; i++) {
        const Adapter *a = &lora.module[i].adapter;
        const Param   *p = &lora.params.param[a->down];
        double        *down = values_of(&lora, a->down), *up = values_of(&lora, a->up), bound = 1 / sqrt((double)p->k * p->k * p->i), squares = 0;
        size_t         count = param_count(p);
        for (size_t k = 0; k < count; k++) {
            if (!(fabs(down[k]) <= bound * (1 + FLT_EPSILON))) fail_msg("%s: %g, bound %g", p->name, down[k], bound);
            squares += down[k] * down[k];
        }
        double mean = squares / (double)count, want = bound * bound / 3, spread = want * sqrt(0.8 / (double)count);     /* of x^2, x uniform: variance 4/45 */
        if (!(fabs(mean - want) <= 6 * spread)) fail_msg("%s: variance %g, want %g +- %g", p->name, mean, want, spread);
        for (size_t k = 0; k < param_count(&lora.params.param[a->up]); k++) assert_true(up[k] == 0);
        free(down);
        free(up);
    }
    for (int again = 0; again < 2; again++) {
        assert_int_equal(lora_init(&lora, again ? 4 : 3), 0);
        double *x = values_of(&lora, 0);
        assert_int_equal(memcmp(x, first, param_count(&lora.params.param[0]) * sizeof *x) != 0, again);
        free(x);
    }
    free(first);
    lora_detach(&lora);
    checkpoint_close(&m);
}

/* ---- files ---- */

/* The tensor has this shape, and its element (o,i,y,x) is the parameter's (o,y,x,i), rounded to the file's type. */
static void expect_entry(const Safetensors *s, const char *key, int rank, const double *value, const Param *p)
{
    const SafetensorsEntry *e = safetensors_find(s, key);
    if (!e) fail_msg("%s is missing", key);
    assert_int_equal(e->rank, rank);
    assert_true(e->shape[0] == p->o && e->shape[1] == p->i && (rank == 2 || (e->shape[2] == p->k && e->shape[3] == p->k)));
    double *stored = malloc(e->count * sizeof *stored), rounded;
    assert_non_null(stored);
    assert_int_equal(safetensors_read(s, e, T_F64, stored), 0);
    size_t kk = (size_t)p->k * (size_t)p->k, n = 0;
    for (size_t o = 0; o < (size_t)p->o; o++)
        for (size_t i = 0; i < (size_t)p->i; i++)
            for (size_t k = 0; k < kk; k++) {
                type_convert(e->type, &rounded, T_F64, &value[(o * kk + k) * (size_t)p->i + i], 1);
                if (type_get(e->type, &rounded, 0) != stored[n++]) fail_msg("%s: element %zu", key, n - 1);
            }
    free(stored);
}

static void expect_file(const Lora *lora, const Safetensors *s, Type precision)
{
    char hash[HASH_SIZE];
    assert_int_equal(s->count, 3 * 141);
    assert_string_equal(safetensors_meta(s, "ss_output_name"), "round");
    hash_data(hash, s->data, s->bytes);
    assert_string_equal(safetensors_meta(s, "sshs_model_hash"), hash);
    for (int i = 0; i < lora->modules; i++) {
        const LoraModule      *m = &lora->module[i];
        double                *down = values_of(lora, m->adapter.down), *up = values_of(lora, m->adapter.up);
        const SafetensorsEntry *alpha = safetensors_find(s, name("%s.alpha", m->key).s);
        assert_true(alpha && alpha->rank == 0 && alpha->type == precision);
        expect_entry(s, name("%s.lora_down.weight", m->key).s, m->layer->conv ? 4 : 2, down, &lora->params.param[m->adapter.down]);
        expect_entry(s, name("%s.lora_up.weight", m->key).s, m->layer->conv ? 4 : 2, up, &lora->params.param[m->adapter.up]);
        free(down);
        free(up);
    }
}

/* alpha 1.3 and 0.7: neither f16 nor bf16 can hold them. */
static void round_trip(Checkpoint *m, Type precision)
{
    const SafetensorsPair pair = { "ss_output_name", "round" };
    Lora                  lora;
    attach(&lora, m, (LoraRules){ .dim = 4, .alpha = 1.3, .conv_dim = 2, .conv_alpha = 0.7, .unet = 1, .text = 1 });
    randomise(&lora);
    if (lora_save(&lora, tmp_path("l.safetensors"), precision, &pair, 1)) fail_msg("%s", err_text());
    Safetensors *s = safetensors_open(tmp_path("l.safetensors"));
    assert_non_null(s);
    expect_file(&lora, s, precision);
    safetensors_close(s);

    double **before = calloc((size_t)lora.params.params, sizeof *before);
    assert_non_null(before);
    for (int i = 0; i < lora.params.params; i++) before[i] = values_of(&lora, i);
    assert_int_equal(lora_init(&lora, 1), 0);
    if (lora_load(&lora, tmp_path("l.safetensors"))) fail_msg("%s: %s", type_name(precision), err_text());
    for (int i = 0; i < lora.params.params; i++) {      /* what comes back is what was, rounded once */
        double *x = values_of(&lora, i), rounded;
        for (size_t k = 0; k < param_count(&lora.params.param[i]); k++) {
            type_convert(precision, &rounded, T_F64, &before[i][k], 1);
            if (x[k] != type_get(precision, &rounded, 0)) fail_msg("%s, %s: element %zu", type_name(precision), lora.params.param[i].name, k);
        }
        free(x);
        free(before[i]);
    }
    free(before);
    lora_detach(&lora);
}

static void test_round_trip(void **state)
{
    Checkpoint m;
    (void)state;
    open_model(&m, tiny, "ref");
    round_trip(&m, T_F32);
    round_trip(&m, T_F16);
    round_trip(&m, T_BF16);
    checkpoint_close(&m);
}

static void test_save_fails(void **state)
{
    Checkpoint m;
    Lora       lora;
    (void)state;
    open_model(&m, small, "ref64");
    attach(&lora, &m, rules_b);
    assert_int_equal(lora_save(&lora, tmp_path("no/such/folder"), T_F32, NULL, 0), -1);
    assert_non_null(strstr(err_text(), "no/such/folder"));
    lora_detach(&lora);
    checkpoint_close(&m);
}

/* ---- merging ---- */

static double *weight_of(const LoraModule *mod, Set *set, size_t *count)                           /* to free */
{
    Tensor  w = part_weight(mod->layer, mod->part);
    double *x = malloc(tensor_count(w) * sizeof *x);
    assert_non_null(x);
    *count = tensor_count(w);
    assert_int_equal(set->download(set, tensor_of(x, T_F64, w.n, w.h, w.w, w.c), w), 0);
    return x;
}

/* W' = W + weight alpha/r B A, each element a sum of r + 1 terms: off by at most (8 + sqrt r) u of their magnitudes together. */
static void expect_merged(const Lora *lora, const LoraModule *mod, const double *before, double weight, Set *set)
{
    size_t  count, rank = (size_t)mod->adapter.rank;
    double *now = weight_of(mod, set, &count), *a = values_of(lora, mod->adapter.down), *b = values_of(lora, mod->adapter.up), moved = 0;
    size_t  row = count / (size_t)mod->layer->part[mod->part].o;
    for (size_t i = 0; i < count; i++) {
        double want = before[i], size = fabs(before[i]), scale = weight * mod->adapter.alpha / mod->adapter.rank;
        for (size_t r = 0; r < rank; r++) {
            double term = scale * b[i / row * rank + r] * a[r * row + i % row];
            want += term, size += fabs(term), moved += fabs(term);
        }
        double bound = (8 + sqrt((double)rank)) * DBL_EPSILON / 2 * size;
        if (!(fabs(now[i] - want) <= bound)) fail_msg("%s: element %zu is %.17g, want %.17g +- %.2g", mod->key, i, now[i], want, bound);
    }
    assert_true(moved > 0);
    free(now);
    free(a);
    free(b);
}

static void test_merge(void **state)
{
    Checkpoint m;
    Lora       lora;
    Set       *set = set_open("ref64");
    size_t     count;
    (void)state;
    open_model(&m, small, "ref64");
    attach(&lora, &m, rules_b);
    if (lora_load(&lora, file_b)) fail_msg("%s", err_text());
    double **before = calloc((size_t)lora.modules, sizeof *before);
    assert_non_null(before);
    for (int i = 0; i < lora.modules; i++) before[i] = weight_of(&lora.module[i], set, &count);
    if (lora_merge(&m, file_b, 0.5, 0)) fail_msg("%s", err_text());
    for (int i = 0; i < lora.modules; i++) {
        expect_merged(&lora, &lora.module[i], before[i], 0.5, set);
        free(before[i]);
    }
    free(before);
    lora_detach(&lora);
    checkpoint_close(&m);
}

/* The same LoRA under the names of PEFT and diffusers, old and new, with the rank as alpha, changes the weights in the same way. */
static void write_as(const char *path, const Lora *lora, LoraLayout layout, int bare, const char *note)
{
    static const char *const endings[][2] = { [LORA_KOHYA] = { "lora_down.weight", "lora_up.weight" }, [LORA_PEFT] = { "lora_A.weight", "lora_B.weight" },
                                              [LORA_DIFFUSERS] = { "lora.down.weight", "lora.up.weight" } };
    static SafetensorsEntry  e[1024];
    static Name              names[1024];
    int                      n = 0;
    Safetensors             *kohya = safetensors_open(file_b);
    assert_non_null(kohya);
    assert_true(2 * lora->modules <= 1024);
    for (int i = 0; i < lora->modules; i++)
        for (int half = 0; half < 2; half++, n++) {
            const LoraModule *m = &lora->module[i];
            const char       *at = m->layer->part[m->part].name, *ending = endings[layout][half];
            if (bare && !m->is_unet) at += strlen("text_model.");
            if (layout == LORA_DIFFUSERS && !m->is_unet) ending = half ? "lora_linear_layer.up.weight" : "lora_linear_layer.down.weight";
            e[n] = *safetensors_find(kohya, name("%s.%s", m->key, endings[LORA_KOHYA][half]).s);
            names[n] = layout == LORA_KOHYA ? name("%s.%s", m->key, ending) : name("%s.%s.%s", m->is_unet ? "unet" : "text_encoder", at, ending);
            e[n].name = names[n].s;
        }
    SafetensorsPair pair = { "lora_adapter_metadata", note };
    if (safetensors_write(path, e, n, &pair, note != NULL)) fail_msg("%s", err_text());
    safetensors_close(kohya);
}

/* What lora_merge says to it, and the weights of the first module, one of the text encoder, and of the last, to free. */
static int merge_as(LoraLayout layout, int bare, const char *note, double weight, double **first, double **last, size_t count[2])
{
    Checkpoint m;
    Lora       lora;
    open_model(&m, small, "ref64");
    attach(&lora, &m, rules_b);
    assert_false(lora.module[0].is_unet);
    write_as(tmp_path("as.safetensors"), &lora, layout, bare, note);
    int status = lora_merge(&m, tmp_path("as.safetensors"), weight, 0);
    *first = weight_of(&lora.module[0], m.unet.weights.set, &count[0]);
    *last = weight_of(&lora.module[lora.modules - 1], m.unet.weights.set, &count[1]);
    lora_detach(&lora);
    checkpoint_close(&m);
    return status;
}

static void test_layouts(void **state)
{
    static const struct { LoraLayout layout; int bare; } as[] = { { LORA_KOHYA, 0 }, { LORA_PEFT, 0 }, { LORA_PEFT, 1 }, { LORA_DIFFUSERS, 0 } };
    double *want[2] = { NULL }, *now[2];
    (void)state;
    for (size_t i = 0; i < sizeof as / sizeof *as; i++) {
        size_t count[2];
        if (merge_as(as[i].layout, as[i].bare, NULL, 0.5, &now[0], &now[1], count)) fail_msg("layout %d: %s", (int)as[i].layout, err_text());
        for (int k = 0; k < 2; k++) {
            if (!want[k]) want[k] = now[k];
            else assert_memory_equal(now[k], want[k], count[k] * sizeof *now[k]);
            if (now[k] != want[k]) free(now[k]);
        }
    }
    free(want[0]), free(want[1]);
}

/* diffusers notes PEFT's configuration beside the tensors: at weight 1/2, alpha 6 is to rank 3 what alpha 3, the rank, is at weight 1. */
static void test_noted_alpha(void **state)
{
    static const struct { const char *note; double weight; const char *refused; } as[] = {
        { NULL, 1, NULL },
        { "{\"text_encoder.lora_alpha\": 6, \"text_encoder.alpha_pattern\": {}, \"text_encoder.use_dora\": false, \"unet.lora_alpha\": 1}", 0.5, NULL },
        { "{\"text_encoder.lora_alpha\": 1, \"text_encoder.alpha_pattern\": {\"fc1\": 2, \"layers.0.self_attn.[qv]_proj\": 6}}", 0.5, NULL },
        { "{\"text_encoder.alpha_pattern\": {\"(?!no)fc1\": 2}}", 1, "text_encoder.alpha_pattern: expected regular expressions" },
        { "{\"text_encoder.alpha_pattern\": {\"fc1\": \"six\"}}", 1, "text_encoder.alpha_pattern: expected a number" },
        { "{\"text_encoder.alpha_pattern\": 6}", 1, "text_encoder.alpha_pattern: expected an object, found 6" },
        { "{\"unet.lora_alpha\": \"six\"}", 1, "unet.lora_alpha: expected" },
        { "{nonsense", 1, "this is not JSON" },
    };
    double *want = NULL, *now, *last;
    (void)state;
    for (size_t i = 0; i < sizeof as / sizeof *as; i++) {
        size_t count[2];
        int    status = merge_as(LORA_PEFT, 0, as[i].note, as[i].weight, &now, &last, count);
        assert_int_equal(status, as[i].refused ? -1 : 0);
        if (as[i].refused && !strstr(err_text(), as[i].refused)) fail_msg("wanted \"%s\" in: %s", as[i].refused, err_text());
        if (!want) want = now;
        else if (!as[i].refused) assert_memory_equal(now, want, count[0] * sizeof *now);
        if (now != want) free(now);
        free(last);
    }
    free(want);
}

/* ---- refusals ---- */

typedef struct {
    SafetensorsEntry e[2048];
    int              n;
} Edit;

static SafetensorsEntry *entry(Edit *f, const char *part)
{
    for (int i = 0; i < f->n; i++)
        if (strstr(f->e[i].name, part)) return &f->e[i];
    fail_msg("no %s", part);
    return NULL;
}

static const char proj[] = "lora_unet_mid_block_attentions_0_proj_in.";
static void drop(Edit *f, const char *name_part)
{
    SafetensorsEntry *e = entry(f, name_part);
    *e = f->e[--f->n];
}
static void no_change(Edit *f) { (void)f; }
static void no_down(Edit *f) { drop(f, "mid_block_attentions_0_proj_in.lora_down"); }
static void no_up(Edit *f) { drop(f, "mid_block_attentions_0_proj_in.lora_up"); }
static void no_alpha(Edit *f) { drop(f, "mid_block_attentions_0_proj_in.alpha"); }
static void no_module(Edit *f) { no_down(f), no_up(f), no_alpha(f); }
static void unknown_module(Edit *f) { entry(f, proj)->name = "lora_unet_mid_block_attentions_7_proj_in.alpha"; }
static void other_names(Edit *f) { entry(f, proj)->name = "unet.mid_block.attentions.0.proj_in.lora_A.weight"; }
static void other_ending(Edit *f) { entry(f, "proj_in.lora_up")->name = "lora_unet_mid_block_attentions_0_proj_in.lora_mid.weight"; }
static void empty(Edit *f) { f->n = 0; }

static void narrow(Edit *f)                             /* fewer inputs, as of a smaller model */
{
    SafetensorsEntry *e = entry(f, "mid_block_attentions_0_proj_in.lora_down");
    e->shape[1]--;
}
static void short_up(Edit *f) { entry(f, "mid_block_attentions_0_proj_in.lora_up")->shape[0]--; }
static void two_alphas(Edit *f)
{
    static const float two[2] = { 1, 1 };
    SafetensorsEntry  *e = entry(f, "mid_block_attentions_0_proj_in.alpha");
    e->rank = 1, e->shape[0] = 2, e->data = two;
}
static const float not_a_number = NAN, minus_two = -2;
static void nan_alpha(Edit *f) { entry(f, "mid_block_attentions_0_proj_in.alpha")->data = &not_a_number; }
static void minus_alpha(Edit *f) { entry(f, "mid_block_attentions_0_proj_in.alpha")->data = &minus_two; }

static void write_edited(const char *path, void (*edit)(Edit *))
{
    static Edit  f;
    Safetensors *s = safetensors_open(file_b);
    assert_non_null(s);
    assert_true(s->count <= 2048);
    memcpy(f.e, s->entry, (size_t)s->count * sizeof *f.e);
    f.n = s->count;
    edit(&f);
    if (safetensors_write(path, f.e, f.n, NULL, 0)) fail_msg("%s", err_text());
    safetensors_close(s);
}

/* NULL: taken. */
static void expect(int status, const char *path, const char *part)
{
    if (!part && status) fail_msg("refused: %s", err_text());
    if (part && (status != -1 || strncmp(err_text(), path, strlen(path)) != 0 || !strstr(err_text(), part)))
        fail_msg("status %d, wanted \"%s\" in: %s", status, part, err_text());
}

static void *all_weights(const Checkpoint *m, size_t *bytes)                                       /* to free */
{
    size_t at = 0;
    for (int i = 0; i < m->unet.weights.slots; i++) at += tensor_count(m->unet.weights.slot[i].dst) * sizeof(double);
    char *copy = malloc(*bytes = at);
    assert_non_null(copy);
    at = 0;
    for (int i = 0; i < m->unet.weights.slots; i++) {
        Tensor t = m->unet.weights.slot[i].dst;         /* contiguous: ref64's memory is the host's */
        memcpy(copy + at, t.p, tensor_count(t) * sizeof(double));
        at += tensor_count(t) * sizeof(double);
    }
    return copy;
}

static void test_refusals(void **state)
{
    static const struct {
        void (*edit)(Edit *);
        const char *load, *merge;                       /* what err() says; NULL: taken */
    } want[] = {
        { no_change, NULL, NULL },
        { no_down, "proj_in.lora_down.weight: this tensor is missing", "proj_in.lora_down.weight: this tensor is missing" },
        { no_up, "proj_in.lora_up.weight: this tensor is missing", "proj_in.lora_up.weight: this tensor is missing" },
        { no_alpha, "expected rank 3, alpha 2, found rank 3, alpha 3", NULL },
        { minus_alpha, "alpha 2, found rank 3, alpha -2", NULL },
        { no_module, "proj_in: this module is missing", NULL },
        { unknown_module, "attentions_7_proj_in.alpha: belongs to no module", "no module" },
        { other_names, "lora_A.weight: belongs to no module", "belongs to no module" },
        { other_ending, "proj_in.lora_up.weight: this tensor is missing", "this tensor is missing" },
        { empty, "found no tensor", "found no tensor" },
        { narrow, "this LoRA is for another model", "this LoRA is for another model" },
        { short_up, "this LoRA is for another model", "this LoRA is for another model" },
        { two_alphas, "expected one number, found 2", "expected one number, found 2" },
        { nan_alpha, "expected a finite number", "expected a finite number" },
    };
    Checkpoint m;
    Lora       lora;
    size_t     bytes;
    (void)state;
    const char *path = "golden/parity/a/lora.safetensors";
    open_model(&m, small, "ref64");
    void *before = all_weights(&m, &bytes);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        write_edited(tmp_path("e.safetensors"), want[i].edit);
        attach(&lora, &m, rules_b);
        expect(lora_load(&lora, tmp_path("e.safetensors")), tmp_path("e.safetensors"), want[i].load);
        lora_detach(&lora);
        if (!want[i].merge) continue;
        expect(lora_merge(&m, tmp_path("e.safetensors"), 1, 0), tmp_path("e.safetensors"), want[i].merge);
        void *after = all_weights(&m, &bytes);
        assert_memory_equal(after, before, bytes);      /* refused before anything is changed */
        free(after);
    }
    free(before);
    LoraRules other = rules_b;
    other.dim = 4;
    attach(&lora, &m, other);
    expect(lora_load(&lora, file_b), file_b, "expected rank 4, alpha 2, found rank 3");
    expect(lora_load(&lora, path), path, "");
    expect(lora_load(&lora, "golden/none"), "golden/none", "No such file");
    lora_detach(&lora);
    expect(lora_merge(&m, path, 1, 0), path, "");
    expect(lora_merge(&m, "golden/none", 1, 0), "golden/none", "No such file");
    checkpoint_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modules), cmocka_unit_test(test_init),     cmocka_unit_test(test_round_trip), cmocka_unit_test(test_save_fails),
        cmocka_unit_test(test_merge), cmocka_unit_test(test_layouts), cmocka_unit_test(test_noted_alpha),   cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
