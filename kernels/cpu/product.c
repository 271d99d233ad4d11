#include "product.h"
#include "micro.h"

/* A tile of y is one task: up to GROUPS register tiles down and some panels across. k runs in blocks: up to KC channels of one tap, or, where x has few
 * channels, several whole taps. For a block, the tile's rows (x: 400 by KC floats, 600 KB) stay in the second-level cache while panel after panel of w is
 * made (48 KB) and multiplied by all of them. The first block's sums are stored with all that the op adds, the others' are added to y. */
enum { KC = 384, SPANS = 9, GROUPS = 392 / MR, ROWS = GROUPS * MR, SLOTS = 32 };

/* Rows a multiple of 4096 bytes apart all fall into one set of the first-level cache, which then holds fewer lines than a register tile has rows: those of a
 * block are first copied closer together, into the scratch of the slot that the task runs in. */
enum { COPY_LD = KC + 16 };
static int is_copied(const Product *p) { return p->term[0].x.ld % 1024 == 0; }

typedef struct {
    size_t rows;                                        /* of all y */
    int    groups, panels;                              /* of a task: register tiles down and across */
    int    down, across;                                /* tasks */
} Tiles;

/* As tall as the cache allows; then cut across, for some 32 tasks, or 8, where each has to copy its rows. */
static Tiles tiles_of(const Product *p)
{
    size_t rows = (size_t)p->op->y[0].n * (size_t)p->h * (size_t)p->w, groups = parts_of(rows, MR), panels = parts_of((size_t)p->op->y[0].c, NR);
    size_t tall = parts_of(groups, parts_of(groups, GROUPS)), down = parts_of(groups, tall), wide = parts_of(panels, parts_of(is_copied(p) ? 8 : 32, down));
    return (Tiles){ rows, (int)tall, (int)wide, (int)down, (int)parts_of(panels, wide) };
}

static size_t products_of(const Product *p)
{
    size_t k = 0;
    for (int t = 0; t < p->terms; t++) k += (size_t)p->term[t].x.c * (size_t)(p->term[t].down.count * p->term[t].across.count);
    return k * (size_t)p->op->y[0].n * (size_t)p->h * (size_t)p->w * (size_t)p->op->y[0].c;
}

/* ---- a block of k ---- */

typedef struct {
    const Term *term;
    int         tap, spans, k0, k;                      /* taps tap.. tap + spans, channels k0.. k0 + k of each */
} Block;

/* The next block of the term, or 0: none is left. A block of k = 0 is the place before the first. */
static int next_block(Block *b)
{
    const Term *t = b->term;
    int         taps = t->down.count * t->across.count, parts = (int)parts_of((size_t)t->x.c, KC), each = (int)parts_of((size_t)t->x.c, (size_t)parts);
    b->k0 += b->k;
    if (b->k0 == t->x.c) b->k0 = 0, b->tap += b->spans;
    b->k = smaller(each, t->x.c - b->k0);
    b->spans = parts > 1 ? 1 : smaller(smaller(KC / each, SPANS), taps - b->tap);
    return b->tap < taps;
}

static size_t weights_of_tap(const Term *t, int tap)
{
    int u = t->down.w_first + tap / t->across.count * t->down.w_next, v = t->across.w_first + tap % t->across.count * t->across.w_next;
    return ((size_t)u * (size_t)t->w.w + (size_t)v) * t->w.ld;
}

/* n floats of w from element i on. */
INLINE V load_as(Type type, const void *w, size_t i, int n)
{
    uint16_t        part[W] = { 0 };
    const uint16_t *half = (const uint16_t *)w + i;
    if (type == T_F32) return take((const float *)w + i, n);
    if (n < W) half = memcpy(part, half, (size_t)n * sizeof *half);
    return type == T_F16 ? load_f16(half) : load_bf16(half);
}

/* to (k, W) = w (k, n columns); the columns behind n are 0. */
INLINE void panel_rows(float *to, Type type, const Term *t, size_t at, int k, int n)
{
    for (int l = 0; l < k; l++, at += t->w.img) store(to + (size_t)l * NR, load_as(type, t->w.p, at, n) * t->scale);
}

/* The same of w (n rows, k), W by W at a time. */
INLINE void panel_columns(float *to, Type type, const Term *t, size_t at, int k, int n)
{
    for (int l = 0; l < k; l += W) {
        V   r[W];
        int wide = smaller(W, k - l);
        if (wide == W)
            UNROLL for (int j = 0; j < W; j++) r[j] = j < n ? load_as(type, t->w.p, at + (size_t)j * t->w.img + (size_t)l, W) : (V){ 0 };
        else
            UNROLL for (int j = 0; j < W; j++) r[j] = j < n ? load_as(type, t->w.p, at + (size_t)j * t->w.img + (size_t)l, wide) : (V){ 0 };
        transpose(r);
        UNROLL for (int j = 0; j < W; j++)
            if (j < wide) store(to + (size_t)(l + j) * NR, r[j] * t->scale);
    }
}

