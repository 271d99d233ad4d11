#include "winograd.h"
#include "epilogue.h"
#include "micro.h"
#include "panel.h"

/* With d a tile of (m+2)^2 inputs and g the kernel, both of one channel (' transposed, * element by element):
 *
 *   y = A' [ sum over channels of (G g G') * (B' d B) ] A
 *
 * So there are PLACES = 36 matrices V (tiles, c) of transformed inputs, as many U (c, o) of transformed kernels, and as many products of them, which is where
 * the time goes; each takes the inner loop of any product. Tiles are taken in batches whose V stays in the last-level cache: first all V of a batch, then
 * tasks of up to TILES tiles by a panel of outputs. A task makes its U a chunk of DEEP channels at a time, used by all its tiles while in the second-level
 * cache, beside the sums of all places; then it transforms these and stores. */
enum { T = 6, M = 4, PLACES = T * T, TILES = 196 / MR * MR, DEEP = 64, SLOTS = 16, BATCH = 32 << 20 };

typedef struct {
    size_t tiles, batch;                                /* of all images; of a batch */
    int    chunks, down, across, slots;                 /* of channels; tiles of an image */
} Plan;

/* Floats of a slot. The 36 matrices of U lie a line further apart than a power of 2, so that they are not all in one set of the first-level cache. */
enum { U_NEXT = DEEP * NR + 16, U_SIZE = PLACES * U_NEXT, SUM_SIZE = PLACES * TILES * NR, PANEL_SIZE = 9 * DEEP * NR, SLOT = U_SIZE + SUM_SIZE + PANEL_SIZE };

static Plan plan_of(const Product *p)
{
    Plan   k = { .down = (p->h + M - 1) / M, .across = (p->w + M - 1) / M };
    size_t tasks, bytes;
    k.tiles = (size_t)p->op->y[0].n * (size_t)k.down * (size_t)k.across, k.chunks = (p->term[0].x.c + DEEP - 1) / DEEP;
    bytes = (size_t)(k.chunks * PLACES * DEEP) * sizeof(float);
    k.batch = parts_of(k.tiles, parts_of(k.tiles, at_least(BATCH / bytes, TILES)));
    tasks = parts_of(k.batch, TILES) * parts_of((size_t)p->op->y[0].c, NR);
    k.slots = (int)at_most(tasks, SLOTS);
    return k;
}

/* V is (chunks, PLACES, batch, DEEP): what an inner loop takes lies together. */
static size_t v_size(const Plan *k) { return (size_t)k->chunks * PLACES * k->batch * DEEP; }
static size_t v_at(const Plan *k, int place, size_t row, int c)
{
    return (((size_t)(c / DEEP) * PLACES + (size_t)place) * k->batch + row) * DEEP + (size_t)(c % DEEP);
}

size_t NAME(winograd_need)(const Product *p)
{
    Plan k = plan_of(p);
    return (v_size(&k) + (size_t)k.slots * SLOT) * sizeof(float);
}

/* ---- the three transforms, in one dimension: from and to are `step` apart ---- */

INLINE void input_1d(V *to, const V *d, int step)
{
    V d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    V even = madd(splat(-4), d2, d4), odd = madd(splat(-4), d1, d3), twice = 2 * (d3 - d1), apart = d4 - d2;
    to[0] = madd(splat(4), d0 - d2, d4 - d2);
    to[step] = even + odd, to[2 * step] = even - odd;
    to[3 * step] = apart + twice, to[4 * step] = apart - twice;
    to[5 * step] = madd(splat(4), d1 - d3, d5 - d3);
}

INLINE void kernel_1d(V *to, const V *g, int from_step, int step)
{
    V g0 = g[0], g1 = g[from_step], g2 = g[2 * from_step], ends = (g0 + g2) * (1.0f / -6), wide = madd(splat(1.0f / 24), g0, g2 * (1.0f / 6));
    to[0] = g0 * 0.25f;
    to[step] = madd(splat(1.0f / -6), g1, ends), to[2 * step] = madd(splat(1.0f / 6), g1, ends);
    to[3 * step] = madd(splat(1.0f / 12), g1, wide), to[4 * step] = madd(splat(1.0f / -12), g1, wide);
    to[5 * step] = g2;
}

