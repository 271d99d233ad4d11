/* LoRA files of every layout and kind change the model's weights as lycoris, peft and torch say (golden/lora.py); others are refused by their names. */
#include "base/err.h"
#include "lora/lora.h"
#include "lora/positional.h"
#include "tmp.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char model_path[] = "golden/parity/b/model";

/* ---- the weights after a file ---- */

static const Site *site_of(const Checkpoint *m, const char *path)
{
    const Weights *half[2] = { &m->unet.weights, &m->clip.weights };
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < half[h]->sites; i++)
            if (strcmp(half[h]->site[i].layer->part[half[h]->site[i].part].name, path) == 0) return &half[h]->site[i];
    fail_msg("no module %s", path);
    return NULL;
}

/* A weight in the file's order, to free. */
static double *weight_at(const Checkpoint *m, const char *path, size_t *count)
{
    const Site *site = site_of(m, path);
    Tensor      w = part_weight(site->layer, site->part);
    *count = tensor_count(w);
    double *raw = malloc(2 * *count * sizeof *raw);
    assert_non_null(raw);
    assert_int_equal(m->unet.weights.set->download(m->unet.weights.set, tensor_of(raw + *count, T_F64, w.n, w.h, w.w, w.c), w), 0);
    weights_to_file(raw, raw + *count, w.n, w.c, w.h * w.w);
    return raw;
}

/* Sums of at most a few dozen products, of numbers up to a few: both sides round each of them. */
static void expect_weight(const char *what, const double *now, const double *want, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs(now[i] - want[i]) <= 64 * DBL_EPSILON * largest)) fail_msg("%s: element %zu is %.17g, want %.17g", what, i, now[i], want[i]);
}

static int check_kind(const char *kind, const Safetensors *golden)
{
    Checkpoint m;
    char       path[256];
    size_t     length = strlen(kind), count;
    int        seen = 0, moved = 0;
    snprintf(path, sizeof path, "golden/lora/%s%s", kind, strncmp(kind, "peft", 4) ? ".safetensors" : "");
    if (checkpoint_open(&m, model_path, set_open("ref64"))) fail_msg("%s", err_text());
    double *other = weight_at(&m, "up_blocks.1.attentions.0.proj_out", &count);
    size_t  other_count = count;
    for (int pass = 0; pass < 2; pass++) {                                  /* DoRA at half strength would not be half of it the second time */
        Checkpoint before;
        if (pass && (checkpoint_close(&m), checkpoint_open(&m, model_path, set_open("ref64")))) fail_msg("%s", err_text());
        if (checkpoint_open(&before, model_path, set_open("ref64"))) fail_msg("%s", err_text());
        if (lora_merge(&m, path, pass ? 0.25 : 1, 0)) fail_msg("%s: %s", kind, err_text());
        for (int i = 0; i < golden->count; i++) {
            const SafetensorsEntry *e = &golden->entry[i];
            if (strncmp(e->name, kind, length) || e->name[length] != '/') continue;
            double *now = weight_at(&m, e->name + length + 1, &count), *was = weight_at(&before, e->name + length + 1, &count);
            double *want = malloc(e->count * sizeof *want);
            assert_non_null(want);
            assert_int_equal(count, e->count);
            assert_int_equal(safetensors_read(golden, e, T_F64, want), 0);
            for (size_t k = 0; k < count; k++) moved += want[k] != was[k], want[k] = pass ? was[k] + 0.25 * (want[k] - was[k]) : want[k];
            expect_weight(e->name, now, want, count);
            free(now);
            free(was);
            free(want);
            seen++;
        }
        checkpoint_close(&before);
    }
    double *same = weight_at(&m, "up_blocks.1.attentions.0.proj_out", &count);
    assert_memory_equal(same, other, other_count * sizeof *same);
    assert_true(moved > 0);
    free(same);
    free(other);
    checkpoint_close(&m);
    return seen;
}

static void test_kinds(void **state)
{
    static const char *const kinds[] = { "locon", "locon-tucker", "loha", "loha-tucker", "lokr", "lokr-both", "lokr-whole", "lokr-tucker", "dora",
                                         "dora-inputs", "loha-dora", "lokr-dora", "peft-pattern", "peft-rslora", "peft-dora", "peft-loha",
                                         "peft-loha-core", "peft-lokr", "peft-lokr-core", "kohya-alphas", "kohya-matrices", "kohya-te1",
                                         "diffusers-old", "diffusers-bare", "diffusers" };
    Safetensors *golden = safetensors_open("golden/lora/want.safetensors");
    int          seen = 0;
    (void)state;
    if (!golden) fail_msg("%s", err_text());
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) seen += check_kind(kinds[i], golden);
    assert_int_equal(seen, 2 * golden->count);
    safetensors_close(golden);
}

