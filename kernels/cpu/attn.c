#include "cpu.h"
#include "micro.h"

/* Attention, a head at a time, by tiles of keys (Dao et al. 2022). Scores of a tile are kept key by key with the queries along the vectors, so that all that
 * is done to the row of a query - the maximum, the exponential, its sum - is done to a lane:
 *
 *   s[j][i] = k_j . q_i,   p = 2^(s - m),   y_i = sum_j p[j][i] v_j / sum_j p[j][i],   lse = ln2 (m + log2 sum)
 *
 * q is multiplied by scale / ln2 beforehand, so that the exponential is one of base 2. m is the largest score so far: when it grows, what was summed shrinks
 * by 2^(m - m').
 *
 * From dy:  dv_j = sum over rows of p_j dy;   dp_j = dy . v_j;   and since dp/ds is p_j (delta_jl - p_l),
 *
 *   ds_j = p_j (dp_j - D),   D = sum_j p_j dp_j = dy . y,        dq = scale sum_j ds_j k_j,   dk_j = scale sum over rows of ds_j q.
 *
 * A task is a block of queries of one head of one image. In the backward pass dk and dv are sums over all queries: a head's queries are cut into chunks, each
 * with its own dk and dv in scratch where there is more than one, and these are added in order. */

enum { QUERIES = 8 * NR, KEYS = 112 / MR * MR, SLOTS = 32 };
static const float LOG2_E = 1.44269504088896340736f;

/* Work is cut into (image, head, part of the queries); slot s of scratch serves tasks s, s + slots, ... */
typedef struct {
    int    heads, d, deep, each, parts, tasks, slots;   /* deep: d rounded up to whole vectors; each: queries of a part */
    size_t floats;                                      /* of a slot */
    int    shared;                                      /* enough for more than one thread */
} Plan;

/* Scratch of a slot, for blocks of `block` queries: so many columns of d numbers a query, and tiles of keys by `wide` queries. */
static Plan plan_of(Tensor q, Tensor k, int heads, int each, int block, int columns, int tiles, int wide)
{
    Plan p = { .heads = heads, .d = q.c / heads, .each = each, .parts = (int)parts_of((size_t)q.w, (size_t)each) };
    p.deep = (p.d + W - 1) / W * W;
    p.tasks = q.n * heads * p.parts, p.slots = smaller(p.tasks, SLOTS);
    p.floats = ((size_t)block * (size_t)(columns * p.deep + 3) + (size_t)(tiles * wide + MR) * KEYS + 15) / 16 * 16;
    p.shared = p.tasks > 1 && tensor_count(q) * (size_t)k.w > PARALLEL_PRODUCTS;
    return p;
}

/* Head `head` of image n, from row `row` on. */
static float *head_at(Tensor t, int n, int row, int head, int heads)
{
    return (float *)t.p + (size_t)n * t.img + (size_t)row * t.ld + (size_t)head * (size_t)(t.c / heads);
}

/* ---- layouts ---- */

/* to (panels, d, NR) = scale from (rows, d), the rows along the vectors; zeros behind them. */
static void to_panels(float *to, const float *from, size_t ld, int rows, int d, float scale)
{
    for (int r0 = 0; r0 < rows; r0 += W)
        for (int j = 0; j < d; j += W) {
            V   x[W];
            int n = smaller(W, d - j);
            UNROLL for (int r = 0; r < W; r++) x[r] = r0 + r < rows ? take(from + (size_t)(r0 + r) * ld + j, n) * scale : (V){ 0 };
            transpose(x);
            UNROLL for (int l = 0; l < W; l++)
                if (l < n) store(to + ((size_t)(r0 / NR) * (size_t)d + (size_t)(j + l)) * NR + r0 % NR, x[l]);
        }
    if ((rows + W - 1) / W % NV)                        /* the last panel's last vectors have no row */
        for (int j = 0; j < d; j++) {
            float *panel = to + ((size_t)(rows / NR) * (size_t)d + (size_t)j) * NR;
            for (int v = (rows % NR + W - 1) / W; v < NV; v++) store(panel + v * W, (V){ 0 });
        }
}

/* The way back: to (rows, d) = from (panels, d, NR), each row times its factor. */
static void from_panels(float *to, size_t ld, const float *from, int rows, int d, const float *factor)
{
    for (int r0 = 0; r0 < rows; r0 += W)
        for (int j = 0; j < d; j += W) {
            V x[W], scale = load(factor + r0);
            UNROLL for (int l = 0; l < W; l++)
                x[l] = j + l < d ? load(from + ((size_t)(r0 / NR) * (size_t)d + (size_t)(j + l)) * NR + r0 % NR) * scale : (V){ 0 };
            transpose(x);
            UNROLL for (int r = 0; r < W; r++)
                if (r0 + r < rows) put(to + (size_t)(r0 + r) * ld + j, x[r], smaller(W, d - j));
        }
}

