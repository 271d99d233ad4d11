/* The training step and its plan: epochs are exact permutations, accumulation is what it says, and the bits depend on the seed alone. */
#include "train/trainer.h"
#include "io/hash.h"
#include "train/run.h"
#include <math.h>
#include <omp.h>
#include "trainer_job.h"

/* @/data: 3 pictures twice, 4 thrice. They are square, wide and tall, so that with buckets no batch may hold them all. */
static int open_folder(void **state)
{
    if (tmp_open(state)) return -1;
    for (int i = 0; i < 3; i++) job_picture("data/2_a", i, 16, 16);
    for (int i = 0; i < 4; i++) job_picture("data/3_b", i, i % 2 ? 12 : 32, i % 2 ? 24 : 8);
    for (int i = 0; i < 2; i++) job_picture("pair/1_c", i, 16, 16);
    for (int i = 0; i < 3; i++) job_picture("trio/1_c", i, 16, 16);
    return 0;
}

/* ---- the plan ---- */

static void the_plan(void **state)
{
    static const struct { const char *options; int batches, epoch_steps, steps, epochs; } cases[] = {
        { "", 18, 18, 1600, 89 },
        { "--max_train_steps 36", 18, 18, 36, 2 },
        { "--max_train_steps 37", 18, 18, 37, 3 },
        { "--max_train_epochs 3 --max_train_steps 7", 18, 18, 54, 3 },
        { "--train_batch_size 4 --max_train_epochs 2", 5, 5, 10, 2 },
        { "--train_batch_size 4 --max_train_epochs 2 --gradient_accumulation_steps 2", 5, 3, 6, 2 },
        { "--train_batch_size 100 --gradient_accumulation_steps 8 --max_train_epochs 5", 1, 1, 5, 5 },
        { "--train_batch_size 4 --enable_bucket --max_train_epochs 2", 6, 6, 12, 2 },    /* 6 square, 6 wide, 6 tall: two batches each */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Job job;
        open_job(&job, cases[i].options);
        assert_int_equal(job.trainer.epoch_batches, cases[i].batches);
        assert_int_equal(job.trainer.epoch_steps, cases[i].epoch_steps);
        assert_int_equal(job.trainer.steps, cases[i].steps);
        assert_int_equal(job.trainer.epochs, cases[i].epochs);
        trainer_close(&job.trainer);
    }
}

/* Two epochs: in each every picture is trained exactly `repeats` times, a batch holds one size, and no batch is taken twice or left out. */
static void check_epochs(const char *options)
{
    Job      job;
    Trainer *t = &job.trainer;
    int      order[2][64], places = 0;
    open_job(&job, options);
    for (int epoch = 0; epoch < 2; epoch++) {
        int seen[7] = { 0 }, batch = 0;
        places = 0;
        for (int k = 0; k < t->epoch_steps; k++) {
            TrainPosition at = t->at;
            assert_true(at.epoch == epoch && at.batch == batch && at.step == epoch * t->epoch_steps + k);
            step(t);
            batch = t->at.epoch == epoch ? t->at.batch : t->epoch_batches;
            assert_int_equal(batch - at.batch, k < t->epoch_steps - 1 ? job.config.gradient_accumulation_steps : t->epoch_batches - at.batch);
            for (int b = at.batch; b < batch; b++) {
                const Batch *now = &t->batches.batch[b];
                assert_true(now->n >= 1 && now->n <= job.config.train_batch_size);
                for (int j = 0; j < now->n; j++) {
                    int picture = t->batches.picture[now->first + j];
                    assert_int_equal(t->fit[picture].bucket, now->bucket);
                    assert_int_equal(t->latents.latent[picture].w * 2, t->buckets.size[now->bucket].w);
                    assert_int_equal(t->latents.latent[picture].h * 2, t->buckets.size[now->bucket].h);
                    seen[picture]++, order[epoch][places++] = picture;
                }
            }
        }
        for (int i = 0; i < 7; i++) assert_int_equal(seen[i], i < 3 ? 2 : 3);
    }
    assert_int_equal(places, 18);
    assert_memory_not_equal(order[0], order[1], (size_t)places * sizeof(int));
    assert_true(t->at.epoch == 2 && t->at.batch == 0);
    trainer_close(t);
}

