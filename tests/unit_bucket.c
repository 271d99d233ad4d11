/* Buckets and batches: kohya's published sizes, what a fit must satisfy for any picture, and epochs as exact permutations. */
#include "base/err.h"
#include "base/rng.h"
#include "data/bucket.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static Buckets open_rules(BucketRules rules)
{
    Buckets b;
    assert_int_equal(buckets_open(&b, &rules), 0);
    return b;
}

static void check_sizes(const Buckets *b, const BucketSize *want, int count)
{
    assert_int_equal(b->count, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(b->size[i].w, want[i].w);
        assert_int_equal(b->size[i].h, want[i].h);
    }
}

static void sizes_at_512(void **state)
{
    static const BucketSize want[] = {
        { 256, 832 }, { 256, 896 }, { 256, 960 }, { 256, 1024 }, { 320, 704 }, { 320, 768 }, { 384, 640 }, { 448, 576 }, { 512, 512 },
        { 576, 448 }, { 640, 384 }, { 704, 320 }, { 768, 320 },  { 832, 256 }, { 896, 256 }, { 960, 256 }, { 1024, 256 },
    };
    (void)state;
    Buckets b = open_rules((BucketRules){ .w = 512, .h = 512, .many = 1, .step = 64 });
    check_sizes(&b, want, 17);
    buckets_close(&b);
    b = open_rules((BucketRules){ .w = 512, .h = 512, .many = 1, .step = 64, .min = 300, .max = 1000 }); /* 256 to 1024 when rounded outwards */
    check_sizes(&b, want, 17);
    buckets_close(&b);
    b = open_rules((BucketRules){ .w = 768, .h = 768, .many = 1, .step = 64, .min = 256, .max = 1024 });
    assert_int_equal(b.count, 19);
    buckets_close(&b);
}