INLINE void output_1d(V *to, const V *s, int step, int to_step)
{
    V s0 = s[0], s1 = s[step], s2 = s[2 * step], s3 = s[3 * step], s4 = s[4 * step], s5 = s[5 * step];
    V sum = s1 + s2, apart = s1 - s2, far = s3 + s4, wide = s3 - s4;
    to[0] = s0 + sum + far;
    to[to_step] = madd(splat(2), wide, apart);
    to[2 * to_step] = madd(splat(4), far, sum);
    to[3 * to_step] = madd(splat(8), wide, apart) + s5;
}

/* ---- V = B' d B ---- */

/* Where the inputs of a tile are; outside: zeros. */
static const float zeros[W];
typedef struct {
    const float *at[PLACES];
} Window;

static Window window_of(const Product *p, const Plan *k, size_t tile)
{
    const Term *t = &p->term[0];
    Tensor      x = t->x;
    size_t      n = tile / (size_t)k->across / (size_t)k->down;
    int         h0 = (int)(tile / (size_t)k->across % (size_t)k->down) * M + t->down.first, w0 = (int)(tile % (size_t)k->across) * M + t->across.first;
    Window      window;
    for (int i = 0; i < PLACES; i++) {
        int h = h0 + i / T, w = w0 + i % T, inside = (unsigned)h < (unsigned)x.h && (unsigned)w < (unsigned)x.w;
        window.at[i] = inside ? (const float *)x.p + n * x.img + ((size_t)h * (size_t)x.w + (size_t)w) * x.ld : NULL;
    }
    return window;
}

/* Row `row` of v, all channels. */
static void transform_input(float *v, const Product *p, const Plan *k, size_t tile, size_t row)
{
    Window window = window_of(p, k, tile);
    int    channels = p->term[0].x.c;
    for (int c = 0; c < channels; c += W) {
        V   d[PLACES], half[PLACES];
        int n = smaller(W, channels - c);
        UNROLL for (int i = 0; i < PLACES; i++) d[i] = window.at[i] ? take(window.at[i] + c, n) : load(zeros);
        UNROLL for (int j = 0; j < T; j++) input_1d(half + j, d + j, T);
        UNROLL for (int i = 0; i < T; i++) input_1d(d + i * T, half + i * T, 1);
        UNROLL for (int i = 0; i < PLACES; i++) store(v + v_at(k, i, row, c), d[i]);
    }
}

/* ---- U = G g G' ---- */

/* u (PLACES, deep, NR), matrices U_NEXT apart, from panel (9, deep, NR). */
static void transform_kernel(float *u, const float *panel, int deep)
{
    size_t size = (size_t)deep * NR;
    for (size_t j = 0; j < size; j += W) {
        V g[9], half[18], to[PLACES];
        UNROLL for (int i = 0; i < 9; i++) g[i] = load(panel + (size_t)i * size + j);
        UNROLL for (int b = 0; b < 3; b++) kernel_1d(half + b, g + b, 3, 3);
        UNROLL for (int a = 0; a < T; a++) kernel_1d(to + a * T, half + a * 3, 1, 1);
        UNROLL for (int i = 0; i < PLACES; i++) store(u + (size_t)i * U_NEXT + j, to[i]);
    }
}

/* ---- products ---- */

/* sum (MR, NR) = or += rows of v times u, for one place. */
static void multiply(float *sum, int first, const float *const *v, const float *u, int deep)
{
    V acc[MR][NV];
    if (first) {
        micro_clear(acc, NV);
    } else {
        UNROLL for (int m = 0; m < MR; m++)
            UNROLL for (int j = 0; j < NV; j++) acc[m][j] = load(sum + m * NR + j * W);
    }
    micro_rows(acc, NV, v, deep, u, NR);
    micro_store(sum, NR, acc, NV);
}

/* sum (PLACES, TILES, NR) for rows first.. of the batch and channels c0.. */
static void add_products(float *sum, const Plan *k, const float *v, size_t first, int tiles, const float *u, int c0, int deep)
{
    for (int i = 0; i < PLACES; i++)
        for (int r = 0; r < tiles; r += MR) {
            const float *row[MR];
            for (int m = 0; m < MR; m++) row[m] = v + v_at(k, i, first + (size_t)smaller(r + m, tiles - 1), c0);
            multiply(sum + ((size_t)i * TILES + (size_t)r) * NR, c0 == 0, row, u + (size_t)i * U_NEXT, deep);
        }
}

