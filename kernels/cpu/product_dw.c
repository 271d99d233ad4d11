#include "product_dw.h"
#include "micro.h"

/* The sum is long and y small, rank by inputs: the rows are cut into chunks of up to CHUNK, each with a sum of its own in scratch, and these are added in
 * order. Where y is much taller than wide, a and b change places and y is written on its side: then vectors are full and few rows are broadcast.
 * A task is a tap, a chunk of rows and some panels of y's columns. */
enum { CHUNK = 512 };

static int    is_turned(int m, int n) { return 2 * n < m; }
static size_t chunk_count(size_t rows) { return parts_of(rows, CHUNK); }

/* Sums of one chunk, both sides padded to whole register tiles. */
static size_t padded(int m, int n) { return parts_of((size_t)m, MR) * MR * parts_of((size_t)n, NR) * NR; }
static size_t chunk_size(int m, int n) { return is_turned(m, n) ? padded(n, m) : padded(m, n); }

size_t NAME(product_dw_need)(int m, int n, size_t rows, int kernel)
{
    return (size_t)(kernel * kernel) * chunk_count(rows) * chunk_size(m, n) * sizeof(float);
}

static const float zeros[NR];

/* from[l]: the pixel of t that tap (down, across) reads for output pixel first + l of an h by w grid, or NULL: outside. */
static void find_rows(const float *from[CHUNK], Tensor t, size_t first, size_t count, int h, int w, int step, int down, int across)
{
    size_t grid = (size_t)h * (size_t)w, n = first / grid;
    int    p = (int)(first % grid) / w, q = (int)(first % grid) % w;
    for (size_t l = 0; l < count; l++) {
        int i = p * step + down, j = q * step + across, inside = (unsigned)i < (unsigned)t.h && (unsigned)j < (unsigned)t.w;
        from[l] = inside ? (const float *)t.p + n * t.img + ((size_t)i * (size_t)t.w + (size_t)j) * t.ld : NULL;
        if (++q == w) q = 0, p++;
        if (p == h) p = 0, n++;
    }
}

/* to (wide) = the first `columns` numbers of a row, or none, and zeros behind them. */
INLINE void copy_row(float *to, const float *row, int columns, int wide)
{
    for (int j = 0; j < wide; j += W) {
        int n = row && columns > j ? smaller(W, columns - j) : 0;
        put(to + j, n ? take(row + j, n) : (V){ 0 }, smaller(W, wide - j));
    }
}

/* to (count, MR) = columns m.. of the rows of a; 0 where there are no more. */
static void pack_a(float *to, const float *const *row, size_t count, int m, int columns)
{
    for (size_t l = 0; l < count; l++, to += MR) copy_row(to, row[l] ? row[l] + m : NULL, columns, MR);
}

/* at[l]: columns c to c + NR of b's row l: where they are, or, at the edge, a copy in `edge`. */
static void find_panel(const float *at[CHUNK], float *edge, const float *const *row, size_t count, int c, int columns)
{
    for (size_t l = 0; l < count; l++) {
        at[l] = row[l] ? row[l] + c : zeros;
        if (!row[l] || columns >= NR) continue;
        at[l] = edge + l * NR;
        copy_row(edge + l * NR, row[l] + c, columns, NR);
    }
}

INLINE void multiply_as(int rows, int nv, float *to, size_t ld, const float *a, size_t count, const float *const *b)
{
    V acc[MR][NV];
    micro_clear(acc, nv);
    micro_columns(acc, rows, nv, a, MR, count, b);
    micro_store(to, ld, acc, nv);
}
enum { FEW = MR < 8 ? MR : 8 };
static void multiply_all(float *to, size_t ld, const float *a, size_t count, const float *const *b) { multiply_as(MR, NV, to, ld, a, count, b); }
static void multiply_8(float *to, size_t ld, const float *a, size_t count, const float *const *b) { multiply_as(FEW, NV, to, ld, a, count, b); }
static void multiply_4(float *to, size_t ld, const float *a, size_t count, const float *const *b) { multiply_as(4, NV, to, ld, a, count, b); }

typedef struct {
    int    turned, m, n;                                /* as they are multiplied */
    int    taps, chunks, panels, across;                /* panels of a task; tasks across */
    size_t each, ld, size;                              /* rows of a chunk; distance of rows of sums; of chunks */
} Plan;

