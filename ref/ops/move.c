#include "base/err.h"
#include "base/rng.h"
#include "ops/ref.h"

/* ---- y = a op b, y = scale x, y = value ---- */

int NAME(copy)(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
    Spans  s = spans_of(y, is_dense(y) && is_dense(x));
    real   scale = (real)op->a.scale;
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        real       *to = span_at(s, y, i);
        const real *from = span_at(s, x, i);
        size_t      count = span_length(s, i);
        if (op->acc)
            for (size_t j = 0; j < count; j++) to[j] += scale * from[j];
        else
            for (size_t j = 0; j < count; j++) to[j] = scale * from[j];
    }
    return 0;
}

/* step 0: b is one number for the span. */
static inline void combine(real *y, const real *a, const real *b, size_t step, size_t count, int product)
{
    if (product)
        for (size_t j = 0; j < count; j++) y[j] = a[j] * b[j * step];
    else
        for (size_t j = 0; j < count; j++) y[j] = a[j] + b[j * step];
}

/* A dimension of b that is 1 is read again and again: the distance to its next element is 0. */
static int broadcast(const Op *op, int product)
{
    Tensor y = op->y[0], a = op->x[0], b = op->x[1];
    int    same = b.n == y.n && b.h == y.h && b.w == y.w && b.c == y.c;
    Spans  s = spans_of(y, same && is_dense(y) && is_dense(a) && is_dense(b));
    size_t to_n = b.n == 1 ? 0 : b.img, to_h = b.h == 1 ? 0 : (size_t)b.w * b.ld, to_w = b.w == 1 ? 0 : b.ld;
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        size_t      h = i / (size_t)y.w, n = h / (size_t)y.h, count = span_length(s, i);
        const real *from = s.dense ? span_at(s, b, i) : data(b) + n * to_n + h % (size_t)y.h * to_h + i % (size_t)y.w * to_w;
        if (b.c == y.c) combine(span_at(s, y, i), span_at(s, a, i), from, 1, count, product);
        else combine(span_at(s, y, i), span_at(s, a, i), from, 0, count, product);
    }
    return 0;
}

int NAME(add)(const Op *op) { return broadcast(op, 0); }
int NAME(mul)(const Op *op) { return broadcast(op, 1); }

int NAME(fill)(const Op *op)
{
    Tensor y = op->y[0];
    Spans  s = spans_of(y, is_dense(y));
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        real  *to = span_at(s, y, i);
        size_t count = span_length(s, i);
        for (size_t j = 0; j < count; j++) to[j] = (real)op->a.scale;
    }
    return 0;
}

/* ---- y = sum of x down its rows: chunks of rows, added in order ---- */

static Chunks chunks_to_sum(const Op *op) { return chunks_of(op->a.each ? area(op->x[0]) : row_count(op->x[0]), op->x[0].c); }

size_t NAME(sum_need)(const Op *op)
{
    size_t n = op->a.each ? (size_t)op->x[0].n : 1;
    return n * (1 + (size_t)chunks_to_sum(op).count) * (size_t)op->x[0].c * sizeof(double);
}

int NAME(sum)(const Op *op)
{
    Tensor  y = op->y[0], x = op->x[0];
    Chunks  chunks = chunks_to_sum(op);
    size_t  c = (size_t)x.c;
    int     n = op->a.each ? x.n : 1;
    double *sum = op->scratch, *part = sum + (size_t)n * c;
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (int t = 0; t < n * chunks.count; t++) {
        double *restrict s = part + (size_t)t * c;
        size_t first = (size_t)(t / chunks.count) * chunks.rows;
        memset(s, 0, c * sizeof *s);
        for (size_t r = first + chunk_from(chunks, t % chunks.count); r < first + chunk_end(chunks, t % chunks.count); r++) {
            const real *restrict from = row_at(x, r);
            for (size_t j = 0; j < c; j++) s[j] += (double)from[j];
        }
    }
    add_chunks(sum, part, n, chunks, c);
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t j = 0; j < c; j++) {
            real *to = row_at(y, i) + j;
            *to = (real)(op->acc ? (double)*to + sum[i * c + j] : sum[i * c + j]);
        }
    return 0;
}

/* ---- y[2p+a, 2q+b] = x[p,q] for a, b in {0,1}; dx[p,q] = sum of the four dy ---- */

