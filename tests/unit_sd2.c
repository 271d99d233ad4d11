/* A model of Stable Diffusion 2.x's kind, in the .ckpt file of which people have it: on ref64 its text states, U-Net, target and autoencoder are what
 * OpenCLIP's formulas in torch and diffusers compute in float64 (golden/sd2.py). */
#include "base/err.h"
#include "diffusion/schedule.h"
#include "model/checkpoint.h"
#include "tmp.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const double agree = 1e-10;                      /* as in tests/parity: two float64 computations, relative to the largest value */

typedef struct {
    Checkpoint   model;
    Set         *set;
    Tape         tape;
    Safetensors *gold;
} Run;

static Run run;

static int open_run(void **state)
{
    if (tmp_open(state)) return -1;
    run.set = set_open("ref64");
    run.gold = safetensors_open("golden/sd2/golden.safetensors");
    if (!run.set || !run.gold || checkpoint_open(&run.model, "golden/sd2/model.ckpt", run.set) || tape_open(&run.tape, run.set, 64 << 20)) {
        fprintf(stderr, "%s\n", err_text());
        return -1;
    }
    return 0;
}

static int close_run(void **state)
{
    tape_close(&run.tape);
    checkpoint_close(&run.model);
    safetensors_close(run.gold);
    return tmp_close(state);
}

/* Element i of (n,h,w,c), counted as the file has it, (n,c,h,w): where it is here. */
static size_t place(const Tensor *t, size_t i)
{
    size_t plane = (size_t)t->h * (size_t)t->w, c = (size_t)t->c, at = i % plane, channel = i / plane % c, n = i / plane / c;
    return (n * plane + at) * c + channel;
}

/* A golden tensor: pictures as (n,h,w,c), text states (n,T,C) as (n,1,T,C); to free. */
static Tensor gold(const char *name, Type type)
{
    const SafetensorsEntry *e = safetensors_find(run.gold, name);
    if (!e) fail_msg("no %s", name);
    int n = (int)e->shape[0], rank = e->rank;
    Tensor t = rank == 4 ? tensor_of(NULL, type, n, (int)e->shape[2], (int)e->shape[3], (int)e->shape[1])
             : rank == 3 ? tensor_of(NULL, type, n, 1, (int)e->shape[1], (int)e->shape[2])
                         : tensor_of(NULL, type, n, 1, rank == 2 ? (int)e->shape[1] : 1, 1);
    char *raw = malloc(e->count * type_size(type));
    t.p = malloc(e->count * type_size(type));
    assert_non_null(raw);
    assert_non_null(t.p);
    assert_int_equal(safetensors_read(run.gold, e, type, raw), 0);
    for (size_t i = 0; i < e->count; i++)
        memcpy((char *)t.p + (rank == 4 ? place(&t, i) : i) * type_size(type), raw + i * type_size(type), type_size(type));
    free(raw);
    return t;
}

static Var *input(const char *name, Type type)
{
    Tensor t = gold(name, type);
    Var   *v = tape_constant(&run.tape, type, t);
    free(t.p);
    return v;
}

static void compare(const char *name, const double *got)
{
    Tensor        want = gold(name, T_F64);
    const double *w = want.p;
    size_t        count = tensor_count(want);
    double        largest = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(w[i]));
    assert_true(largest > 0.01);
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - w[i]) <= agree * largest)) fail_msg("%s: element %zu: %.17g, %.17g expected", name, i, got[i], w[i]);
    free(want.p);
}

static void expect(const char *name, const Var *v)
{
    Tensor host = tensor_of(malloc(tensor_count(v->t) * sizeof(double)), T_F64, v->t.n, v->t.h, v->t.w, v->t.c);
    assert_non_null(host.p);
    if (tape_status(&run.tape) || run.set->download(run.set, host, v->t)) fail_msg("%s", err_text());
    compare(name, host.p);
    free(host.p);
}

static void test_config(void **state)
{
    (void)state;
    assert_true(run.model.scheduler.v_prediction && run.model.clip.config.layers == 3 && run.model.clip.config.act == ACT_GELU);
    assert_true(run.model.unet.config.linear_projection && run.model.unet.config.heads[1] == 2);
}