/* The range by default: half and twice the side of the square of as many pixels, in whole steps outwards, and never without the resolution itself. */
static void the_range_follows_the_resolution(void **state)
{
    static const struct { int w, h, step, min, max; } cases[] = {
        { 512, 512, 64, 256, 1024 }, { 768, 768, 64, 384, 1536 }, { 512, 768, 64, 256, 1280 }, { 64, 96, 16, 32, 160 }, { 64, 64, 64, 64, 128 },
        { 1536, 128, 64, 128, 1536 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Buckets b = open_rules((BucketRules){ .w = cases[i].w, .h = cases[i].h, .many = 1, .step = cases[i].step });
        assert_int_equal(b.rules.min, cases[i].min);
        assert_int_equal(b.rules.max, cases[i].max);
        buckets_close(&b);
    }
}

/* A quarter of everything gives a quarter of every size. */
static void sizes_scale_with_the_step(void **state)
{
    (void)state;
    Buckets large = open_rules((BucketRules){ .w = 512, .h = 512, .many = 1, .step = 64 });
    Buckets small = open_rules((BucketRules){ .w = 128, .h = 128, .many = 1, .step = 16 });
    assert_int_equal(small.count, large.count);
    for (int i = 0; i < small.count; i++) assert_true(small.size[i].w * 4 == large.size[i].w && small.size[i].h * 4 == large.size[i].h);
    buckets_close(&large), buckets_close(&small);
}

static void published_fits(void **state)
{
    static const struct { int no_upscale, w, h, bucket_w, bucket_h, new_w, new_h; } cases[] = {
        { 0, 1920, 1080, 640, 384, 683, 384 }, { 0, 512, 768, 384, 640, 427, 640 },   { 0, 600, 800, 448, 576, 448, 597 }, { 0, 100, 100, 512, 512, 512, 512 },
        { 1, 1050, 1080, 448, 448, 448, 461 }, { 1, 300, 300, 256, 256, 300, 300 },   { 1, 512, 768, 384, 576, 384, 576 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Buckets   b = open_rules((BucketRules){ .w = 512, .h = 512, .many = 1, .step = 64, .no_upscale = cases[i].no_upscale });
        BucketFit fit;
        assert_int_equal(buckets_fit(&fit, &b, "a.png", cases[i].w, cases[i].h), 0);
        assert_int_equal(b.size[fit.bucket].w, cases[i].bucket_w);
        assert_int_equal(b.size[fit.bucket].h, cases[i].bucket_h);
        assert_int_equal(fit.w, cases[i].new_w);
        assert_int_equal(fit.h, cases[i].new_h);
        assert_int_equal(fit.x, (cases[i].new_w - cases[i].bucket_w) / 2);
        assert_int_equal(fit.y, (cases[i].new_h - cases[i].bucket_h) / 2);
        buckets_close(&b);
    }
}

/* A picture that is a bucket stays as it is. */
static void an_exact_size_wins(void **state)
{
    (void)state;
    Buckets   b = open_rules((BucketRules){ .w = 512, .h = 512, .many = 1, .step = 64 });
    BucketFit fit;
    for (int i = 0; i < b.count; i++) {
        assert_int_equal(buckets_fit(&fit, &b, "a.png", b.size[i].w, b.size[i].h), 0);
        assert_true(fit.bucket == i && fit.w == b.size[i].w && fit.h == b.size[i].h && fit.x == 0 && fit.y == 0);
    }
    buckets_close(&b);
}

/* For random pictures: the resized picture covers its bucket, keeps its shape to half a pixel, is cut in the middle, and is not enlarged where that is
 * forbidden. */
static void any_picture_fits(void **state)
{
    (void)state;
    Rng rng = rng_open(5, RNG_TEST, 0, 0);
    for (int mode = 0; mode < 3; mode++) {
        Buckets b = open_rules((BucketRules){ .w = 512, .h = 768, .many = mode > 0, .no_upscale = mode == 2, .step = 64 });
        for (int k = 0; k < 2000; k++) {
            int       w = 64 + (int)rng_below(&rng, 2000), h = 64 + (int)rng_below(&rng, 2000);
            BucketFit f;
            if (buckets_fit(&f, &b, "a.png", w, h)) {
                assert_true(mode == 0 && (512.0 / w * h > 16384 || 768.0 / h * w > 16384)); /* too long a strip */
                continue;
            }
            BucketSize size = b.size[f.bucket];
            assert_true(size.w % 64 == 0 && size.h % 64 == 0 && size.w > 0 && size.h > 0);
            assert_true(f.w >= size.w && f.h >= size.h && f.x == (f.w - size.w) / 2 && f.y == (f.h - size.h) / 2);
            assert_true(2 * abs(f.w * h - f.h * w) <= (w > h ? w : h)); /* f.w/f.h is w/h but for half a pixel of one side */
            if (mode == 2) assert_true(f.w <= w && f.h <= h && f.w - size.w < 64 && f.h - size.h < 64);
            else assert_true(f.w == size.w || f.h == size.h);
        }
        if (mode == 0) assert_int_equal(b.count, 1);
        buckets_close(&b);
    }
}

static void refusals(void **state)
{
    static const struct { BucketRules rules; const char *text; } cases[] = {
        { { .w = 500, .h = 768, .step = 64 }, "multiples of 64, found 500x768" },
        { { .w = 0, .h = 512, .step = 64 }, "resolution" },
        { { .w = 512, .h = 99999, .step = 64 }, "resolution" },
        { { .w = 512, .h = 512, .many = 1, .step = 64, .min = 640 }, "does not hold the resolution 512x512" },
        { { .w = 512, .h = 512, .many = 1, .step = 64, .max = 448 }, "does not hold the resolution 512x512" },
        { { .w = 512, .h = 512, .many = 1, .step = 64, .min = 32 }, "min_bucket_reso" },
        { { .w = 512, .h = 512, .many = 1, .step = 64, .max = -1 }, "max_bucket_reso" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Buckets b;
        assert_int_equal(buckets_open(&b, &cases[i].rules), -1);
        if (!strstr(err_text(), cases[i].text)) fail_msg("\"%s\" does not say \"%s\"", err_text(), cases[i].text);
    }
    BucketFit fit;
    Buckets   b = open_rules((BucketRules){ .w = 512, .h = 512, .many = 1, .step = 64, .no_upscale = 1 });
    assert_int_equal(buckets_fit(&fit, &b, "strip.png", 30, 200), -1);
    assert_non_null(strstr(err_text(), "strip.png: 30x200"));
    assert_int_equal(buckets_fit(&fit, &b, "strip.png", 1, 16000), -1);
    assert_int_equal(buckets_fit(&fit, &b, "strip.png", 16000, 20), -1);
    buckets_close(&b);
    b = open_rules((BucketRules){ .w = 512, .h = 512, .step = 64 });
    assert_int_equal(buckets_fit(&fit, &b, "strip.png", 1, 16000), -1);
    assert_non_null(strstr(err_text(), "too narrow"));
    buckets_close(&b);
}

/* ---- batches ---- */

enum { PICTURES = 20, BUCKETS = 3 };

static void sample_set(BucketFit fit[PICTURES], int repeats[PICTURES])
{
    memset(fit, 0, PICTURES * sizeof *fit);
    for (int i = 0; i < PICTURES; i++) fit[i].bucket = i * i % BUCKETS, repeats[i] = 1 + i % 5;
}

/* Each picture comes up exactly `repeats` times, a batch keeps to its bucket, only a bucket's remainder is short, and every place is used once. */
static void an_epoch_is_a_permutation(void **state)
{
    (void)state;
    BucketFit fit[PICTURES];
    int       repeats[PICTURES];
    sample_set(fit, repeats);
    for (int batch_size = 1; batch_size <= 64; batch_size *= 2) {
        Batches e;
        int     count[PICTURES] = { 0 }, total[BUCKETS] = { 0 }, batches[BUCKETS] = { 0 }, used[1000] = { 0 }, sum = 0;
        assert_int_equal(batches_open(&e, fit, repeats, PICTURES, batch_size, 1, 3), 0);
        for (int k = 0; k < e.count; k++) {
            Batch b = e.batch[k];
            assert_true(b.n >= 1 && b.n <= batch_size && b.first >= 0 && b.first + b.n <= e.places);
            batches[b.bucket]++;
            for (int j = 0; j < b.n; j++) {
                int picture = e.picture[b.first + j];
                assert_int_equal(fit[picture].bucket, b.bucket);
                assert_int_equal(used[b.first + j]++, 0);
                count[picture]++, total[b.bucket]++;
            }
        }
        for (int i = 0; i < PICTURES; i++) assert_int_equal(count[i], repeats[i]), sum += repeats[i];
        for (int b = 0; b < BUCKETS; b++) assert_int_equal(batches[b], (total[b] + batch_size - 1) / batch_size);
        assert_int_equal(e.places, sum);
        assert_int_equal(batches_count(fit, repeats, PICTURES, batch_size), e.count);
        batches_close(&e);
    }
}

/* The same seed and epoch give the same order; another seed or epoch another; the place of a picture does not depend on the batch size. */
static void the_order_is_named(void **state)
{
    (void)state;
    BucketFit fit[PICTURES];
    int       repeats[PICTURES], size;
    Batches   e, same, other[2], wide;
    sample_set(fit, repeats);
    assert_int_equal(batches_open(&e, fit, repeats, PICTURES, 4, 1, 1), 0);
    assert_int_equal(batches_open(&same, fit, repeats, PICTURES, 4, 1, 1), 0);
    assert_int_equal(batches_open(&other[0], fit, repeats, PICTURES, 4, 1, 2), 0);
    assert_int_equal(batches_open(&other[1], fit, repeats, PICTURES, 4, 2, 1), 0);
    assert_int_equal(batches_open(&wide, fit, repeats, PICTURES, 7, 1, 1), 0);
    size = e.places * (int)sizeof *e.picture;
    assert_memory_equal(e.picture, same.picture, (size_t)size);
    assert_memory_equal(e.batch, same.batch, (size_t)e.count * sizeof *e.batch);
    assert_memory_equal(e.picture, wide.picture, (size_t)size);
    for (int i = 0; i < 2; i++) {
        assert_memory_not_equal(e.picture, other[i].picture, (size_t)size);
        assert_memory_not_equal(e.batch, other[i].batch, (size_t)e.count * sizeof *e.batch);
        batches_close(&other[i]);
    }
    batches_close(&e), batches_close(&same), batches_close(&wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sizes_at_512),       cmocka_unit_test(the_range_follows_the_resolution),
                                        cmocka_unit_test(sizes_scale_with_the_step), cmocka_unit_test(published_fits),
                                        cmocka_unit_test(an_exact_size_wins), cmocka_unit_test(any_picture_fits),          cmocka_unit_test(refusals),
                                        cmocka_unit_test(an_epoch_is_a_permutation), cmocka_unit_test(the_order_is_named) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
