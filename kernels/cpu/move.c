#include "base/err.h"
#include "base/rng.h"
#include "cpu.h"
#include "vec.h"

/* ---- y = a op b, y = scale x, y = value ---- */

int NAME(copy)(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
    Spans  s = spans_of(y, is_dense(y) && is_dense(x));
    float  scale = (float)op->a.scale;
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        float *to = span_at(s, y, i), *from = span_at(s, x, i);
        int    count = span_length(s, i);
        for (int j = 0; j < count; j += W) {
            int n = smaller(W, count - j);
            V   value = take(from + j, n) * scale;
            put(to + j, op->acc ? take(to + j, n) + value : value, n);
        }
    }
    return 0;
}

/* b: one number for the span where `one`. */
INLINE void combine(float *y, const float *a, const float *b, int one, int count, int product)
{
    for (int j = 0; j < count; j += W) {
        int n = smaller(W, count - j);
        V   from = take(a + j, n), with = one ? splat(*b) : take(b + j, n);
        put(y + j, product ? from * with : from + with, n);
    }
}

/* A dimension of b that is 1 is read again and again: the distance to its next element is 0. */
INLINE int broadcast(const Op *op, int product)
{
    Tensor y = op->y[0], a = op->x[0], b = op->x[1];
    int    same = b.n == y.n && b.h == y.h && b.w == y.w && b.c == y.c;
    Spans  s = spans_of(y, same && is_dense(y) && is_dense(a) && is_dense(b));
    size_t to_n = b.n == 1 ? 0 : b.img, to_h = b.h == 1 ? 0 : (size_t)b.w * b.ld, to_w = b.w == 1 ? 0 : b.ld;
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++) {
        size_t       h = i / (size_t)y.w, n = h / (size_t)y.h;
        const float *from = s.dense ? span_at(s, b, i) : data(b) + n * to_n + h % (size_t)y.h * to_h + i % (size_t)y.w * to_w;
        combine(span_at(s, y, i), span_at(s, a, i), from, b.c != y.c, span_length(s, i), product);
    }
    return 0;
}

int NAME(add)(const Op *op) { return broadcast(op, 0); }
int NAME(mul)(const Op *op) { return broadcast(op, 1); }

int NAME(fill)(const Op *op)
{
    Tensor y = op->y[0];
    Spans  s = spans_of(y, is_dense(y));
    V      value = splat((float)op->a.scale);
#pragma omp parallel for schedule(static) if (s.count > PARALLEL_FROM)
    for (size_t i = 0; i < s.spans; i++)
        for (int j = 0, count = span_length(s, i); j < count; j += W) put(span_at(s, y, i) + j, value, smaller(W, count - j));
    return 0;
}

/* ---- y = sum of x down its rows: chunks of rows, added in order ---- */

static Chunks chunks_to_sum(const Op *op) { return chunks_of(op->a.each ? area(op->x[0]) : row_count(op->x[0]), op->x[0].c); }

size_t NAME(sum_need)(const Op *op)
{
    return (size_t)(op->a.each ? op->x[0].n : 1) * (size_t)chunks_to_sum(op).count * (size_t)op->x[0].c * sizeof(double);
}

/* to (c) = the sum of rows first.. end of x: floats for 64 rows, then doubles. */
static void sum_chunk(double *to, Tensor x, size_t first, size_t end)
{
    for (int c = 0; c < x.c; c++) to[c] = 0;
    for (size_t r0 = first; r0 < end; r0 += 64)
        for (int c = 0; c < x.c; c += W) {
            int n = smaller(W, x.c - c);
            V   s = { 0 };
            for (size_t r = r0; r < at_most(r0 + 64, end); r++) s += take(row_at(x, r) + c, n);
            for (int j = 0; j < n; j++) to[c + j] += (double)s[j];
        }
}