static void test_text_and_unet(void **state)
{
    (void)state;
    tape_reset(&run.tape, TAPE_INFER);
    Var   *text = clip_forward(&run.tape, &run.model.clip, input("in.ids", T_I32));
    Tensor t = gold("in.t", T_I32), sines = tensor_of(malloc(2 * 4 * sizeof(double)), T_F64, 2, 1, 1, 4);
    expect("text.hidden", text);
    for (int n = 0; n < 2; n++) unet_time(&run.model.unet.config, ((int32_t *)t.p)[n], (double *)sines.p + 4 * n);
    expect("unet.out", unet_forward(&run.tape, &run.model.unet, input("train.noisy", T_F64), tape_constant(&run.tape, T_F64, sines), text));
    free(t.p);
    free(sines.p);
}

static void test_vae(void **state)
{
    (void)state;
    tape_reset(&run.tape, TAPE_INFER);
    expect("vae.moments", vae_encode(&run.tape, &run.model.vae, input("vae.image", T_F64)));
    expect("vae.decoded", vae_decode(&run.tape, &run.model.vae, input("vae.latent", T_F64)));
}

/* The target of training is v. */
static void test_target(void **state)
{
    const SchedulerConfig *c = &run.model.scheduler;
    Schedule               s;
    Tensor                 x = gold("in.latents", T_F64), noise = gold("in.noise", T_F64), t = gold("in.t", T_I32);
    size_t                 each = tensor_count(x) / 2;
    double                *noisy = malloc(2 * each * sizeof *noisy), *target = malloc(2 * each * sizeof *target);
    (void)state;
    assert_true(noisy && target);
    assert_int_equal(schedule_open(&s, BETA_SCALED_LINEAR, c->beta_start, c->beta_end, c->timesteps, PREDICT_V, c->steps_offset), 0);
    for (size_t n = 0; n < 2; n++) {
        const double *latent = (const double *)x.p + n * each, *drawn = (const double *)noise.p + n * each;
        schedule_noised(noisy + n * each, &s, ((int32_t *)t.p)[n], latent, drawn, each);
        schedule_target(target + n * each, &s, ((int32_t *)t.p)[n], latent, drawn, each);
    }
    compare("train.noisy", noisy);
    compare("train.target", target);
    free(x.p), free(noise.p), free(t.p), free(noisy), free(target);
}

/* The same as a folder and as a safetensors file, and as the .bin of a part: the same model, whose names and numbers survive. */
static void test_convert(void **state)
{
    const char *const folder = tmp_path("folder"), *const file = tmp_path("model.safetensors");
    ModelSource       source = { .path = "golden/sd2/model.ckpt" };
    (void)state;
    if (model_files_convert(folder, MODEL_FOLDER, T_COUNT, &source) || model_files_convert(file, MODEL_FILE, T_COUNT, &(ModelSource){ .path = folder }))
        fail_msg("%s", err_text());
    size_t size;
    char   bin[PATH_SIZE], old[PATH_SIZE], *ckpt = file_read(source.path, 1 << 20, &size);
    snprintf(bin, sizeof bin, "%s/vae/diffusion_pytorch_model.bin", folder), snprintf(old, sizeof old, "%s/vae/diffusion_pytorch_model.safetensors", folder);
    assert_non_null(ckpt);
    assert_int_equal(file_write(bin, ckpt, size), 0);
    free(ckpt);
    assert_int_equal(unlink(old), 0);
    const char *const paths[] = { folder, file };
    for (int k = 0; k < 2; k++) {
        Checkpoint m;
        if (checkpoint_open(&m, paths[k], run.set)) fail_msg("%s", err_text());
        const Weights *a[] = { &m.clip.weights, &m.unet.weights, &m.vae.weights };
        const Weights *b[] = { &run.model.clip.weights, &run.model.unet.weights, &run.model.vae.weights };
        for (int p = 0; p < MODEL_PARTS; p++)
            for (int i = 0; i < b[p]->slots; i++) {
                Tensor x = a[p]->slot[i].dst, y = b[p]->slot[i].dst;
                assert_int_equal(x.type, y.type);
                assert_memory_equal(x.p, y.p, tensor_count(y) * type_size(y.type));
            }
        assert_true(m.scheduler.v_prediction);
        checkpoint_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_config), cmocka_unit_test(test_text_and_unet), cmocka_unit_test(test_vae),
                                        cmocka_unit_test(test_target), cmocka_unit_test(test_convert) };
    return cmocka_run_group_tests(tests, open_run, close_run);
}