int NAME(up2)(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
    size_t bytes = (size_t)x.c * sizeof(real);
#pragma omp parallel for schedule(static) if (tensor_count(y) > PARALLEL_FROM)
    for (int line = 0; line < y.n * y.h; line++)
        for (int q = 0; q < y.w; q++)
            memcpy(row_at(y, (size_t)line * (size_t)y.w + (size_t)q), row_at(x, (size_t)(line / 2) * (size_t)x.w + (size_t)(q / 2)), bytes);
    return 0;
}

int NAME(up2_dx)(const Op *op)
{
    Tensor dx = op->y[0], dy = op->x[0];
#pragma omp parallel for schedule(static) if (tensor_count(dy) > PARALLEL_FROM)
    for (int line = 0; line < dx.n * dx.h; line++)
        for (int q = 0; q < dx.w; q++) {
            real       *to = row_at(dx, (size_t)line * (size_t)dx.w + (size_t)q);
            const real *a = row_at(dy, (size_t)line * 2 * (size_t)dy.w + (size_t)q * 2), *b = a + dy.ld, *c = a + (size_t)dy.w * dy.ld, *d = c + dy.ld;
            for (int j = 0; j < dx.c; j++) {
                real sum = (a[j] + b[j]) + (c[j] + d[j]);
                to[j] = op->acc ? to[j] + sum : sum;
            }
        }
    return 0;
}

/* ---- y[t] = table[id[t]] + position[t]; dextra[j] = sum of dy[t] over the t whose id is base + j ---- */

static int id_at(Tensor ids, size_t row) { return ((const int32_t *)ids.p)[row / area(ids) * ids.img + row % area(ids) * ids.ld]; }

/* to += the row of t, whose type may be narrow. */
static void add_row(real *to, Tensor t, size_t row)
{
    enum { PIECE = 256 };
    real piece[PIECE];
    for (int j = 0, count; j < t.c; j += count) {
        count = t.c - j < PIECE ? t.c - j : PIECE;
        type_convert(T_REAL, piece, t.type, tensor_at(t, row * t.ld + (size_t)j), (size_t)count);
        for (int k = 0; k < count; k++) to[j + k] += piece[k];
    }
}

int NAME(embed)(const Op *op)
{
    Tensor y = op->y[0], ids = op->x[0], table = op->x[1], extra = op->x[2], position = op->x[3];
    int    known = table.n + (extra.p ? extra.n : 0);
    for (size_t r = 0; r < row_count(ids); r++)
        if (id_at(ids, r) < 0 || id_at(ids, r) >= known) return err("embed: ids: expected 0 to %d, found %d at %zu", known - 1, id_at(ids, r), r);
    for (size_t r = 0; r < row_count(y); r++) {
        int    id = id_at(ids, r);
        Tensor from = id < table.n ? tensor_images(table, id, 1) : tensor_images(extra, id - table.n, 1);
        type_convert(T_REAL, row_at(y, r), from.type, from.p, (size_t)y.c);
        if (position.p) add_row(row_at(y, r), position, r % area(y));
    }
    return 0;
}

int NAME(embed_dw)(const Op *op)
{
    Tensor dextra = op->y[0], dy = op->x[0], ids = op->x[1];
    for (int e = 0; e < dextra.n; e++) {
        real *to = row_at(dextra, (size_t)e);
        if (!op->acc) memset(to, 0, (size_t)dextra.c * sizeof *to);
        for (size_t r = 0; r < row_count(dy); r++)
            if (id_at(ids, r) == op->a.base + e)
                for (int j = 0; j < dy.c; j++) to[j] += row_at(dy, r)[j];
    }
    return 0;
}

/* ---- dropout ---- */

int NAME(dropout)(const Op *op)
{
    Tensor         y = op->y[0], x = op->x[0];
    double         kept = 1 - op->a.p;
    const uint32_t key[2] = { (uint32_t)op->a.key, (uint32_t)(op->a.key >> 32) };
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM / 4)
    for (size_t r = 0; r < row_count(x); r++) {
        real  *to = row_at(y, r), *from = row_at(x, r);
        size_t first = (op->a.each ? r / area(x) : r) * (size_t)x.c;
        for (size_t j = 0; j < (size_t)x.c; j++) {
            const uint32_t counter[4] = { (uint32_t)(first + j), (uint32_t)((first + j) >> 32), 0, 0 };
            uint32_t       word[4];
            philox4x32(word, counter, key);
            to[j] = (word[0] >> 8) * 0x1p-24 >= op->a.p ? (real)((double)from[j] / kept) : 0;
        }
    }
    return 0;
}