int NAME(sum)(const Op *op)
{
    Tensor  y = op->y[0], x = op->x[0];
    Chunks  chunks = chunks_to_sum(op);
    size_t  c = (size_t)x.c;
    int     images = op->a.each ? x.n : 1;
    double *part = op->scratch;
#pragma omp parallel for schedule(static) if (tensor_count(x) > PARALLEL_FROM)
    for (int t = 0; t < images * chunks.count; t++) {
        size_t first = (size_t)(t / chunks.count) * chunks.rows;
        sum_chunk(part + (size_t)t * c, x, first + chunk_from(chunks, t % chunks.count), first + chunk_end(chunks, t % chunks.count));
    }
    for (size_t i = 0; i < (size_t)images; i++)
        for (size_t j = 0; j < c; j++) {
            float *to = row_at(y, i) + j;
            double s = op->acc ? (double)*to : 0;
            for (size_t k = 0; k < (size_t)chunks.count; k++) s += part[(i * (size_t)chunks.count + k) * c + j];
            *to = (float)s;
        }
    return 0;
}

/* ---- y[2p+a, 2q+b] = x[p,q] for a, b in {0,1}; dx[p,q] = sum of the four dy ---- */

int NAME(up2)(const Op *op)
{
    Tensor y = op->y[0], x = op->x[0];
    size_t bytes = (size_t)x.c * sizeof(float);
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
            float       *to = row_at(dx, (size_t)line * (size_t)dx.w + (size_t)q);
            const float *a = row_at(dy, (size_t)line * 2 * (size_t)dy.w + (size_t)q * 2), *b = a + dy.ld, *c = a + (size_t)dy.w * dy.ld, *d = c + dy.ld;
            for (int j = 0; j < dx.c; j += W) {
                int n = smaller(W, dx.c - j);
                V   sum = (take(a + j, n) + take(b + j, n)) + (take(c + j, n) + take(d + j, n));
                put(to + j, op->acc ? take(to + j, n) + sum : sum, n);
            }
        }
    return 0;
}

/* ---- y[t] = table[id[t]] + position[t]; dextra[j] = sum of dy[t] over the t whose id is base + j ---- */

static int id_at(Tensor ids, size_t row) { return ((const int32_t *)ids.p)[row / area(ids) * ids.img + row % area(ids) * ids.ld]; }

int NAME(embed)(const Op *op)
{
    Tensor y = op->y[0], ids = op->x[0], table = op->x[1], extra = op->x[2], position = op->x[3];
    int    known = table.n + (extra.p ? extra.n : 0);
    for (size_t r = 0; r < row_count(ids); r++)
        if (id_at(ids, r) < 0 || id_at(ids, r) >= known) return err("embed: ids: expected 0 to %d, found %d at %zu", known - 1, id_at(ids, r), r);
    for (size_t r = 0; r < row_count(y); r++) {
        int    id = id_at(ids, r);
        float *to = row_at(y, r);
        if (id < table.n) type_convert(T_F32, to, table.type, tensor_at(table, (size_t)id * table.img), (size_t)y.c);
        else memcpy(to, row_at(extra, (size_t)(id - table.n)), (size_t)y.c * sizeof *to);
        for (int j = 0; position.p && j < y.c; j++) to[j] += (float)type_get(position.type, position.p, r % area(y) * position.ld + (size_t)j);
    }
    return 0;
}

int NAME(embed_dw)(const Op *op)
{
    Tensor dextra = op->y[0], dy = op->x[0], ids = op->x[1];
    for (int e = 0; e < dextra.n; e++) {
        float *to = row_at(dextra, (size_t)e);
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
        float *to = row_at(y, r), *from = row_at(x, r);
        size_t first = (op->a.each ? r / area(x) : r) * (size_t)x.c;
        for (size_t j = 0; j < (size_t)x.c; j++) {
            const uint32_t counter[4] = { (uint32_t)(first + j), (uint32_t)((first + j) >> 32), 0, 0 };
            uint32_t       word[4];
            philox4x32(word, counter, key);
            to[j] = (word[0] >> 8) * 0x1p-24 >= op->a.p ? (float)((double)from[j] / kept) : 0;
        }
    }
    return 0;
}
