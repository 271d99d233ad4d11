#include "data/resample.h"
#include "base/err.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- area ----
 * Output pixel d covers the source interval [d scale, (d + 1) scale): whole pixels and a part of one at either end. Sums are float in source order and
 * the result is rounded half to even, as OpenCV does it; parts below 1/1000 of a pixel are left out. Two of its special cases show in the bytes: whole
 * scales sum integers, and 2 x 2 rounds half up. */

typedef struct {
    int    first, count;                                /* source pixels of one output pixel */
    float *weight;
} Span;

static uint8_t round_u8(float x)
{
    float y = rintf(x);
    return (uint8_t)(y < 0 ? 0 : y > 255 ? 255 : y);
}

/* Spans of n output pixels over `source` ones; the weights follow the spans in one allocation, which the caller frees. */
static Span *area_spans(int n, int source)
{
    double scale = (double)source / n;
    size_t widest = (size_t)ceil(scale) + 2;
    Span  *spans = malloc((size_t)n * (sizeof *spans + widest * sizeof(float)));
    if (!spans) return NULL;
    float *weight = (float *)(spans + n);
    for (int d = 0; d < n; d++) {
        double begin = d * scale, end = begin + scale, cell = fmin(scale, source - begin);
        int    from = (int)ceil(begin), to = (int)floor(end); /* whole pixels: from .. to-1 */
        if (to > source - 1) to = source - 1;
        if (from > to) from = to;
        Span *s = spans + d;
        *s = (Span){ from, 0, weight };
        if (from - begin > 1e-3) s->first--, weight[s->count++] = (float)((from - begin) / cell);
        for (int k = from; k < to; k++) weight[s->count++] = (float)(1 / cell);
        if (end - to > 1e-3) weight[s->count++] = (float)(fmin(fmin(end - to, 1), cell) / cell);
        weight += widest;
    }
    return spans;
}

static void area_fractional(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, const Span *columns, const Span *rows)
{
#pragma omp parallel for
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *q = dst + ((size_t)y * (size_t)w + (size_t)x) * 3;
            float    sum[3] = { 0 };
            for (int j = 0; j < rows[y].count; j++) {
                const uint8_t *p = src + ((size_t)(rows[y].first + j) * (size_t)src_w + (size_t)columns[x].first) * 3;
                float          row[3] = { 0 };
                for (int i = 0; i < columns[x].count; i++, p += 3)
                    for (int c = 0; c < 3; c++) row[c] += p[c] * columns[x].weight[i];
                for (int c = 0; c < 3; c++) sum[c] += row[c] * rows[y].weight[j];
            }
            for (int c = 0; c < 3; c++) *q++ = round_u8(sum[c]);
        }
}

static void area_whole(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int across, int down)
{
    float share = 1.0f / (float)(across * down);
#pragma omp parallel for
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *q = dst + ((size_t)y * (size_t)w + (size_t)x) * 3;
            int      sum[3] = { 0 };
            for (int j = 0; j < down; j++) {
                const uint8_t *p = src + (((size_t)y * (size_t)down + (size_t)j) * (size_t)src_w + (size_t)x * (size_t)across) * 3;
                for (int i = 0; i < across; i++, p += 3)
                    for (int c = 0; c < 3; c++) sum[c] += p[c];
            }
            for (int c = 0; c < 3; c++)
                *q++ = across == 2 && down == 2 ? (uint8_t)((sum[c] + 2) >> 2) : round_u8((float)sum[c] * share);
        }
}

int resample_area(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int src_h)
{
    CHECK(0 < w && w <= src_w && 0 < h && h <= src_h, "area from %dx%d to %dx%d", src_w, src_h, w, h);
    if (src_w % w == 0 && src_h % h == 0) return area_whole(dst, w, h, src, src_w, src_w / w, src_h / h), 0;

    Span *columns = area_spans(w, src_w), *rows = area_spans(h, src_h);
    int   status = columns && rows ? 0 : err("resample: no memory for %dx%d", w, h);
    if (!status) area_fractional(dst, w, h, src, src_w, columns, rows);
    free(columns), free(rows);
    return status;
}

/* ---- Lanczos ---- */

enum { LOBES = 3, FIXED = 22 };                         /* FIXED: bits after the point; 8 for the pixel and 2 spare make 32 */

typedef struct {
    int      first, count;
    int32_t *weight;
} Taps;