/* ---- torch.save's files ---- */

static void test_pickled(void **state)
{
    LoraFile a, b;
    (void)state;
    if (lora_file_open(&a, "golden/lora/peft-pattern") || lora_file_open(&b, "golden/lora/peft-bin")) fail_msg("%s", err_text());
    assert_true(a.modules == b.modules && a.modules == 5);
    for (int i = 0; i < a.modules; i++) {
        const LoraFileModule *x = &a.module[i], *y = &b.module[i];
        assert_string_equal(x->path.s, y->path.s);
        assert_true(x->scale == y->scale && x->rank == y->rank);
        for (LoraRole r = LORA_DOWN; r <= LORA_UP; r++) assert_memory_equal(x->part[r]->data, y->part[r]->data, x->part[r]->bytes);
    }
    lora_file_close(&a);
    lora_file_close(&b);
    for (int text = 0; text < 2; text++) {
        if (lora_file_open(&a, text ? "golden/lora/list.text_encoder.pt" : "golden/lora/list.pt")) fail_msg("%s", err_text());
        assert_true(a.layout == LORA_CLONEOFSIMO && a.modules == 3 - text && !a.others);
        for (int i = 0; i < a.modules; i++) {
            const LoraFileModule *m = &a.module[i];
            assert_true(m->place == i && m->is_unet == !text && m->rank == 1 && m->o == 3 - text && m->columns == 2);
            assert_true(((const float *)m->part[LORA_UP]->data)[0] == 2 * i && ((const float *)m->part[LORA_DOWN]->data)[1] == 2 * i + 1);
        }
        lora_file_close(&a);
    }
}

/* ---- names ---- */

/* kohya's names lose the dots of a path, and they are found again: of all modules of the models that are here. */
static void test_names(void **state)
{
    static const char *const models[] = { "golden/parity/a/model", "golden/parity/b/model", "golden/tiny-sd" };
    int                      seen = 0;
    (void)state;
    for (int k = 0; k < 3; k++) {
        Checkpoint m;
        if (checkpoint_open(&m, models[k], set_open("ref"))) fail_msg("%s", err_text());
        for (int is_unet = 0; is_unet < 2; is_unet++) {
            const Weights *w = is_unet ? &m.unet.weights : &m.clip.weights;
            for (int i = 0; i < w->sites; i++) {
                const char *path = w->site[i].layer->part[w->site[i].part].name;
                for (int layout = LORA_KOHYA; layout <= LORA_PEFT; layout++) {
                    LoraName n;
                    Name     text = lora_name((LoraLayout)layout, is_unet, path, LORA_UP);
                    assert_int_equal(lora_name_parse(&n, text.s), 1);
                    assert_string_equal(n.path.s, path);
                    assert_true(n.is_unet == is_unet && n.role == LORA_UP && n.place == -1);
                    assert_int_equal(n.layout, layout == LORA_DIFFUSERS ? LORA_PEFT : layout);
                    seen++;
                }
            }
        }
        checkpoint_close(&m);
    }
    assert_true(seen > 1000);
}

/* ---- cloneofsimo's places ---- */

static float numbers[4096];

static SafetensorsEntry matrix(const char *tensor, int rows, int columns, const float *data)
{
    return (SafetensorsEntry){ .name = tensor, .type = T_F32, .rank = 2, .shape = { rows, columns }, .data = data };
}