/* ---- y = A' sum A ---- */

static void store_tile(const Product *p, const Plan *k, size_t tile, const float *sum, const Columns *columns)
{
    const Op *op = p->op;
    Tensor    y = op->y[0], res = op->res;
    size_t    n = tile / (size_t)k->across / (size_t)k->down;
    int       h0 = (int)(tile / (size_t)k->across % (size_t)k->down) * M, w0 = (int)(tile % (size_t)k->across) * M;
    for (int c = columns->c; c < columns->end; c += W) {
        V s[PLACES], half[M * T], to[M * M];
        UNROLL for (int i = 0; i < PLACES; i++) s[i] = load(sum + (size_t)i * TILES * NR + (c - columns->c));
        UNROLL for (int j = 0; j < T; j++) output_1d(half + j, s + j, T, T);
        UNROLL for (int a = 0; a < M; a++) output_1d(to + a * M, half + a * T, 1, 1);
        for (int i = 0; i < M * M; i++) {
            int h = h0 + i / M, w = w0 + i % M;
            if (h >= y.h || w >= y.w) continue;
            size_t pixel = (size_t)h * (size_t)y.w + (size_t)w;
            Place  at = { (float *)y.p + n * y.img + pixel * y.ld, op->row.p ? data(op->row) + n * op->row.img : NULL,
                          res.p ? data(res) + n * res.img + pixel * res.ld : NULL };
            store_vector(&at, to[i], columns, c, smaller(W, columns->end - c));
        }
    }
}

/* Rows first.. of the batch that begins with tile `begin`, outputs c to end. */
static void run_task(const Product *p, const Plan *k, const float *v, size_t begin, size_t first, int tiles, int c, int end, float *scratch)
{
    float *u = scratch, *sum = u + U_SIZE, *panel = sum + SUM_SIZE;
    int    channels = p->term[0].x.c;
    for (int c0 = 0; c0 < channels; c0 += DEEP) {
        Block b = { .term = &p->term[0], .spans = 9, .k0 = c0, .k = smaller(DEEP, channels - c0) };
        NAME(make_panel)(panel, &b, c, end - c);
        transform_kernel(u, panel, b.k);
        add_products(sum, k, v, first, tiles, u, c0, b.k);
    }
    Columns columns = { p->op, 1, c, end };
    for (int r = 0; r < tiles; r++) store_tile(p, k, begin + first + (size_t)r, sum + r * NR, &columns);
}

static void run_batch(const Product *p, const Plan *k, size_t begin)
{
    float *v = p->op->scratch, *slot = v + v_size(k);
    int    count = (int)at_most(k->batch, k->tiles - begin), c = p->op->y[0].c, across = (int)parts_of((size_t)c, NR);
    int    down = (count + TILES - 1) / TILES, each = (count + down - 1) / down, tasks = down * across;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < count; r++) transform_input(v, p, k, begin + (size_t)r, (size_t)r);
#pragma omp parallel for schedule(dynamic)
    for (int s = 0; s < k->slots; s++)
        for (int task = s; task < tasks; task += k->slots) {
            int first = task / across * each, c0 = task % across * NR;
            run_task(p, k, v, begin, (size_t)first, smaller(each, count - first), c0, smaller(c, c0 + NR), slot + (size_t)s * SLOT);
        }
}

void NAME(winograd)(const Product *p)
{
    Plan k = plan_of(p);
    for (size_t begin = 0; begin < k.tiles; begin += k.batch) run_batch(p, &k, begin);
}

/* What the transforms cost is shared by the inputs and outputs of a tile, and by the tiles of a kernel: few of either and the plain sum is as fast. */
int NAME(winograd_of)(const Product *p)
{
    const Term *t = &p->term[0];
    if (t->down.count != 3 || t->across.count != 3 || t->step != 1 || p->step != 1) return 0;
    return t->x.c >= 16 && p->op->y[0].c >= NR / 2 && plan_of(p).tiles >= MR ? M : 0;
}
