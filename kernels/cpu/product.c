#include "epilogue.h"
#include "micro.h"
#include "panel.h"
#include "product.h"

/* A tile of y is one task: up to GROUPS register tiles down and some panels across. k runs in blocks: up to KC channels of one tap, or, where x has few
 * channels, several whole taps. For a block, the tile's rows (x: 400 by KC floats, 600 KB) stay in the second-level cache while panel after panel of w is
 * made (48 KB) and multiplied by all of them. The first block's sums are stored with all that the op adds, the others' are added to y. */
enum { GROUPS = 392 / MR, ROWS = GROUPS * MR, SLOTS = 32 };

/* Rows a multiple of 4096 bytes apart all fall into one set of the first-level cache, which then holds fewer lines than a register tile has rows: those of a
 * block are first copied closer together, into the scratch of the slot that the task runs in. */
enum { COPY_LD = KC + 16 };
static int is_copied(const Product *p) { return p->term[0].x.ld % 1024 == 0; }

typedef struct {
    size_t rows;                                        /* of all y */
    int    groups, panels;                              /* of a task: register tiles down and across */
    int    down, across;                                /* tasks */
} Tiles;

static size_t products_of(const Product *p)
{
    size_t k = 0;
    for (int t = 0; t < p->terms; t++) k += (size_t)p->term[t].x.c * (size_t)(p->term[t].down.count * p->term[t].across.count);
    return k * (size_t)p->op->y[0].n * (size_t)p->h * (size_t)p->w * (size_t)p->op->y[0].c;
}

/* As tall as the cache allows, unless y is so narrow that this makes too few tasks: fewer than 16, or than there is work for, as each makes its panels again.
 * Then cut across, for some 32, or 8, where each has to copy its rows. */
static Tiles tiles_of(const Product *p)
{
    size_t rows = (size_t)p->op->y[0].n * (size_t)p->h * (size_t)p->w, groups = parts_of(rows, MR), panels = parts_of((size_t)p->op->y[0].c, NR);
    size_t tall = parts_of(groups, parts_of(groups, GROUPS)), wanted = at_most(16, products_of(p) / PARALLEL_PRODUCTS + 1);
    while (tall > 4 && parts_of(groups, tall) * panels < wanted) tall = (tall + 1) / 2;
    size_t down = parts_of(groups, tall), wide = parts_of(panels, parts_of(is_copied(p) ? 8 : 32, down));
    return (Tiles){ rows, (int)tall, (int)wide, (int)down, (int)parts_of(panels, wide) };
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

/* A whole vector of each row, as store_vector does it; what all rows have in common is asked once. */
INLINE void store_column(const Place *place, int rows, const float *sum, int c, V bias, int acc)
{
    int has_row = place->row != NULL, has_res = place->res != NULL;
    for (int r = 0; r < rows; r++) {
        V x = load(sum + r * NR) + bias;
        if (has_row) x += load(place[r].row + c);
        if (has_res) x += load(place[r].res + c);
        store(place[r].y + c, acc ? load(place[r].y + c) + x : x);
    }
}

static void store_rows(const Place *place, int rows, const float *sum, const Columns *k)
{
    for (int c = k->c; c < k->end; c += W, sum += W) {
        int n = smaller(W, k->end - c);
        if (n < W)
            for (int r = 0; r < rows; r++) store_vector(&place[r], load(sum + r * NR), k, c, n);
        else if (!k->first)
            for (int r = 0; r < rows; r++) store(place[r].y + c, load(place[r].y + c) + load(sum + r * NR));
        else store_column(place, rows, sum, c, k->op->bias.p ? load(data(k->op->bias) + c) : (V){ 0 }, k->op->acc);
    }
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
        NAME(make_panel)(panel, b, c - t->c0, k.end - c);
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
        for (Block b = { .term = &p->term[t], .most = KC }; NAME(next_block)(&b); first = 0) run_block(p, &b, first, place, row, rows, c0, c1, t ? NULL : copy);
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
