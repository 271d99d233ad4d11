/* ref.h - the reference set from within: its functions, and how they share out work.
 *
 * Threads: each loop goes over tiles, chunks or spans whose number and size follow from shapes alone, each is computed by one thread, and no sum crosses
 * them but in a fixed order; so results have the same bits with any number of threads. Each op has run() -> 0, or -1 and err(); those that need scratch have
 * need() -> bytes. Shapes have been through op_check. */
#ifndef OPS_REF_H
#define OPS_REF_H
#include "ops/gemm.h"
#include "ops/ops.h"
#include "ops/real.h"

#define RUN(stem)  int NAME(stem)(const Op *op)
#define NEED(stem) size_t NAME(stem##_need)(const Op *op)
RUN(linear); RUN(linear_dx); RUN(linear_dw);
RUN(conv); RUN(conv_dx); RUN(conv_dw);
RUN(norm); RUN(norm_dx); RUN(norm_dw);
RUN(attn); RUN(attn_dx);
RUN(act); RUN(act_dx); RUN(geglu); RUN(geglu_dx);
RUN(sum); RUN(up2); RUN(up2_dx); RUN(embed); RUN(embed_dw); RUN(copy); RUN(add); RUN(mul); RUN(dropout); RUN(fill);
RUN(loss);
RUN(sumsq); RUN(update);
NEED(linear); NEED(linear_dx); NEED(linear_dw); NEED(conv); NEED(conv_dx); NEED(conv_dw);
NEED(norm); NEED(norm_dx); NEED(norm_dw); NEED(attn); NEED(attn_dx); NEED(sum); NEED(sumsq);

/* Less is done sooner than a second thread is woken: elements of a loop, products of a GEMM. Which loops share threads changes no bit. */
enum { PARALLEL_FROM = 1 << 14, PARALLEL_PRODUCTS = 1 << 18 };

/* ---- rows ---- */

static inline size_t row_count(Tensor t) { return (size_t)t.n * (size_t)t.h * (size_t)t.w; }
static inline size_t area(Tensor t) { return (size_t)t.h * (size_t)t.w; }

/* The channels at `row`, counted through n, h and w. */
static inline real *row_at(Tensor t, size_t row) { return (real *)t.p + row / area(t) * t.img + row % area(t) * t.ld; }
static inline real *data(Tensor t) { return t.p; }

/* A weight as a dense matrix of reals: itself, or, where it is kept narrow, widened into widened_bytes() of scratch. By pieces of a row: each is read once. */
static inline size_t widened_bytes(Tensor w) { return w.type == T_REAL ? 0 : tensor_count(w) * sizeof(real); }
Tensor NAME(widened)(Tensor w, void *scratch);

/* SiLU z s(z) and its slope s + z s (1-s), s(z) = 1 / (1 + e^-z). */
static inline real logistic(real z) { return 1 / (1 + EXP(-z)); }
static inline real silu(real z) { return z * logistic(z); }
static inline real silu_slope(real z)
{
    real s = logistic(z);
    return s * (1 + z * (1 - s));
}

/* Sums in double of x, of (x - mid)^2 and of a b: LANES partial sums side by side, so that they become vector code in one fixed order. */
enum { LANES = 8 };
#define SUM_OF(term)                                                                                                                                           \
    double lane[LANES] = { 0 }, sum = 0;                                                                                                                       \
    int    i = 0;                                                                                                                                              \
    for (; i + LANES <= count; i += LANES)                                                                                                                     \
        for (int l = 0, j = i; l < LANES; l++, j++) lane[l] += (term);                                                                                         \
    for (int j = i; j < count; j++) sum += (term);                                                                                                             \
    for (int l = 0; l < LANES; l++) sum += lane[l];                                                                                                            \
    return sum
static inline double sum_of(const real *x, int count) { SUM_OF((double)x[j]); }
static inline double sum_of_squares(const real *x, double mid, int count) { SUM_OF(((double)x[j] - mid) * ((double)x[j] - mid)); }
static inline double dot(const real *a, const real *b, int count) { SUM_OF((double)a[j] * (double)b[j]); }
#undef SUM_OF

/* ---- products over tiles ---- */

/* y = scale a b, rows `first` to first + rows of op->y[0], plus all that is added inside the same rounding: y itself (op->acc), bias, row, res of the op,
 * and the segments, NULL: none. a (rows,k); b (k,c), or, bt, (c,k). */
typedef struct {
    const Op   *op;
    const Seg  *seg;
    size_t      first, rows;
    int         k, bt;
    const real *a, *b;
    size_t      lda, ldb;
    real        scale;
} Product;
void NAME(product)(const Product *p);

/* y (m,n) = scale a^T b + beta y, summed over the rows of a (rows,m) and b (rows,n). scratch: product_dw_need() bytes. */
typedef struct {
    real       *y;
    const real *a, *b;
    size_t      ldy, lda, ldb, rows;
    int         m, n;
    real        scale, beta;
    real       *scratch;
} ProductDw;
void   NAME(product_dw)(const ProductDw *p);
size_t NAME(product_dw_need)(int m, int n, size_t rows);

/* ---- sharing out ---- */

/* `rows` rows of c channels in chunks of about 16k elements, at most 64: chunk i is rows chunk_from(i) to chunk_end(i). */
typedef struct {
    size_t rows, each;
    int    count;
} Chunks;
static inline Chunks chunks_of(size_t rows, int c)
{
    size_t each = c < 1024 ? 16384 / (size_t)c : 16, most = (rows + 63) / 64;
    if (each < most) each = most;
    return (Chunks){ rows, each, (int)((rows + each - 1) / each) };
}
static inline size_t chunk_from(Chunks chunks, int i) { return chunks.each * (size_t)i; }
static inline size_t chunk_end(Chunks chunks, int i) { return i + 1 < chunks.count ? chunks.each * (size_t)(i + 1) : chunks.rows; }

/* sum (n,c) = part (n,chunks,c), chunks added in order. */
static inline void add_chunks(double *sum, const double *part, int n, Chunks chunks, size_t c)
{
    for (size_t i = 0; i < (size_t)n; i++, part += (size_t)chunks.count * c)
        for (size_t j = 0; j < c; j++) {
            double s = 0;
            for (size_t chunk = 0; chunk < (size_t)chunks.count; chunk++) s += part[chunk * c + j];
            sum[i * c + j] = s;
        }
}

/* Elementwise work on tensors of one shape: spans of contiguous elements, a row each, or, where every tensor is without gaps, 4096 elements. */
typedef struct {
    size_t count, length, spans;
    int    dense;
} Spans;
static inline int is_dense(Tensor t) { return !t.p || (t.ld == (size_t)t.c && tensor_is_matrix(t)); }
static inline Spans spans_of(Tensor t, int dense)
{
    size_t count = tensor_count(t), length = dense ? 4096 : (size_t)t.c;
    return (Spans){ count, length, (count + length - 1) / length, dense };
}
static inline real *span_at(Spans s, Tensor t, size_t i) { return s.dense ? (real *)t.p + i * s.length : row_at(t, i); }
static inline size_t span_length(Spans s, size_t i) { return s.count - i * s.length < s.length ? s.count - i * s.length : s.length; }
#endif
