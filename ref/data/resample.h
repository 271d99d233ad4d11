/* resample.h - the two filters that training pictures meet, equal to the byte to the libraries that the field's trainers call.
 *
 * area     each output pixel is the mean of the source rectangle it covers, as OpenCV's INTER_AREA; only for shrinking (or equal) on both axes.
 * lanczos  windowed sinc with three lobes, stretched when shrinking, in 22-bit fixed point, first along rows, then along columns, as PIL's LANCZOS up to
 *          version 12; PIL 13 begins with the columns where that is cheaper, which moves last bits.
 *
 * Pictures are RGB, 8 bits a channel, rows without padding: (h,w,3). dst and src do not overlap; the caller owns both. Results do not depend on the
 * number of threads. Functions that return int need scratch memory: 0, or -1 and err() when there is none. */
#ifndef DATA_RESAMPLE_H
#define DATA_RESAMPLE_H
#include <stdint.h>

int resample_area(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int src_h);
int resample_lanczos(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int src_h);

/* kohya's choice: area where both axes shrink or stay, else Lanczos. */
int resample(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int src_h);

/* dst (h,w,3) = the rectangle of src at column x, row y. */
void resample_crop(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int src_h, int x, int y);
#endif