static void an_epoch_is_a_permutation(void **state)
{
    (void)state;
    check_epochs("");
    check_epochs("--enable_bucket --train_batch_size 4");
    check_epochs("--enable_bucket --bucket_no_upscale --train_batch_size 5 --gradient_accumulation_steps 2");
    check_epochs("--train_batch_size 4 --gradient_accumulation_steps 3");
}

static int among(const double *list, int count, double x)
{
    int found = 0;
    for (int k = 0; k < count; k++) found += list[k] == x;
    return found;
}

/* Two epochs, each one batch: every sample has a latent, noise and timestep of its own, and a picture's repeats have their tags in orders of their own. */
static void each_sample_has_draws_of_its_own(void **state)
{
    (void)state;
    enum { SAMPLES = 18, PICTURES = 7, ONE = 8 * 8 * 4 };
    double   latent[2 * SAMPLES], noise[2 * SAMPLES];
    Job      job;
    Trainer *t = &job.trainer;
    int      times[1000] = { 0 }, distinct = 0, reordered = 0;
    open_job(&job, "--train_batch_size 18 --shuffle_caption");
    int tokens = t->pipeline.tokenizer.length, *before[PICTURES] = { NULL };
    for (int epoch = 0; epoch < 2; epoch++) {
        step(t);
        for (int j = 0; j < SAMPLES; j++) {
            int      **ids = &before[t->batches.picture[j]];
            const int *now = t->ids + j * tokens;
            assert_true(t->timestep[j] >= 0 && t->timestep[j] < 1000);
            distinct += !times[t->timestep[j]]++;
            latent[epoch * SAMPLES + j] = t->latent[j * ONE], noise[epoch * SAMPLES + j] = t->noise[j * ONE];
            assert_false(among(latent, epoch * SAMPLES + j, t->latent[j * ONE]) || among(noise, epoch * SAMPLES + j, t->noise[j * ONE]));
            if (*ids) reordered += memcmp(*ids, now, (size_t)tokens * sizeof *now) != 0;
            else *ids = malloc((size_t)tokens * sizeof *now);
            memcpy(*ids, now, (size_t)tokens * sizeof *now);
        }
        if (distinct < (epoch + 1) * (SAMPLES - 3)) fail_msg("epoch %d: %d timesteps for %d samples", epoch, distinct, (epoch + 1) * SAMPLES);
        if (reordered < (epoch + 1) * (SAMPLES - PICTURES) / 2) fail_msg("epoch %d: %d captions were put into a new order", epoch, reordered);
    }
    for (int k = 0; k < PICTURES; k++) free(before[k]);
    trainer_close(t);
}

/* ---- noise offset ---- */

enum { OFFSET_BATCHES = 6, OFFSET_SAMPLES = 18, CHANNELS = 4, PIXELS = 64 };
typedef struct {
    double shift[OFFSET_BATCHES * OFFSET_SAMPLES * CHANNELS];           /* of each channel's noise */
    double mean[OFFSET_BATCHES * OFFSET_SAMPLES * CHANNELS];            /* of each channel's latent */
} Offsets;

