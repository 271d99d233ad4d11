#include "data/bucket.h"
#include "base/err.h"
#include "base/rng.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_SIDE = 16384 };                          /* of a resized picture */

/* ---- buckets ---- */

static int floor_to(double x, int step) { return (int)(x / step) * step; }
static int smaller(int a, int b) { return a < b ? a : b; }
static int larger(int a, int b) { return a > b ? a : b; }

/* The index of (w,h), appended if it is new; -1 and err(). */
static int bucket_of(Buckets *b, int w, int h)
{
    for (int i = 0; i < b->count; i++)
        if (b->size[i].w == w && b->size[i].h == h) return i;
    BucketSize *size = realloc(b->size, ((size_t)b->count + 1) * sizeof *size);
    if (!size) return err("buckets: no memory for %d sizes", b->count + 1);
    b->size = size;
    size[b->count] = (BucketSize){ w, h };
    return b->count++;
}

static int by_size(const void *a, const void *b)
{
    const BucketSize *x = a, *y = b;
    return x->w != y->w ? x->w - y->w : x->h - y->h;
}

static int rules_check(BucketRules *r)
{
    CHECK(r->step > 0, "step %d", r->step);
    if (r->w < r->step || r->h < r->step || r->w > LONGEST_SIDE || r->h > LONGEST_SIDE)
        return err("resolution: expected sides from %d to %d, found %dx%d", r->step, LONGEST_SIDE, r->w, r->h);
    if (!r->many) {
        if (r->w % r->step || r->h % r->step) return err("resolution: expected multiples of %d, found %dx%d", r->step, r->w, r->h);
        return 0;
    }
    if (r->min < 0 || r->max < 0 || r->max > LONGEST_SIDE)
        return err("min_bucket_reso, max_bucket_reso: expected 0 to %d, found %d and %d", LONGEST_SIDE, r->min, r->max);
    int    shorter = smaller(r->w, r->h), longer = larger(r->w, r->h);
    double side = sqrt((double)r->w * r->h);            /* of the square of as many pixels */
    if (!r->min) r->min = smaller(larger((int)(side / 2), r->step), shorter);
    if (!r->max) r->max = larger((int)ceil(2 * side), longer);
    r->min = floor_to(r->min, r->step);
    r->max = floor_to(r->max + r->step - 1, r->step);
    if (r->min < r->step) return err("min_bucket_reso: expected %d or more", r->step);
    if (r->min > shorter || r->max < longer)
        return err("min_bucket_reso, max_bucket_reso: %d to %d does not hold the resolution %dx%d", r->min, r->max, r->w, r->h);
    return 0;
}

/* All sizes whose sides are multiples of step in min..max and whose area is just below w*h, upright and lying, and the largest square. */
static int buckets_list(Buckets *b)
{
    const BucketRules *r = &b->rules;
    int area = r->w * r->h, square = floor_to(sqrt(area), r->step);
    if (bucket_of(b, square, square) < 0) return -1;
    for (int w = r->min; w <= r->max; w += r->step) {
        int h = smaller(r->max, area / w / r->step * r->step);
        if (h >= r->min && (bucket_of(b, w, h) < 0 || bucket_of(b, h, w) < 0)) return -1;
    }
    qsort(b->size, (size_t)b->count, sizeof *b->size, by_size);
    return 0;
}

int buckets_open(Buckets *buckets, const BucketRules *rules)
{
    *buckets = (Buckets){ .rules = *rules };
    int status = rules_check(&buckets->rules);
    if (!status && !rules->many) status = smaller(bucket_of(buckets, rules->w, rules->h), 0);
    if (!status && rules->many && !rules->no_upscale) status = buckets_list(buckets);
    if (status) buckets_close(buckets);
    return status;
}

void buckets_close(Buckets *buckets)
{
    free(buckets->size);
    *buckets = (Buckets){ 0 };
}

/* ---- a picture and its bucket ---- */

/* The bucket of exactly this size, else the one whose w/h is nearest, the first of equals. */
static int bucket_nearest(const Buckets *b, int w, int h)
{
    double shape = (double)w / h, nearest = INFINITY;
    int    found = 0;
    for (int i = 0; i < b->count; i++) {
        double distance = fabs((double)b->size[i].w / b->size[i].h - shape);
        if (b->size[i].w == w && b->size[i].h == h) return i;
        if (distance < nearest) nearest = distance, found = i;
    }
    return found;
}

/* Scaled, up or down, until one side equals the bucket's and the other is as long or longer. */
static void fit_cover(double *w, double *h, BucketSize bucket, int image_w, int image_h)
{
    double shape = (double)image_w / image_h, bucket_shape = (double)bucket.w / bucket.h;
    double scale = shape > bucket_shape ? (double)bucket.h / image_h : (double)bucket.w / image_w;
    *w = floor(image_w * scale + 0.5), *h = floor(image_h * scale + 0.5);
}

/* Never enlarged. A picture of more than the asked area is scaled down to it, with one side, the one that keeps w/h of the bucket nearer, a multiple of step.
 * Where the other side of a candidate vanishes its shape is infinitely far. */
static void fit_within(double *w, double *h, const BucketRules *r, int image_w, int image_h)
{
    double area = (double)r->w * r->h, shape = (double)image_w / image_h;
    *w = image_w, *h = image_h;
    if ((double)image_w * image_h <= area) return;
    double ideal_w = sqrt(area * shape), ideal_h = area / ideal_w;
    int    w1 = floor_to(floor(ideal_w + 0.5), r->step), h1 = floor_to(floor(w1 / shape + 0.5), r->step);
    int    h2 = floor_to(floor(ideal_h + 0.5), r->step), w2 = floor_to(floor(h2 * shape + 0.5), r->step);
    double off1 = h1 ? fabs((double)w1 / h1 - shape) : INFINITY, off2 = h2 ? fabs((double)w2 / h2 - shape) : INFINITY;
    if (off1 < off2) *w = w1, *h = floor(w1 / shape + 0.5);
    else *w = floor(h2 * shape + 0.5), *h = h2;
}