/* to (spans, k, NR) = the weights of the block for columns c.. of the term, of which there are `count`. */
INLINE void make_panel_as(float *to, Type type, const Block *b, int c, int count)
{
    const Term *t = b->term;
    for (int s = 0; s < b->spans; s++)
        for (int v = 0; v < NV && v * W < count; v++) {
            size_t at = weights_of_tap(t, b->tap + s), k0 = (size_t)b->k0, c0 = (size_t)(c + v * W);
            float *part = to + (size_t)s * (size_t)b->k * NR + (size_t)(v * W);
            if (t->transposed) panel_columns(part, type, t, at + c0 * t->w.img + k0, b->k, smaller(W, count - v * W));
            else panel_rows(part, type, t, at + k0 * t->w.img + c0, b->k, smaller(W, count - v * W));
        }
}

static void make_panel(float *to, const Block *b, int c, int count)
{
    switch (b->term->w.type) {
    case T_F16: make_panel_as(to, T_F16, b, c, count); break;
    case T_BF16: make_panel_as(to, T_BF16, b, c, count); break;
    default: make_panel_as(to, T_F32, b, c, count);
    }
}

/* ---- a tile's rows ---- */

static const float zeros[KC];

/* Pixel (n,p,q) of the product's grid, walked along. */
typedef struct {
    int n, p, q;
} Pixel;
static Pixel pixel_at(const Product *k, size_t row)
{
    return (Pixel){ (int)(row / (size_t)k->w / (size_t)k->h), (int)(row / (size_t)k->w % (size_t)k->h), (int)(row % (size_t)k->w) };
}
static void step_pixel(const Product *k, Pixel *at)
{
    if (++at->q == k->w) at->q = 0, at->p++;
    if (at->p == k->h) at->p = 0, at->n++;
}

/* from[group][span][m]: what row m of a register tile reads in each span of the block. Rows there are not read what the last one reads. */
typedef const float *Sources[GROUPS][SPANS][MR];

static void find_sources(Sources from, const Product *k, const Block *b, size_t first, int rows)
{
    const Term *t = b->term;
    Tensor      x = t->x;
    for (int s = 0; s < b->spans; s++) {
        int   u = (b->tap + s) / t->across.count, v = (b->tap + s) % t->across.count;
        int   down = t->down.first + u * t->down.next, across = t->across.first + v * t->across.next;
        Pixel at = pixel_at(k, first);
        for (int r = 0; r < rows; r++, step_pixel(k, &at)) {
            int    h = at.p * t->step + down, w = at.q * t->step + across, inside = (unsigned)h < (unsigned)x.h && (unsigned)w < (unsigned)x.w;
            size_t place = (size_t)at.n * x.img + ((size_t)h * (size_t)x.w + (size_t)w) * x.ld + (size_t)b->k0;
            from[r / MR][s][r % MR] = inside ? (const float *)x.p + place : zeros;
        }
        for (int r = rows; r % MR; r++) from[r / MR][s][r % MR] = from[r / MR][s][r % MR - 1];
    }
}

static void copy_sources(Sources from, float *copy, const Block *b, int rows)
{
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < b->spans; s++) {
            float *to = copy + (size_t)r * COPY_LD + (size_t)(s * b->k);
            memcpy(to, from[r / MR][s][r % MR], (size_t)b->k * sizeof *to);
            from[r / MR][s][r % MR] = to;
        }
    for (int r = rows; r % MR; r++)
        for (int s = 0; s < b->spans; s++) from[r / MR][s][r % MR] = from[r / MR][s][r % MR - 1];
}

/* What a row of y starts from, beside the bias. */
typedef struct {
    float       *y;
    const float *row, *res;
} Place;

static void find_places(Place *place, const Product *k, size_t first, int rows)
{
    const Op *op = k->op;
    Tensor    y = op->y[0], res = op->res;
    Pixel     at = pixel_at(k, first);
    for (int r = 0; r < rows; r++, step_pixel(k, &at)) {
        size_t pixel = (size_t)(at.p * k->step + k->h0) * (size_t)y.w + (size_t)(at.q * k->step + k->w0);
        place[r] = (Place){ (float *)y.p + (size_t)at.n * y.img + pixel * y.ld, op->row.p ? (const float *)op->row.p + (size_t)at.n * op->row.img : NULL,
                            res.p ? (const float *)res.p + (size_t)at.n * res.img + pixel * res.ld : NULL };
    }
}

/* ---- storing ---- */

/* Columns c to end of y; first: of the first block, which brings what the op adds. */
typedef struct {
    const Op *op;
    int       first, c, end;
} Columns;

