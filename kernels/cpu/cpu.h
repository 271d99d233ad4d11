/* cpu.h - the CPU set from within: its entries, and how they share out work.
 *
 * Threads: each loop goes over tasks whose number and size follow from shapes alone, each is computed by one thread, and no sum crosses tasks but in a fixed
 * order; so results have the same bits with any number of threads. Each op has run() -> 0, or -1 and err(); those that need scratch have need() -> bytes.
 * Shapes have been through op_check; activations are f32. */
#ifndef CPU_CPU_H
#define CPU_CPU_H
#include "entry.h"
#include "isa.h"

extern const Entry NAME(cpu_table)[OP_COUNT];

#define RUN(stem)  int NAME(stem)(const Op *op)
#define NEED(stem) size_t NAME(stem##_need)(const Op *op)
RUN(linear); RUN(linear_dx); RUN(linear_dw);
RUN(conv); RUN(conv_dx); RUN(conv_dw);
RUN(conv_transform); RUN(conv_dx_transform); RUN(conv_plain); RUN(conv_dx_plain); NEED(conv_plain); NEED(conv_dx_plain);
RUN(norm); RUN(norm_dx); RUN(norm_dw);
RUN(attn); RUN(attn_dx);
RUN(act); RUN(act_dx); RUN(geglu); RUN(geglu_dx);
RUN(sum); RUN(up2); RUN(up2_dx); RUN(embed); RUN(embed_dw); RUN(copy); RUN(add); RUN(mul); RUN(dropout); RUN(fill);
RUN(loss);
RUN(sumsq); RUN(update);
NEED(linear); NEED(linear_dx); NEED(linear_dw); NEED(conv); NEED(conv_dx); NEED(conv_dw);
NEED(norm); NEED(norm_dx); NEED(norm_dw); NEED(attn); NEED(attn_dx); NEED(sum); NEED(sumsq);

/* Less is done sooner than a second thread is woken: elements of a loop, products of a sum. Which loops share threads changes no bit. */
enum { PARALLEL_FROM = 1 << 14, PARALLEL_PRODUCTS = 1 << 17 };

/* ---- rows ---- */

static inline size_t area(Tensor t) { return (size_t)t.h * (size_t)t.w; }
static inline size_t row_count(Tensor t) { return (size_t)t.n * area(t); }
static inline float *row_at(Tensor t, size_t row) { return (float *)t.p + row / area(t) * t.img + row % area(t) * t.ld; }
static inline float *data(Tensor t) { return t.p; }

static inline int    smaller(int a, int b) { return a < b ? a : b; }
static inline size_t at_most(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t at_least(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t parts_of(size_t count, size_t each) { return (count + each - 1) / each; }

/* ---- sharing out ---- */

/* `rows` rows of c channels in chunks of about 16k elements, at most 64: chunk i is rows chunk_from(i) to chunk_end(i). */
typedef struct {
    size_t rows, each;
    int    count;
} Chunks;
static inline Chunks chunks_of(size_t rows, int c)
{
    size_t each = at_least(at_least(16384 / (size_t)c, 16), parts_of(rows, 64));
    return (Chunks){ rows, each, (int)parts_of(rows, each) };
}
static inline size_t chunk_from(Chunks chunks, int i) { return chunks.each * (size_t)i; }
static inline size_t chunk_end(Chunks chunks, int i) { return at_most(chunks.each * (size_t)(i + 1), chunks.rows); }

/* Elementwise work on tensors of one shape: spans of contiguous elements, a row each, or, where every tensor is without gaps, 4096 elements. */
typedef struct {
    size_t count, length, spans;
    int    dense;
} Spans;
static inline int is_dense(Tensor t) { return !t.p || (t.ld == (size_t)t.c && tensor_is_matrix(t)); }
static inline Spans spans_of(Tensor t, int dense)
{
    size_t count = tensor_count(t), length = dense ? 4096 : (size_t)t.c;
    return (Spans){ count, length, parts_of(count, length), dense };
}
static inline float *span_at(Spans s, Tensor t, size_t i) { return s.dense ? (float *)t.p + i * s.length : row_at(t, i); }
static inline int    span_length(Spans s, size_t i) { return (int)at_most(s.count - i * s.length, s.length); }
#endif