/* What the options add to the noise, against the same run without: one number a channel, in noise, noisy latent and target; all else stays to the bit. */
static void take_offsets(Offsets *o, const char *options)
{
    Job    plain, job;
    char   line[256];
    double rounding = 64 * 0x1p-52;
    snprintf(line, sizeof line, "--train_batch_size 18 %s", options);
    open_job(&plain, "--train_batch_size 18"), open_job(&job, line);
    for (int b = 0, at = 0; b < OFFSET_BATCHES; b++) {
        const Trainer *p = &plain.trainer, *t = &job.trainer;
        step(&plain.trainer), step(&job.trainer);
        assert_memory_equal(p->timestep, t->timestep, OFFSET_SAMPLES * sizeof *t->timestep);
        assert_memory_equal(p->latent, t->latent, OFFSET_SAMPLES * PIXELS * CHANNELS * sizeof *t->latent);
        for (int j = 0; j < OFFSET_SAMPLES * CHANNELS; j++, at++) {
            int    first = j / CHANNELS * PIXELS * CHANNELS + j % CHANNELS, time = t->timestep[j / CHANNELS];
            double ac = t->pipeline.schedule.ac[time];
            o->shift[at] = t->noise[first] - p->noise[first], o->mean[at] = 0;
            for (int k = first; k < first + PIXELS * CHANNELS; k += CHANNELS) {
                double noisy = sqrt(ac) * t->latent[k] + sqrt(1 - ac) * t->noise[k];
                o->mean[at] += t->latent[k] / PIXELS;
                if (!(fabs(t->noise[k] - p->noise[k] - o->shift[at]) <= rounding)) fail_msg("batch %d, channel %d: the noise moves unevenly", b, j);
                if (!(fabs(t->x[k] - noisy) <= rounding && t->target[k] == t->noise[k])) fail_msg("batch %d, channel %d: other noise is taught", b, j);
            }
        }
    }
    trainer_close(&plain.trainer), trainer_close(&job.trainer);
}

static double deviation(const double *x, int n)
{
    double sum = 0;
    for (int k = 0; k < n; k++) sum += x[k] * x[k] / n;
    return sqrt(sum);
}

/* Normals: of n, the standard deviation is known to 1 in sqrt(2n); five times that is a matter of 1e-6. */
static void the_noise_offset_is_a_normal_a_channel(void **state)
{
    (void)state;
    enum { BATCH = OFFSET_SAMPLES * CHANNELS, ALL = OFFSET_BATCHES * BATCH };
    static Offsets one, two, share, scaled;
    double         strength[OFFSET_BATCHES], rounding = 256 * 0x1p-52;
    take_offsets(&one, "--noise_offset 0.1");
    take_offsets(&two, "--noise_offset 0.2");
    take_offsets(&share, "--noise_offset 0.1 --noise_offset_random_strength");
    take_offsets(&scaled, "--noise_offset 0.1 --adaptive_noise_scale -1");
    double spread = deviation(one.shift, ALL), off = 5 / sqrt(2.0 * ALL);
    if (!(fabs(spread / 0.1 - 1) <= off)) fail_msg("standard deviation %g of 0.1", spread);
    int clamped = 0;
    for (int k = 0; k < ALL; k++) {
        double *of = &strength[k / BATCH], now = share.shift[k] / one.shift[k], weight = fmax(0, 1 - 10 * fabs(scaled.mean[k]));
        if (k % BATCH == 0) *of = now;
        for (int j = 0; j < k; j++) assert_true(one.shift[j] != one.shift[k]);
        if (!(fabs(two.shift[k] - 2 * one.shift[k]) <= rounding)) fail_msg("%d: %g is not twice %g", k, two.shift[k], one.shift[k]);
        if (!(now >= 0 && now < 1 && fabs(share.shift[k] - *of * one.shift[k]) <= rounding / fabs(one.shift[k]))) fail_msg("%d: a share of %g", k, now);
        if (!(fabs(scaled.shift[k] - weight * one.shift[k]) <= rounding)) fail_msg("%d: %g, want %g of %g", k, scaled.shift[k], weight, one.shift[k]);
        clamped += weight == 0;
    }
    assert_true(clamped > 0 && clamped < ALL);
    for (int a = 0; a < OFFSET_BATCHES; a++)
        for (int b = 0; b < a; b++) assert_true(strength[a] != strength[b]);
}

/* ---- accumulation ---- */

static TrainReport first_report(const char *options)
{
    Job job;
    open_job(&job, options);
    TrainReport report = step(&job.trainer);
    trainer_close(&job.trainer);
    return report;
}