/* ---- products ---- */

/* s (keys, NR) rows ld apart = k (keys, d) times a panel (d, NR). Rows up to the next multiple of MR are written. */
static void times_panel(float *s, size_t ld, const float *k, size_t ldk, int keys, const float *panel, int d)
{
    for (int j = 0; j < keys; j += MR) {
        const float *row[MR];
        V            acc[MR][NV];
        for (int m = 0; m < MR; m++) row[m] = k + (size_t)smaller(j + m, keys - 1) * ldk;
        micro_clear(acc, NV);
        micro_rows(acc, NV, row, d, panel, NR);
        micro_store(s + (size_t)j * ld, ld, acc, NV);
    }
}

/* The last columns of k (keys, d), fewer than MR, copied: (keys, MR). */
static void copy_edge(float *to, const float *k, size_t ldk, int keys, int d)
{
    for (int j = 0, first = d / MR * MR; j < keys && first < d; j++)
        for (int m = 0; m < MR; m++) to[j * MR + m] = first + m < d ? k[(size_t)j * ldk + (size_t)(first + m)] : 0;
}

/* y (d, NR) = y times `shrink`, a lane, + k^T s, for s (keys, NR) rows ld apart. edge: see above. */
static void add_columns(float *y, const float *k, size_t ldk, const float *edge, int keys, int d, const float *s, size_t ld, const float *shrink)
{
    const float *row[KEYS];
    V            factor[NV];
    for (int j = 0; j < keys; j++) row[j] = s + (size_t)j * ld;
    UNROLL for (int v = 0; v < NV; v++) factor[v] = load(shrink + v * W);
    for (int c = 0; c < d; c += MR) {
        float sum[MR * NR] __attribute__((aligned(64)));
        V     acc[MR][NV];
        micro_clear(acc, NV);
        if (d - c >= MR) micro_columns(acc, MR, NV, k + c, ldk, (size_t)keys, row);
        else micro_columns(acc, MR, NV, edge, MR, (size_t)keys, row);
        micro_store(sum, NR, acc, NV);
        for (int m = 0; m < smaller(MR, d - c); m++)
            for (int v = 0; v < NV; v++) {
                float *to = y + (size_t)(c + m) * NR + v * W;
                store(to, madd(load(to), factor[v], load(sum + m * NR + v * W)));
            }
    }
}

INLINE void add_rows_as(int nv, float *y, size_t ldy, const float *const *row, int rows, int k, const float *x, size_t ldx, int n)
{
    float sum[MR * NR] __attribute__((aligned(64)));
    V     acc[MR][NV];
    micro_clear(acc, nv);
    micro_rows(acc, nv, row, k, x, ldx);
    micro_store(sum, NR, acc, nv);
    for (int m = 0; m < rows; m++)
        for (int c = 0; c < n; c += W) {
            float *to = y + (size_t)m * ldy + c;
            put(to, take(to, smaller(W, n - c)) + load(sum + m * NR + c), smaller(W, n - c));
        }
}
static void add_rows_wide(float *y, size_t ldy, const float *const *row, int rows, int k, const float *x, size_t ldx, int n)
{
    add_rows_as(NV, y, ldy, row, rows, k, x, ldx, n);
}
static void add_rows_narrow(float *y, size_t ldy, const float *const *row, int rows, int k, const float *x, size_t ldx, int n)
{
    add_rows_as(1, y, ldy, row, rows, k, x, ldx, n);
}

/* y (keys, d) += s (keys, queries) x, for x (queries, d), its rows `deep` apart. */
static void add_rows(float *y, size_t ldy, const float *s, int keys, int queries, const float *x, int d, int deep)
{
    for (int j = 0; j < keys; j += MR) {
        const float *row[MR];
        for (int m = 0; m < MR; m++) row[m] = s + (size_t)(j + m) * QUERIES;
        for (int c = 0; c < d; c += NR) {
            float *to = y + (size_t)j * ldy + c;
            if (d - c > W) add_rows_wide(to, ldy, row, smaller(MR, keys - j), queries, x + c, (size_t)deep, smaller(NR, d - c));
            else add_rows_narrow(to, ldy, row, smaller(MR, keys - j), queries, x + c, (size_t)deep, d - c);
        }
    }
}