int buckets_fit(BucketFit *fit, Buckets *buckets, const char *name, int w, int h)
{
    const BucketRules *r = &buckets->rules;
    const int          within = r->many && r->no_upscale;
    double             new_w, new_h;
    CHECK(w > 0 && h > 0, "%s is %dx%d", name, w, h);
    int bucket = within ? -1 : bucket_nearest(buckets, w, h);
    if (within) fit_within(&new_w, &new_h, r, w, h);
    else fit_cover(&new_w, &new_h, buckets->size[bucket], w, h);

    if (new_w < r->step || new_h < r->step)
        return err("%s: %dx%d leaves a side shorter than %d; enlarge it, or leave out bucket_no_upscale", name, w, h, r->step);
    if (new_w > LONGEST_SIDE || new_h > LONGEST_SIDE) return err("%s: %dx%d is too narrow to train on; crop it", name, w, h);
    if (within) bucket = bucket_of(buckets, floor_to(new_w, r->step), floor_to(new_h, r->step));
    if (bucket < 0) return -1;
    BucketSize size = buckets->size[bucket];
    *fit = (BucketFit){ bucket, (int)new_w, (int)new_h, ((int)new_w - size.w) / 2, ((int)new_h - size.h) / 2 };
    CHECK(fit->x >= 0 && fit->y >= 0, "%s: %dx%d does not cover %dx%d", name, fit->w, fit->h, size.w, size.h);
    return 0;
}

/* ---- batches ---- */

/* begin[b] .. begin[b + 1]: the places of bucket b; malloc'd, NULL and err(). */
static int *bucket_places(int *buckets, const BucketFit *fit, const int *repeats, int pictures)
{
    *buckets = 0;
    for (int i = 0; i < pictures; i++) *buckets = larger(*buckets, fit[i].bucket + 1);
    int *begin = calloc((size_t)*buckets + 1, sizeof *begin), total = 0;
    if (!begin) return err("batches: no memory for %d buckets", *buckets), NULL;
    for (int i = 0; i < pictures; i++) {
        CHECK(repeats[i] > 0, "picture %d has %d repeats", i, repeats[i]);
        if (repeats[i] > INT_MAX - total) return free(begin), err("repeats: an epoch of more than %d pictures", INT_MAX), NULL;
        total += repeats[i];
        begin[fit[i].bucket + 1] += repeats[i];
    }
    for (int b = 0; b < *buckets; b++) begin[b + 1] += begin[b];
    return begin;
}

static int batches_of(const int *begin, int buckets, int batch_size)
{
    int count = 0;
    for (int b = 0; b < buckets; b++) count += (begin[b + 1] - begin[b]) / batch_size + ((begin[b + 1] - begin[b]) % batch_size > 0);
    return count;
}

int batches_count(const BucketFit *fit, const int *repeats, int pictures, int batch_size)
{
    int  buckets, *begin = bucket_places(&buckets, fit, repeats, pictures);
    int  count = begin ? batches_of(begin, buckets, batch_size) : -1;
    free(begin);
    return count;
}

/* Each bucket's pictures in random order, cut into batches; the batches in random order. Streams: b + 1 for the inside of bucket b, 0 for the batches. */
static void batches_fill(Batches *e, const int *begin, int buckets, int *slot, int batch_size, uint64_t seed, uint32_t epoch)
{
    Rng rng = rng_open(seed, RNG_ORDER, epoch, 0);
    for (int k = 0; k < e->count; k++) slot[k] = k;
    rng_shuffle(&rng, slot, e->count);
    for (int b = 0, k = 0; b < buckets; b++) {
        rng = rng_open(seed, RNG_ORDER, epoch, (uint32_t)b + 1);
        rng_shuffle(&rng, e->picture + begin[b], begin[b + 1] - begin[b]);
        for (int first = begin[b]; first < begin[b + 1]; first += smaller(batch_size, begin[b + 1] - first))
            e->batch[slot[k++]] = (Batch){ b, first, smaller(batch_size, begin[b + 1] - first) };
    }
}

int batches_open(Batches *batches, const BucketFit *fit, const int *repeats, int pictures, int batch_size, uint64_t seed, uint32_t epoch)
{
    CHECK(pictures > 0 && batch_size > 0, "%d pictures in batches of %d", pictures, batch_size);
    *batches = (Batches){ 0 };
    int buckets, *begin = bucket_places(&buckets, fit, repeats, pictures);
    if (!begin) return -1;
    batches->places = begin[buckets], batches->count = batches_of(begin, buckets, batch_size);
    batches->picture = malloc((size_t)batches->places * sizeof *batches->picture);
    batches->batch = malloc((size_t)batches->count * sizeof *batches->batch);
    int *next = malloc((size_t)buckets * sizeof *next), *slot = malloc((size_t)batches->count * sizeof *slot);
    int  status = batches->picture && batches->batch && next && slot ? 0 : err("batches: no memory for %d samples", batches->places);
    if (!status) {
        memcpy(next, begin, (size_t)buckets * sizeof *next);
        for (int i = 0; i < pictures; i++)
            for (int k = 0; k < repeats[i]; k++) batches->picture[next[fit[i].bucket]++] = i;
        batches_fill(batches, begin, buckets, slot, batch_size, seed, epoch);
    }
    free(begin), free(next), free(slot);
    if (status) batches_close(batches);
    return status;
}

void batches_close(Batches *batches)
{
    free(batches->picture), free(batches->batch);
    *batches = (Batches){ 0 };
}