/* A batch of two is two batches of one: the same samples, so in double the same but for the order of sums, thousands of them at most. */
static void accumulation_is_a_batch(void **state)
{
    (void)state;
    TrainReport one = first_report("--set ref64 --train_data_dir @/pair --train_batch_size 2 --min_snr_gamma 5");
    TrainReport two = first_report("--set ref64 --train_data_dir @/pair --train_batch_size 1 --min_snr_gamma 5 --gradient_accumulation_steps 2");
    double      bound = 1e4 * 0x1p-53;
    assert_true(one.loss > 0 && one.norm > 0);
    if (!(fabs(one.loss - two.loss) <= bound * one.loss)) fail_msg("loss %.17g, in two batches %.17g", one.loss, two.loss);
    if (!(fabs(one.norm - two.norm) <= bound * one.norm)) fail_msg("norm %.17g, in two batches %.17g", one.norm, two.norm);
}

/* Three batches where four were asked for: the loss is their mean, the gradient still a sum of quarters, as in kohya. */
static void a_short_group_is_not_made_longer(void **state)
{
    (void)state;
    TrainReport three = first_report("--set ref64 --train_data_dir @/trio --gradient_accumulation_steps 3");
    TrainReport four = first_report("--set ref64 --train_data_dir @/trio --gradient_accumulation_steps 4");
    double      bound = 1e4 * 0x1p-53;
    if (!(fabs(four.loss - three.loss) <= bound * three.loss)) fail_msg("loss %.17g, want %.17g", four.loss, three.loss);
    if (!(fabs(four.norm - 0.75 * three.norm) <= bound * three.norm)) fail_msg("norm %.17g, want %.17g", four.norm, 0.75 * three.norm);
}

/* ---- rates ---- */

static void rates_follow_the_schedule(void **state)
{
    (void)state;
    static const double factor[6] = { 0, 0.5, 1, 0.75, 0.5, 0.25 };
    Job job;
    open_job(&job, "--max_train_steps 6 --lr_scheduler linear --lr_warmup_steps 2 --unet_lr 1e-3 --text_encoder_lr 1e-4");
    for (int k = 0; k < 6; k++) {
        TrainReport report = step(&job.trainer);
        if (!(fabs(report.lr_unet - factor[k] * 1e-3) < 1e-18)) fail_msg("step %d: UNet's rate %.17g", k + 1, report.lr_unet);
        if (!(fabs(report.lr_text - factor[k] * 1e-4) < 1e-18)) fail_msg("step %d: text encoder's rate %.17g", k + 1, report.lr_text);
    }
    trainer_close(&job.trainer);
    TrainReport unet = first_report("--network_train_unet_only"), text = first_report("--network_train_text_encoder_only");
    assert_true(unet.lr_unet > 0 && unet.lr_text == 0 && text.lr_unet == 0 && text.lr_text > 0);
}

/* ---- bits ---- */

/* The hash of all trainable numbers after four steps. */
static void train_hash(char hex[HASH_SIZE], const char *options, int threads)
{
    Job job;
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    open_job(&job, options);
    for (int k = 0; k < 4; k++) step(&job.trainer);
    hash_data(hex, job.trainer.lora.params.w.p, job.trainer.lora.params.count * type_size(job.trainer.lora.params.w.type));
    trainer_close(&job.trainer);
    omp_set_num_threads(before);
}

#define EVERYTHING                                                                                                                                             \
    "--enable_bucket --train_batch_size 3 --conv_dim 2 --shuffle_caption --caption_dropout_rate 0.2 --caption_tag_dropout_rate 0.2 --min_snr_gamma 5 "         \
    "--noise_offset 0.1"