/* ---- forward ---- */

enum { BLOCK = 4 * NR };                                /* queries of a task */

static Plan forward_plan(const Op *op) { return plan_of(op->x[0], op->x[1], op->a.heads, BLOCK, BLOCK, 2, 1, NR); }
size_t NAME(attn_need)(const Op *op)
{
    Plan plan = forward_plan(op);
    return (size_t)plan.slots * plan.floats * sizeof(float);
}

/* Causal: query i, lane i - q0, does not see keys after it. */
static void hide(float *s, size_t ld, int keys, int k0, int q0, float value)
{
    for (int j = 0; j < keys; j++)
        for (int i = 0; i < NR && q0 + i < k0 + j; i++) s[(size_t)j * ld + (size_t)i] = value;
}

/* s (keys, NR) becomes 2^(s - m); most, sum: m and the sum of a lane, brought up to date; shrink: 2^(old m - m). */
static void exponentials(float *s, int keys, float *most, float *sum, float *shrink)
{
    for (int v = 0; v < NV; v++) {
        V m = load(most + v * W), total = { 0 };
        for (int j = 0; j < keys; j++) m = largest(m, load(s + j * NR + v * W));
        for (int j = 0; j < keys; j++) {
            V p = exp2_v(load(s + j * NR + v * W) - m);
            total += p;
            store(s + j * NR + v * W, p);
        }
        V factor = exp2_v(load(most + v * W) - m);
        store(shrink + v * W, factor);
        store(sum + v * W, madd(load(sum + v * W), factor, total));
        store(most + v * W, m);
    }
}

static void attn_task(const Op *op, const Plan *plan, int task, float *scratch)
{
    Tensor q = op->x[0], k = op->x[1], v = op->x[2], y = op->y[0];
    int    heads = plan->heads, d = plan->d, head = task / plan->parts % heads, n = task / plan->parts / heads;
    int    first = task % plan->parts * plan->each, count = smaller(plan->each, q.w - first), panels = (count + NR - 1) / NR;
    int    seen = op->a.causal ? first + count : k.w;
    float *panel = scratch, *out = panel + BLOCK * plan->deep, *s = out + BLOCK * plan->deep, *most = s + NR * KEYS, *sum = most + BLOCK, *shrink = sum + BLOCK;
    float *edge = shrink + BLOCK;
    to_panels(panel, head_at(q, n, first, head, heads), q.ld, count, d, (float)op->a.scale * LOG2_E);
    memset(out, 0, (size_t)(panels * d * NR) * sizeof *out);
    for (int i = 0; i < panels * NR; i++) most[i] = -INFINITY, sum[i] = 0;
    for (int k0 = 0; k0 < seen; k0 += KEYS) {
        int          keys = smaller(KEYS, seen - k0);
        const float *key = head_at(k, n, k0, head, heads), *value = head_at(v, n, k0, head, heads);
        copy_edge(edge, value, v.ld, keys, d);
        for (int p = 0; p < panels; p++) {
            int q0 = first + p * NR;
            if (op->a.causal && k0 > q0 + NR - 1) continue;
            times_panel(s, NR, key, k.ld, keys, panel + (size_t)(p * NR) * (size_t)d, d);
            if (op->a.causal) hide(s, NR, keys, k0, q0, -INFINITY);
            exponentials(s, keys, most + p * NR, sum + p * NR, shrink);
            add_columns(out + (size_t)(p * NR) * (size_t)d, value, v.ld, edge, keys, d, s, NR, shrink);
        }
    }
    for (int i = 0; i < count; i++) {
        float *lse = (float *)op->y[1].p + (size_t)n * op->y[1].img + (size_t)(first + i) * op->y[1].ld + head;
        *lse = (float)(0.69314718055994530942 * ((double)most[i] + log2((double)sum[i])));
    }
    for (int i = 0; i < panels * NR; i++) sum[i] = 1 / sum[i];
    from_panels(head_at(y, n, first, head, heads), y.ld, out, count, d, sum);
}

int NAME(attn)(const Op *op)
{
    Plan plan = forward_plan(op);
#pragma omp parallel for schedule(dynamic) if (plan.shared)
    for (int slot = 0; slot < plan.slots; slot++)
        for (int task = slot; task < plan.tasks; task += plan.slots) attn_task(op, &plan, task, (float *)op->scratch + (size_t)slot * plan.floats);
    return 0;
}

/* ---- backward ---- */