/* Writes the first `blocks` transformer blocks of the parity model's U-Net by place, in the order of old or of today, and one layer of text. */
static void write_places(const Checkpoint *m, int ff_first, int per, int text)
{
    static SafetensorsEntry  e[512];
    static Name              names[512];
    static const char *const order[2][9] = {
        { "attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.0.proj" },
        { "attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0" } };
    static const char *const blocks[] = { "down_blocks.0.attentions.0", "down_blocks.0.attentions.1", "down_blocks.1.attentions.0",
                                          "down_blocks.1.attentions.1", "up_blocks.1.attentions.0", "up_blocks.1.attentions.1",
                                          "up_blocks.1.attentions.2", "up_blocks.2.attentions.0", "up_blocks.2.attentions.1",
                                          "up_blocks.2.attentions.2", "mid_block.attentions.0" };
    static const char *const words[] = { "k_proj", "v_proj", "q_proj", "out_proj" };
    int                      n = 0, i = 0;
    for (size_t k = 0; k < 4096; k++) numbers[k] = (float)(k % 7) - 3;
    for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
        for (int j = 0; j < per; j++, i++) {
            const Layer *l = site_of(m, name("%s.transformer_blocks.0.%s", blocks[b], order[ff_first][j]).s)->layer;
            int          o = l->part[0].o, in = l->w.t.c;
            names[n] = name("unet:%d:down", i), e[n] = matrix(names[n].s, 1, in, numbers), n++;
            names[n] = name("unet:%d:up", i), e[n] = matrix(names[n].s, o, 1, numbers + i), n++;
        }
    for (int j = 0; j < text; j++) {
        int c = site_of(m, name("text_model.encoder.layers.0.self_attn.%s", words[j % 4]).s)->layer->w.t.c;
        names[n] = name("text_encoder:%d:down", j), e[n] = matrix(names[n].s, 1, c, numbers), n++;
        names[n] = name("text_encoder:%d:up", j), e[n] = matrix(names[n].s, c, 1, numbers + 1000 + j), n++;
    }
    e[n] = matrix("<s1>", 8, 1, numbers), e[n++].rank = 1;
    SafetensorsPair pair = { "<s1>", "<embed>" };
    if (safetensors_write(tmp_path("places.safetensors"), e, n, &pair, 1)) fail_msg("%s", err_text());
}

/* What a place adds to a weight: its up times its down. */
static void expect_place(const Checkpoint *m, const Checkpoint *before, const char *path, const float *up)
{
    size_t  count, in = (size_t)site_of(m, path)->layer->w.t.c;
    double *now = weight_at(m, path, &count), *want = weight_at(before, path, &count);
    for (size_t i = 0; i < count; i++) want[i] += (double)up[i / in] * (double)numbers[i % in];
    expect_weight(path, now, want, count);
    free(now);
    free(want);
}

static void test_places(void **state)
{
    Checkpoint before, m;
    LoraFile   f;
    (void)state;
    if (checkpoint_open(&before, model_path, set_open("ref64"))) fail_msg("%s", err_text());
    for (int ff_first = 0; ff_first < 2; ff_first++) {
        if (checkpoint_open(&m, model_path, set_open("ref64"))) fail_msg("%s", err_text());
        write_places(&m, ff_first, 9, 4);
        if (lora_merge(&m, tmp_path("places.safetensors"), 1, 0)) fail_msg("%s", err_text());
        expect_place(&m, &before, "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_k", numbers + 9 + 1);
        expect_place(&m, &before, "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v", numbers + 4 * 9 + (ff_first ? 7 : 6));
        expect_place(&m, &before, "up_blocks.2.attentions.2.transformer_blocks.0.ff.net.0.proj", numbers + 9 * 9 + (ff_first ? 4 : 8));
        expect_place(&m, &before, "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0", numbers + 10 * 9 + (ff_first ? 8 : 7));
        expect_place(&m, &before, "text_model.encoder.layers.0.self_attn.k_proj", numbers + 1000);
        expect_place(&m, &before, "text_model.encoder.layers.0.self_attn.q_proj", numbers + 1002);
        checkpoint_close(&m);
    }
    write_places(&before, 0, 8, 0);
    assert_int_equal(lora_file_open(&f, tmp_path("places.safetensors")), 0);
    assert_int_equal(f.tokens, 1);
    assert_string_equal(lora_token_name(f.token[0]).s, "<s1>");
    assert_int_equal(lora_place(&f, &before.unet.weights), 0);
    assert_string_equal(f.module[8].path.s, "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q");
    assert_int_equal(lora_place(&f, NULL), -1);                             /* 88 modules are not those of SD 1.x */
    assert_non_null(strstr(err_text(), "expected 144 or 128"));
    lora_file_close(&f);
    checkpoint_close(&before);
}

/* ---- refusals ---- */