static void bits_depend_on_the_seed_alone(void **state)
{
    (void)state;
    static const int threads[] = { 1, 2, 5 };
    char             want[HASH_SIZE], got[HASH_SIZE];
    train_hash(want, EVERYTHING, 1);
    for (int k = 0; k < 3; k++) {
        train_hash(got, EVERYTHING, threads[k]);
        assert_string_equal(got, want);
        train_hash(got, EVERYTHING " --gradient_checkpointing", threads[k]);
        assert_string_equal(got, want);
    }
    train_hash(got, EVERYTHING " --seed 43", 1);
    assert_string_not_equal(got, want);
}

/* What a seed draws does not depend on what is trained: before the first update every LoRA is 0, and the losses are the same but for the order of sums. */
static void draws_do_not_depend_on_what_is_trained(void **state)
{
    (void)state;
    static const char *const options[] = { "--network_train_unet_only", "--network_train_text_encoder_only", "--network_dim 9 --conv_dim 3",
                                           "--gradient_checkpointing", "--learning_rate 1 --max_train_steps 3" };
    double want = first_report("--set ref64 --train_batch_size 3").loss, bound = 1e4 * 0x1p-53;
    assert_true(want > 0);
    for (int k = 0; k < 5; k++) {
        char line[128];
        snprintf(line, sizeof line, "--set ref64 --train_batch_size 3 %s", options[k]);
        double got = first_report(line).loss;
        if (!(fabs(got - want) <= bound * want)) fail_msg("%s: loss %.17g, want %.17g", options[k], got, want);
    }
}

/* The same states whether they are computed once or in each step, and others than the last layer's. */
static void clip_skip_reads_another_layer(void **state)
{
    (void)state;
    double two = first_report("--set ref64 --clip_skip 2").loss, kept = first_report("--set ref64 --clip_skip 2 --network_train_unet_only").loss;
    double one = first_report("--set ref64 --clip_skip 1").loss, none = first_report("--set ref64").loss, bound = 1e4 * 0x1p-53;
    assert_true(one == none && two > 0);
    if (!(fabs(two - kept) <= bound * two)) fail_msg("loss %.17g, of states that were kept %.17g", two, kept);
    if (!(fabs(two - one) > 1e-6 * two)) fail_msg("loss %.17g, of the last layer %.17g", two, one);
}

/* A caption of 100 tokens in two chunks: the same states whether they are kept or computed in each step, and others than those of its first 75. */
static void long_captions_are_read_in_chunks(void **state)
{
    (void)state;
    char caption[512] = "";
    for (int k = 0; k < 100; k++) strcat(caption, k % 2 ? "cat " : "dog ");
    for (int k = 0; k < 2; k++) {
        char name[32];
        job_picture("long/1_a", k, 16, 16);
        snprintf(name, sizeof name, "long/1_a/%03d.txt", k);
        assert_int_equal(file_write(tmp_path(name), caption, strlen(caption) - (k ? 0 : 4)), 0);
    }
#define LONG "--set ref64 --train_data_dir @/long --train_batch_size 2 "
    double one = first_report(LONG).loss, two = first_report(LONG "--max_token_length 150").loss, three = first_report(LONG "--max_token_length 225").loss;
    double kept = first_report(LONG "--max_token_length 150 --network_train_unet_only").loss, bound = 1e4 * 0x1p-53;
    assert_true(one > 0 && one != two && two != three);
    if (!(fabs(two - kept) <= bound * two)) fail_msg("loss %.17g, of states that were kept %.17g", two, kept);
}

/* ---- numbers that are not finite ---- */

/* The next step is refused, its number named, and nothing moves. */
static void check_stops(Trainer *t, const char *text)
{
    const Params *p = &t->lora.params;
    size_t        bytes = p->count * sizeof(float);
    TrainPosition at = t->at;
    TrainReport   report;
    char          name[32], *before = malloc(3 * bytes);
    assert_non_null(before);
    memcpy(before, p->w.p, bytes), memcpy(before + bytes, p->m.p, bytes), memcpy(before + 2 * bytes, p->v.p, bytes);
    assert_int_equal(trainer_step(t, &report), -1);
    snprintf(name, sizeof name, "step %d: ", at.step + 1);
    if (strncmp(err_text(), name, strlen(name)) || !strstr(err_text(), text)) fail_msg("\"%s\" does not say \"%s...%s\"", err_text(), name, text);
    assert_memory_equal(before, p->w.p, bytes);
    assert_memory_equal(before + bytes, p->m.p, bytes);
    assert_memory_equal(before + 2 * bytes, p->v.p, bytes);
    assert_memory_equal(&t->at, &at, sizeof at);
    free(before);
}