/* A chunk of queries is a task; in scratch: the slots, then dk and dv (chunks, 2, n, t, c). */
static Plan backward_plan(const Op *op)
{
    Tensor q = op->x[1];
    size_t chunks = at_most(parts_of(16, (size_t)(q.n * op->a.heads)), at_least((size_t)q.w / 512, 1));
    return plan_of(q, op->x[2], op->a.heads, (int)parts_of((size_t)q.w, chunks), QUERIES, 5, 2, QUERIES);
}
static size_t gradient_size(const Op *op) { return tensor_count(op->x[2]); }

size_t NAME(attn_dx_need)(const Op *op)
{
    Plan plan = backward_plan(op);
    return ((size_t)plan.slots * plan.floats + (plan.parts > 1 ? (size_t)plan.parts * 2 * gradient_size(op) : 0)) * sizeof(float);
}

/* What a block of queries needs: along the vectors (panels, d, NR) and along the rows (queries, deep); dq along the vectors. */
typedef struct {
    float *q, *dy, *q_rows, *dy_rows, *dq, *p, *dp, *edge, *lse, *share;
} Block;

static Block block_in(const Plan *plan, float *scratch)
{
    Block  b;
    float **columns[] = { &b.q, &b.dy, &b.q_rows, &b.dy_rows, &b.dq };
    for (size_t i = 0; i < 5; i++, scratch += QUERIES * plan->deep) *columns[i] = scratch;
    b.p = scratch, b.dp = b.p + QUERIES * KEYS, b.lse = b.dp + QUERIES * KEYS, b.share = b.lse + QUERIES, b.edge = b.share + QUERIES;
    return b;
}

static void copy_rows(float *to, int deep, const float *from, size_t ld, int rows, int padded, int d, float scale)
{
    for (int r = 0; r < padded; r++, to += deep)
        for (int j = 0; j < deep; j += W) store(to + j, r < rows && j < d ? take(from + (size_t)r * ld + j, smaller(W, d - j)) * scale : (V){ 0 });
}

/* Queries without a row get an infinite lse, so that their p is 0. */
static void open_block(const Op *op, const Plan *plan, const Block *b, int n, int head, int first, int count)
{
    Tensor dy = op->x[0], q = op->x[1], y = op->x[4], lse = op->x[5];
    int    heads = plan->heads, d = plan->d, padded = (count + NR - 1) / NR * NR;
    float *q0 = head_at(q, n, first, head, heads), *dy0 = head_at(dy, n, first, head, heads), *y0 = head_at(y, n, first, head, heads);
    to_panels(b->q, q0, q.ld, count, d, (float)op->a.scale * LOG2_E);
    to_panels(b->dy, dy0, dy.ld, count, d, 1);
    copy_rows(b->q_rows, plan->deep, q0, q.ld, count, padded, d, (float)op->a.scale);
    copy_rows(b->dy_rows, plan->deep, dy0, dy.ld, count, padded, d, 1);
    memset(b->dq, 0, (size_t)(padded * d) * sizeof(float));
    for (int i = 0; i < padded; i++) {
        V sum = { 0 };
        for (int j = 0; i < count && j < d; j += W)
            sum = madd(take(dy0 + (size_t)i * dy.ld + j, smaller(W, d - j)), take(y0 + (size_t)i * y.ld + j, smaller(W, d - j)), sum);
        b->share[i] = (float)sum_of(sum);
        b->lse[i] = i < count ? ((const float *)lse.p)[(size_t)n * lse.img + (size_t)(first + i) * lse.ld + (size_t)head] * LOG2_E : INFINITY;
    }
}

/* p = 2^(s - lse), dp becomes ds = p (dp - D): (keys, NR) each, rows QUERIES apart. */
static void gradients(float *s, float *dp, int keys, const float *lse, const float *share)
{
    for (int v = 0; v < NV; v++) {
        V l = load(lse + v * W), d = load(share + v * W);
        for (int j = 0; j < keys; j++) {
            float *to = s + (size_t)j * QUERIES + v * W, *of = dp + (size_t)j * QUERIES + v * W;
            V      p = exp2_v(load(to) - l);
            store(to, p), store(of, p * (load(of) - d));
        }
    }
}