static void test_foreign(void **state)
{
    static const struct { const char *tensor, *words; } want[] = {
        { "lora_unet_mid_block_attentions_0_proj_in.oft_blocks", "OFT" },
        { "lora_unet_mid_block_attentions_0_proj_in.a1.weight", "GLoRA" },
        { "lora_unet_mid_block_attentions_0_proj_in.on_input", "IA3" },
        { "lora_unet_mid_block_attentions_0_proj_in.diff", "the difference of whole weights" },
        { "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "a LoRA for SDXL" },
        { "lora_unet_input_blocks_4_1_proj_in.lora_up.weight", "a LoRA for SDXL" },
        { "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "a LoRA for Flux" },
        { "lora_unet_joint_blocks_0_x_block_mlp_fc1.lora_down.weight", "a LoRA for SD 3" },
        { "base_model.model.layers.0.boft_R", "BOFT" },
        { "emb_params", "a textual inversion" },
        { "something.weight", "expected a LoRA in kohya's" },
    };
    Checkpoint m;
    (void)state;
    if (checkpoint_open(&m, model_path, set_open("ref"))) fail_msg("%s", err_text());
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        SafetensorsEntry e[2] = { matrix(want[i].tensor, 1, 4, numbers) };
        char             other[256];
        snprintf(other, sizeof other, "%s", want[i].tensor);
        char *half = strstr(other, "up.weight") ? strstr(other, "up.weight") : strstr(other, "down.weight");
        if (half) strcpy(half, strstr(other, "up.weight") ? "down.weight" : "up.weight");
        e[1] = e[0], e[1].name = other, e[1].shape[0] = 4, e[1].shape[1] = 1;
        if (half && strstr(other, "down.weight")) e[0].shape[0] = 4, e[0].shape[1] = 1, e[1].shape[0] = 1, e[1].shape[1] = 4;
        if (safetensors_write(tmp_path("f.safetensors"), e, half ? 2 : 1, NULL, 0)) fail_msg("%s", err_text());
        assert_int_equal(lora_merge(&m, tmp_path("f.safetensors"), 1, 0), -1);
        if (!strstr(err_text(), want[i].words)) fail_msg("wanted \"%s\" in: %s", want[i].words, err_text());
    }
    checkpoint_close(&m);
}

/* With --allow_unmatched a stray tensor and a module that the model lacks are passed over, but not a wrong shape, nor a file of nothing else. */
static void test_unmatched(void **state)
{
    static const char in[] = "lora_unet_mid_block_attentions_0_proj_in", none[] = "lora_unet_mid_block_attentions_9_proj_in";
    Checkpoint        m;
    (void)state;
    if (checkpoint_open(&m, model_path, set_open("ref"))) fail_msg("%s", err_text());
    int              c = site_of(&m, "mid_block.attentions.0.proj_in")->layer->w.t.c;
    Name             down = name("%s.lora_down.weight", in), up = name("%s.lora_up.weight", in), down9 = name("%s.lora_down.weight", none);
    Name             up9 = name("%s.lora_up.weight", none);
    SafetensorsEntry e[5] = { matrix(down.s, 1, c, numbers), matrix(up.s, c, 1, numbers), matrix(down9.s, 1, c, numbers), matrix(up9.s, c, 1, numbers),
                              matrix("stray", 1, 1, numbers) };
    const struct { int from, to, strict, allowed; } want[] = { { 0, 2, 0, 0 }, { 0, 4, -1, 0 }, { 0, 5, -1, 0 }, { 2, 4, -1, -1 } };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        if (safetensors_write(tmp_path("u.safetensors"), e + want[i].from, want[i].to - want[i].from, NULL, 0)) fail_msg("%s", err_text());
        assert_int_equal(lora_merge(&m, tmp_path("u.safetensors"), 1, 0), want[i].strict);
        assert_int_equal(lora_merge(&m, tmp_path("u.safetensors"), 1, 1), want[i].allowed);
    }
    e[0].shape[1]--;
    if (safetensors_write(tmp_path("u.safetensors"), e, 2, NULL, 0)) fail_msg("%s", err_text());
    assert_int_equal(lora_merge(&m, tmp_path("u.safetensors"), 1, 1), -1);
    assert_non_null(strstr(err_text(), "for another model"));
    checkpoint_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),   cmocka_unit_test(test_pickled), cmocka_unit_test(test_names),     cmocka_unit_test(test_places),
        cmocka_unit_test(test_foreign), cmocka_unit_test(test_unmatched),
    };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