static void a_weight_that_is_not_finite_stops_the_run(void **state)
{
    (void)state;
    static const double bad[] = { INFINITY, NAN };
    for (int k = 0; k < 2; k++) {
        Job job;
        open_job(&job, "");
        step(&job.trainer);
        float *w = job.trainer.lora.params.w.p;
        w[job.trainer.lora.params.param[0].offset] = (float)bad[k];
        check_stops(&job.trainer, "the weights are those of step 1");
        trainer_close(&job.trainer);
    }
}

/* At rate 10 and with decay 10 each weight grows a hundredfold a step, until numbers end. */
static void a_rate_too_high_stops_the_run(void **state)
{
    (void)state;
    Job         job;
    TrainReport report;
    Params     *p = &job.trainer.lora.params;
    open_job(&job, "--learning_rate 10 --weight_decay 10 --max_grad_norm 0");
    int steps = 0;
    for (char *before = malloc(p->count * sizeof(float)); ; steps++) {
        assert_true(before && steps < 60);
        memcpy(before, p->w.p, p->count * sizeof(float));
        if (trainer_step(&job.trainer, &report) == 0) continue;
        assert_memory_equal(before, p->w.p, p->count * sizeof(float));
        free(before);
        break;
    }
    assert_true(steps > 0);
    check_stops(&job.trainer, "the weights are those of step");
    trainer_close(&job.trainer);
}

/* ---- what is refused ---- */

static void refusals(void **state)
{
    (void)state;
    static const struct { const char *options, *text; } cases[] = {
        { "--model @/nothing", "nothing" },
        { "--train_data_dir @/nothing", "nothing: no such folder" },
        { "--resolution 18,16", "multiples of 4, found 18x16" },
        { "--enable_bucket --bucket_reso_steps 18", "multiple of 4" },
        { "--enable_bucket --min_bucket_reso 32", "does not hold the resolution 16x16" },
        { "--network_weights golden/parity/b/lora.safetensors", "lora.safetensors" },
        { "--network_weights @/nothing.safetensors", "nothing.safetensors" },
        { "--set nothing", "nothing" },
        { "--clip_skip 3", "--clip_skip 3: at most 2" },
        { "--max_train_epochs 1000000 --train_data_dir @/many", "--max_train_epochs 1000000" },
    };
    job_picture("many/999999_a", 0, 16, 16);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Job job;
        job.config = job_train(job.text, cases[i].options);
        assert_int_equal(trainer_open(&job.trainer, &job.config), -1);
        int says = strstr(err_text(), cases[i].text) && !strchr(err_text(), '\n');
        if (!says) fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].options, err_text(), cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan),
        cmocka_unit_test(an_epoch_is_a_permutation),
        cmocka_unit_test(each_sample_has_draws_of_its_own),
        cmocka_unit_test(the_noise_offset_is_a_normal_a_channel),
        cmocka_unit_test(accumulation_is_a_batch),
        cmocka_unit_test(a_short_group_is_not_made_longer),
        cmocka_unit_test(rates_follow_the_schedule),
        cmocka_unit_test(bits_depend_on_the_seed_alone),
        cmocka_unit_test(draws_do_not_depend_on_what_is_trained),
        cmocka_unit_test(clip_skip_reads_another_layer),
        cmocka_unit_test(long_captions_are_read_in_chunks),
        cmocka_unit_test(a_weight_that_is_not_finite_stops_the_run),
        cmocka_unit_test(a_rate_too_high_stops_the_run),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, open_folder, tmp_close);
}