/* dk, dv: where the sums of this task go, row 0 of the head. */
static void run_block(const Op *op, const Plan *plan, const Block *b, int n, int head, int first, int count, float *dk, size_t lddk, float *dv, size_t lddv)
{
    Tensor       k = op->x[2], v = op->x[3], dq = op->y[0];
    int          heads = plan->heads, d = plan->d, panels = (count + NR - 1) / NR, seen = op->a.causal ? first + count : k.w;
    float        one[NR], factor[QUERIES];
    for (int i = 0; i < QUERIES; i++) factor[i] = (float)op->a.scale;
    for (int i = 0; i < NR; i++) one[i] = 1;
    for (int k0 = 0; k0 < seen; k0 += KEYS) {
        int          keys = smaller(KEYS, seen - k0);
        const float *key = head_at(k, n, k0, head, heads), *value = head_at(v, n, k0, head, heads);
        copy_edge(b->edge, key, k.ld, keys, d);
        for (int p = 0; p < panels; p++) {
            float *s = b->p + p * NR, *dp = b->dp + p * NR;
            size_t at = (size_t)(p * NR) * (size_t)d;
            times_panel(s, QUERIES, key, k.ld, keys, b->q + at, d);
            if (op->a.causal) hide(s, QUERIES, keys, k0, first + p * NR, -INFINITY);
            times_panel(dp, QUERIES, value, v.ld, keys, b->dy + at, d);
            gradients(s, dp, keys, b->lse + p * NR, b->share + p * NR);
            add_columns(b->dq + at, key, k.ld, b->edge, keys, d, dp, QUERIES, one);
        }
        add_rows(dv + (size_t)k0 * lddv, lddv, b->p, keys, panels * NR, b->dy_rows, d, plan->deep);
        add_rows(dk + (size_t)k0 * lddk, lddk, b->dp, keys, panels * NR, b->q_rows, d, plan->deep);
    }
    from_panels(head_at(dq, n, first, head, heads), dq.ld, b->dq, count, d, factor);
}

static void clear_head(float *to, size_t ld, int rows, int d)
{
    for (int r = 0; r < rows; r++) memset(to + (size_t)r * ld, 0, (size_t)d * sizeof *to);
}

static void attn_dx_task(const Op *op, const Plan *plan, int task, float *scratch)
{
    Tensor q = op->x[1], k = op->x[2], dk = op->y[1], dv = op->y[2];
    int    chunk = task % plan->parts, head = task / plan->parts % plan->heads, n = task / plan->parts / plan->heads;
    int    first = chunk * plan->each, end = smaller(first + plan->each, q.w);
    Block  b = block_in(plan, scratch);
    if (plan->parts > 1) {
        float *sums = (float *)op->scratch + (size_t)plan->slots * plan->floats + (size_t)chunk * 2 * gradient_size(op);
        dk = tensor_of(sums, T_F32, k.n, 1, k.w, k.c), dv = tensor_of(sums + gradient_size(op), T_F32, k.n, 1, k.w, k.c);
    }
    float *dk0 = head_at(dk, n, 0, head, plan->heads), *dv0 = head_at(dv, n, 0, head, plan->heads);
    clear_head(dk0, dk.ld, k.w, plan->d), clear_head(dv0, dv.ld, k.w, plan->d);
    for (; first < end; first += QUERIES) {
        int count = smaller(QUERIES, end - first);
        open_block(op, plan, &b, n, head, first, count);
        run_block(op, plan, &b, n, head, first, count, dk0, dk.ld, dv0, dv.ld);
    }
}

/* dk, dv = the sums of the chunks, added in order. */
static void add_chunks(const Op *op, const Plan *plan)
{
    const float *sums = (const float *)op->scratch + (size_t)plan->slots * plan->floats;
    Tensor       k = op->x[2];
    size_t       size = gradient_size(op);
#pragma omp parallel for schedule(static) if (size > PARALLEL_FROM)
    for (size_t r = 0; r < 2 * row_count(k); r++) {
        size_t row = r % row_count(k), half = r / row_count(k);
        float *to = row_at(op->y[1 + half], row);
        for (int j = 0; j < k.c; j += W) {
            int n = smaller(W, k.c - j);
            V   sum = { 0 };
            for (size_t chunk = 0; chunk < (size_t)plan->parts; chunk++) sum += take(sums + (2 * chunk + half) * size + row * (size_t)k.c + j, n);
            put(to + j, sum, n);
        }
    }
}

int NAME(attn_dx)(const Op *op)
{
    Plan plan = backward_plan(op);
#pragma omp parallel for schedule(dynamic) if (plan.shared)
    for (int slot = 0; slot < plan.slots; slot++)
        for (int task = slot; task < plan.tasks; task += plan.slots) attn_dx_task(op, &plan, task, (float *)op->scratch + (size_t)slot * plan.floats);
    if (plan.parts > 1) add_chunks(op, &plan);
    return 0;
}