static Plan plan_of(const ProductDw *p)
{
    int    turned = is_turned(p->a.c, p->b.c), m = turned ? p->b.c : p->a.c, n = turned ? p->a.c : p->b.c;
    int    taps = p->kernel * p->kernel;
    size_t rows = row_count(p->a), chunks = chunk_count(rows), panels = parts_of((size_t)n, NR), wide = parts_of(panels, parts_of(16, chunks * (size_t)taps));
    return (Plan){ turned, m, n, taps, (int)chunks, (int)wide, (int)parts_of(panels, wide), parts_of(rows, chunks), panels * NR, chunk_size(p->a.c, p->b.c) };
}

static void run_chunk(const ProductDw *p, const Plan *k, int tap, int chunk, int first_panel)
{
    float        a[CHUNK * MR] __attribute__((aligned(64))), edge[CHUNK * NR] __attribute__((aligned(64)));
    const float *row_a[CHUNK], *row_b[CHUNK], *b[CHUNK];
    size_t       rows = row_count(p->a), first = at_most((size_t)chunk * k->each, rows), count = at_most(k->each, rows - first);
    int          h = p->a.h, w = p->a.w, u = tap / p->kernel, v = tap % p->kernel;
    float       *sums = p->scratch + (size_t)(tap * k->chunks + chunk) * k->size;
    find_rows(k->turned ? row_b : row_a, p->a, first, count, h, w, 1, 0, 0);
    find_rows(k->turned ? row_a : row_b, p->b, first, count, h, w, p->step, p->down + u, p->across + v);
    for (int m = 0; m < k->m; m += MR) {
        int few = smaller(MR, k->m - m);
        pack_a(a, row_a, count, m, few);
        for (int c = first_panel * NR, end = smaller(k->n, c + k->panels * NR); c < end; c += NR) {
            float *to = sums + (size_t)m * k->ld + c;
            find_panel(b, edge, row_b, count, c, k->n - c);
            if (few <= 4) multiply_4(to, k->ld, a, count, b);
            else if (few <= FEW) multiply_8(to, k->ld, a, count, b);
            else multiply_all(to, k->ld, a, count, b);
        }
    }
}

/* Rows m to m1, columns n to n1 of a tap's y: its chunks, added in order. */
static void add_chunks(const ProductDw *p, const Plan *k, int tap, int m, int m1, int n, int n1)
{
    size_t next = k->turned ? k->ld : 1, next_row = k->turned ? 1 : k->ld;
    for (; m < m1; m++) {
        const float *sums = p->scratch + (size_t)(tap * k->chunks) * k->size + (size_t)m * next_row;
        float       *y = p->y + (size_t)tap * p->tap_ld + (size_t)m * p->ldy;
        for (int j = n; j < n1; j++) {
            float s = 0;
            for (int chunk = 0; chunk < k->chunks; chunk++) s += sums[(size_t)chunk * k->size + (size_t)j * next];
            y[j] = p->acc ? y[j] + p->scale * s : p->scale * s;
        }
    }
}

static void run_task(const ProductDw *p, const Plan *k, int task)
{
    int tap = task / k->across / k->chunks, chunk = task / k->across % k->chunks, panel = task % k->across * k->panels;
    int first = panel * NR, end = smaller(k->n, first + k->panels * NR);
    run_chunk(p, k, tap, chunk, panel);
    if (k->chunks > 1) return;
    if (k->turned) add_chunks(p, k, tap, first, end, 0, p->b.c);
    else add_chunks(p, k, tap, 0, p->a.c, first, end);
}

void NAME(product_dw)(const ProductDw *p)
{
    Plan plan = plan_of(p);
    int  tasks = plan.taps * plan.chunks * plan.across, rows = plan.taps * p->a.c;
#pragma omp parallel for schedule(dynamic) if (tasks > 1 && row_count(p->a) * (size_t)rows * (size_t)p->b.c > PARALLEL_PRODUCTS)
    for (int task = 0; task < tasks; task++) run_task(p, &plan, task);
    if (plan.chunks == 1) return;
#pragma omp parallel for schedule(static) if (plan.size * (size_t)(plan.taps * plan.chunks) > PARALLEL_FROM)
    for (int row = 0; row < rows; row++) add_chunks(p, &plan, row / p->a.c, row % p->a.c, row % p->a.c + 1, 0, p->b.c);
}
