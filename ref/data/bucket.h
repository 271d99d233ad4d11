/* bucket.h - which size a picture is trained at, and which pictures share a batch.
 *
 * A bucket is one size (w,h); a picture is resized, keeping its shape, until it covers its bucket, and cut to it around the centre. The rules are
 * kohya's, with SD's step of 64 pixels made a number: it is the VAE's factor times 2^(levels - 1) of the U-Net, so that every level halves evenly.
 * Without buckets there is one, of the asked size. An epoch is an exact permutation of all repeats of all pictures. */
#ifndef DATA_BUCKET_H
#define DATA_BUCKET_H
#include <stdint.h>

typedef struct {
    int w, h;                                           /* the asked resolution: multiples of step unless `many` */
    int many;                                           /* 0: one bucket, (w,h).  1: many, of about w*h pixels */
    int no_upscale;                                     /* with many: a bucket for what the picture gives, never enlarged; min and max do not apply */
    int step;                                           /* sides of buckets are multiples of this */
    int min, max;                                       /* shortest, longest side; 0: half and twice sqrt(w h), and w and h: 256, 1024 at 512x512 */
} BucketRules;

typedef struct { int w, h; } BucketSize;

typedef struct {
    BucketRules rules;
    BucketSize *size;                                   /* sorted by w, then h; with no_upscale in order of arrival */
    int         count;
} Buckets;

/* How a picture is brought to its bucket: resized to (w,h), then cut at column x, row y. */
typedef struct { int bucket, w, h, x, y; } BucketFit;

int  buckets_open(Buckets *buckets, const BucketRules *rules);                              /* 0, or -1 and err(): which rule contradicts which */
int  buckets_fit(BucketFit *fit, Buckets *buckets, const char *name, int w, int h);         /* name is for the message: -1 and err() if too narrow */
void buckets_close(Buckets *buckets);

/* One epoch's batches, in the order to train them. A batch is `n` places from `first` in `picture`; its pictures share a bucket, and what is left over in a
 * bucket is a smaller batch. A place is a sample's number for random draws (noise, caption, timestep): unique in the epoch, the same for every batch size. */
typedef struct { int bucket, first, n; } Batch;

typedef struct {
    int   *picture;                                     /* places: for each, the index of its picture */
    Batch *batch;
    int    places, count;
} Batches;

/* How many batches an epoch has, fit and repeats being those of `pictures` pictures; every repeat at least 1. -1 and err(). */
int  batches_count(const BucketFit *fit, const int *repeats, int pictures, int batch_size);

/* The order is a function of (seed, epoch) alone: Rng (seed, RNG_ORDER, epoch, ...). 0, or -1 and err(). */
int  batches_open(Batches *batches, const BucketFit *fit, const int *repeats, int pictures, int batch_size, uint64_t seed, uint32_t epoch);
void batches_close(Batches *batches);
#endif