/* L(x) = sinc(x) sinc(x/3) inside three lobes (Turkowski 1990). */
static double sinc(double x) { return x == 0 ? 1 : sin(x * M_PI) / (x * M_PI); }
static double lanczos(double x) { return -LOBES <= x && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0; }

/* Taps of n output pixels over `source` ones: L around the output's centre, stretched by the scale when shrinking, normalised to 1 and rounded. */
static Taps *lanczos_taps(int n, int source)
{
    double scale = (double)source / n, stretch = fmax(scale, 1), support = LOBES * stretch;
    size_t widest = (size_t)ceil(support) * 2 + 1;
    Taps  *taps = malloc((size_t)n * (sizeof *taps + widest * sizeof(int32_t)));
    double *w = malloc(widest * sizeof *w);
    if (!taps || !w) return free(taps), free(w), NULL;
    int32_t *weight = (int32_t *)(taps + n);
    for (int d = 0; d < n; d++, weight += widest) {
        double centre = (d + 0.5) * scale, sum = 0;
        int    first = (int)fmax(centre - support + 0.5, 0), end = (int)fmin(centre + support + 0.5, source);
        for (int k = first; k < end; k++) sum += w[k - first] = lanczos((k - centre + 0.5) * (1 / stretch));
        for (int k = 0; k < end - first; k++) weight[k] = (int32_t)round(w[k] / sum * (1 << FIXED));
        taps[d] = (Taps){ first, end - first, weight };
    }
    free(w);
    return taps;
}

/* One axis: `lines` independent lines of n output pixels; `along` and `across` are strides in bytes from pixel to pixel and from line to line. */
typedef struct { size_t along, across; } Strides;

static void lanczos_pass(uint8_t *dst, Strides to, const uint8_t *src, Strides from, int lines, int n, const Taps *taps)
{
#pragma omp parallel for
    for (int line = 0; line < lines; line++)
        for (int d = 0; d < n; d++) {
            const uint8_t *p = src + (size_t)line * from.across + (size_t)taps[d].first * from.along;
            int32_t        sum[3] = { 1 << (FIXED - 1), 1 << (FIXED - 1), 1 << (FIXED - 1) };
            for (int k = 0; k < taps[d].count; k++, p += from.along)
                for (int c = 0; c < 3; c++) sum[c] += p[c] * taps[d].weight[k];
            uint8_t *q = dst + (size_t)line * to.across + (size_t)d * to.along;
            for (int c = 0; c < 3; c++) {
                int32_t v = sum[c] >> FIXED;
                q[c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
}

/* Along rows first, then down the columns of that 8-bit picture. An axis that keeps its size has the single tap 1 and is a copy. */
int resample_lanczos(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int src_h)
{
    CHECK(w > 0 && h > 0 && src_w > 0 && src_h > 0, "Lanczos from %dx%d to %dx%d", src_w, src_h, w, h);
    const size_t row = (size_t)w * 3, src_row = (size_t)src_w * 3;
    Taps    *columns = lanczos_taps(w, src_w), *rows = lanczos_taps(h, src_h);
    uint8_t *middle = malloc(row * (size_t)src_h);
    int      status = columns && rows && middle ? 0 : err("resample: no memory for %dx%d", w, h);
    if (!status) {
        lanczos_pass(middle, (Strides){ 3, row }, src, (Strides){ 3, src_row }, src_h, w, columns);
        lanczos_pass(dst, (Strides){ row, 3 }, middle, (Strides){ row, 3 }, w, h, rows);
    }
    free(columns), free(rows), free(middle);
    return status;
}

/* ---- both ---- */

int resample(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int src_h)
{
    return (w <= src_w && h <= src_h ? resample_area : resample_lanczos)(dst, w, h, src, src_w, src_h);
}

void resample_crop(uint8_t *dst, int w, int h, const uint8_t *src, int src_w, int src_h, int x, int y)
{
    CHECK(x >= 0 && y >= 0 && w <= src_w - x && h <= src_h - y, "%dx%d at (%d,%d) of %dx%d", w, h, x, y, src_w, src_h);
    for (int i = 0; i < h; i++) memcpy(dst + (size_t)i * (size_t)w * 3, src + ((size_t)(y + i) * (size_t)src_w + (size_t)x) * 3, (size_t)w * 3);
}