INLINE void store_vector(const Place *at, V sum, const Columns *k, int c, int n)
{
    V y = !k->first || k->op->acc ? take(at->y + c, n) : (V){ 0 };
    if (k->first && k->op->bias.p) sum += take(data(k->op->bias) + c, n);
    if (k->first && at->row) sum += take(at->row + c, n);
    if (k->first && at->res) sum += take(at->res + c, n);
    put(at->y + c, y + sum, n);
}

static void store_rows(const Place *place, int rows, const float *sum, const Columns *k)
{
    for (int r = 0; r < rows; r++)
        for (int c = k->c; c < k->end; c += W) store_vector(&place[r], load(sum + r * NR + c - k->c), k, c, smaller(W, k->end - c));
}

INLINE void multiply(int nv, const Place *place, int rows, const float *const from[SPANS][MR], const Block *b, const float *panel, const Columns *k)
{
    float sum[MR * NR] __attribute__((aligned(64)));
    V     acc[MR][NV];
    micro_clear(acc, nv);
    for (int s = 0; s < b->spans; s++, panel += (size_t)b->k * NR) micro_rows(acc, nv, from[s], b->k, panel, NR);
    micro_store(sum, NR, acc, nv);
    store_rows(place, rows, sum, k);
}

static void multiply_one(const Place *place, int rows, const float *const from[SPANS][MR], const Block *b, const float *panel, const Columns *k)
{
    multiply(1, place, rows, from, b, panel, k);
}
static void multiply_all(const Place *place, int rows, const float *const from[SPANS][MR], const Block *b, const float *panel, const Columns *k)
{
    multiply(NV, place, rows, from, b, panel, k);
}

/* ---- a tile ---- */

/* Columns from c0 to c1 of the tile's rows: one block of k. */
static void run_block(const Product *p, const Block *b, int first, const Place *place, size_t row, int rows, int c0, int c1,
                      float *copy)
{
    const Term *t = b->term;
    Sources     from;
    float       panel[KC * NR] __attribute__((aligned(64)));
    if (c0 < t->c0) c0 = t->c0;
    if (c1 > t->c0 + t->c) c1 = t->c0 + t->c;
    if (c0 >= c1) return;
    find_sources(from, p, b, row, rows);
    if (copy) copy_sources(from, copy, b, rows);
    for (int c = c0; c < c1; c += NR) {
        Columns k = { p->op, first, c, smaller(c + NR, c1) };
        make_panel(panel, b, c - t->c0, k.end - c);
        for (int r = 0; r < rows; r += MR) {
            const float *const(*rows_of)[MR] = (const float *const(*)[MR])from[r / MR];
            if (k.end - c <= W) multiply_one(place + r, smaller(MR, rows - r), rows_of, b, panel, &k);
            else multiply_all(place + r, smaller(MR, rows - r), rows_of, b, panel, &k);
        }
    }
}

static void run_tile(const Product *p, size_t row, int rows, int c0, int c1, float *copy)
{
    Place place[ROWS];
    int   first = 1;
    find_places(place, p, row, rows);
    for (int t = 0; t < p->terms; t++)
        for (Block b = { .term = &p->term[t] }; next_block(&b); first = 0) run_block(p, &b, first, place, row, rows, c0, c1, t ? NULL : copy);
    if (!first) return;
    for (int c = c0; c < c1; c += NR) {                 /* no tap reaches these pixels */
        static const float none[MR * NR];
        Columns            k = { p->op, 1, c, smaller(c + NR, c1) };
        for (int r = 0; r < rows; r += MR) store_rows(place + r, smaller(MR, rows - r), none, &k);
    }
}

static int    slots_of(Tiles tiles) { return smaller(tiles.down * tiles.across, SLOTS); }
static size_t copy_size(Tiles tiles) { return (size_t)(tiles.groups * MR) * COPY_LD; }

size_t NAME(product_need)(const Product *p)
{
    Tiles tiles = tiles_of(p);
    return is_copied(p) ? (size_t)slots_of(tiles) * copy_size(tiles) * sizeof(float) : 0;
}

void NAME(product)(const Product *p)
{
    Tiles tiles = tiles_of(p);
    int   c = p->op->y[0].c, tasks = tiles.down * tiles.across, slots = slots_of(tiles);
#pragma omp parallel for schedule(dynamic) if (tasks > 1 && products_of(p) > PARALLEL_PRODUCTS)
    for (int slot = 0; slot < slots; slot++)
        for (int task = slot; task < tasks; task += slots) {
            size_t row = (size_t)(task / tiles.across) * (size_t)(tiles.groups * MR);
            int    rows = (int)at_most((size_t)(tiles.groups * MR), tiles.rows - row), c0 = task % tiles.across * tiles.panels * NR;
            float *copy = is_copied(p) ? (float *)p->op->scratch + (size_t)slot * copy_size(tiles) : NULL;
            run_tile(p, row, rows, c0, smaller(c, c0 + tiles.panels * NR), copy);
        }
}
