#include "ops/ref.h"

/* Attention, a head at a time. For a row of scores s = scale q k^T,
 *
 *   p = e^(s - lse),   lse = log sum e^s = m + log sum e^(s-m),   y = sum over columns of p v.
 *
 * From dy:  dv_j = sum over rows of p_j dy;   dp_j = dy . v_j;   and since dp/ds is p_j (delta_jl - p_l),
 *
 *   ds_j = p_j (dp_j - D),   D = sum_j p_j dp_j = dy . y,        dq = scale sum_j ds_j k_j,   dk_j = scale sum over rows of ds_j q.
 *
 * The backward pass makes p again from the saved lse (Dao et al. 2022). Scores exist for a block of query rows at a time, in scratch. */

enum { SLOTS = 32, MOST_ROWS = 256 };

/* Work is cut into (image, head, block of rows); slot s of scratch serves tiles s, s + slots, ... */
typedef struct {
    int rows, blocks, tiles, slots, shared;             /* shared: enough for more than one thread */
} Plan;

static Plan plan_of(Tensor q, Tensor k, int heads, int by_rows)
{
    int rows = (1 << 16) / k.w, blocks;
    rows = rows < 64 ? 64 : rows > MOST_ROWS ? MOST_ROWS : rows;
    rows = rows < q.w ? rows : q.w;
    blocks = by_rows ? (q.w + rows - 1) / rows : 1;
    int tiles = q.n * heads * blocks;
    return (Plan){ rows, blocks, tiles, tiles < SLOTS ? tiles : SLOTS, tiles > 1 && tensor_count(q) * (size_t)k.w > PARALLEL_PRODUCTS };
}

/* Head `head` of image n, from row `row` on. */
static real *head_at(Tensor t, int n, int row, int head, int heads)
{
    return (real *)t.p + (size_t)n * t.img + (size_t)row * t.ld + (size_t)head * (size_t)(t.c / heads);
}

static real row_max(const real *s, int count)
{
    real lane[LANES], most = s[0];
    int  j = 0;
    for (int l = 0; l < LANES; l++) lane[l] = s[0];
    for (; j + LANES <= count; j += LANES)
        for (int l = 0; l < LANES; l++) lane[l] = s[j + l] > lane[l] ? s[j + l] : lane[l];
    for (; j < count; j++) most = s[j] > most ? s[j] : most;
    for (int l = 0; l < LANES; l++) most = lane[l] > most ? lane[l] : most;
    return most;
}

/* ---- forward ---- */

size_t NAME(attn_need)(const Op *op)
{
    Plan plan = plan_of(op->x[0], op->x[1], op->a.heads, 1);
    return (size_t)plan.slots * (size_t)plan.rows * (size_t)op->x[1].w * sizeof(real);
}

/* s = e^(s - max) and its sum, by which the (shorter) row of y is divided later. Columns from `seen` on are hidden by the causal mask. */
static double softmax_row(real *s, int seen, int columns, real *lse)
{
    real most = row_max(s, seen);
    for (int j = 0; j < seen; j++) s[j] = EXP(s[j] - most);
    for (int j = seen; j < columns; j++) s[j] = 0;
    double sum = sum_of(s, seen);
    *lse = (real)((double)most + log(sum));
    return sum;
}

static void attn_tile(const Op *op, const Plan *plan, int tile, real *s)
{
    Tensor y = op->y[0], q = op->x[0], k = op->x[1], v = op->x[2];
    int    heads = op->a.heads, d = q.c / heads, head = tile / plan->blocks % heads, n = tile / plan->blocks / heads;
    int    r0 = tile % plan->blocks * plan->rows, rows = q.w - r0 < plan->rows ? q.w - r0 : plan->rows, columns = op->a.causal ? r0 + rows : k.w;
    real  *to = head_at(y, n, r0, head, heads);
    double sum[MOST_ROWS];
    NAME(gemm)(0, 1, rows, columns, d, (real)op->a.scale, head_at(q, n, r0, head, heads), q.ld, head_at(k, n, 0, head, heads), k.ld, 0, s, (size_t)columns);
    for (int r = 0; r < rows; r++) {
        real *lse = (real *)op->y[1].p + (size_t)n * op->y[1].img + (size_t)(r0 + r) * op->y[1].ld + head;
        sum[r] = softmax_row(s + (size_t)r * (size_t)columns, op->a.causal ? r0 + r + 1 : columns, columns, lse);
    }
    NAME(gemm)(0, 0, rows, d, columns, 1, s, (size_t)columns, head_at(v, n, 0, head, heads), v.ld, 0, to, y.ld);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < d; j++) to[(size_t)r * y.ld + (size_t)j] = (real)((double)to[(size_t)r * y.ld + (size_t)j] / sum[r]);
}

int NAME(attn)(const Op *op)
{
    Plan plan = plan_of(op->x[0], op->x[1], op->a.heads, 1);
#pragma omp parallel for schedule(static, 1) if (plan.shared || NAME(gemm_in_region)())
    for (int slot = 0; slot < plan.slots; slot++)
        for (int tile = slot; tile < plan.tiles; tile += plan.slots)
            attn_tile(op, &plan, tile, (real *)op->scratch + (size_t)slot * (size_t)plan.rows * (size_t)op->x[1].w);
    return 0;
}

/* ---- backward: a tile is a whole head of an image, for dk and dv are sums over its rows ---- */

size_t NAME(attn_dx_need)(const Op *op)
{
    Plan plan = plan_of(op->x[1], op->x[2], op->a.heads, 0);
    return 2 * (size_t)plan.slots * (size_t)plan.rows * (size_t)op->x[2].w * sizeof(real);
}

/* p = e^(s - lse), ds = p (dp - D). */
static void gradient_row(real *s, real *dp, int seen, int columns, real lse, real d)
{
    for (int j = 0; j < seen; j++) {
        real p = EXP(s[j] - lse);
        s[j] = p, dp[j] = p * (dp[j] - d);
    }
    for (int j = seen; j < columns; j++) s[j] = 0, dp[j] = 0;
}

static void attn_dx_tile(const Op *op, const Plan *plan, int tile, real *s, real *dp)
{
    Tensor dq = op->y[0], dk = op->y[1], dv = op->y[2], dy = op->x[0], q = op->x[1], k = op->x[2], v = op->x[3], y = op->x[4], lse = op->x[5];
    int    heads = op->a.heads, d = q.c / heads, head = tile % heads, n = tile / heads;
    real   scale = (real)op->a.scale, *dk0 = head_at(dk, n, 0, head, heads), *dv0 = head_at(dv, n, 0, head, heads);
    real  *k0 = head_at(k, n, 0, head, heads), *v0 = head_at(v, n, 0, head, heads);
    for (int j = 0; j < k.w; j++) {
        memset(dk0 + (size_t)j * dk.ld, 0, (size_t)d * sizeof(real));
        memset(dv0 + (size_t)j * dv.ld, 0, (size_t)d * sizeof(real));
    }
    for (int r0 = 0; r0 < q.w; r0 += plan->rows) {
        int    rows = q.w - r0 < plan->rows ? q.w - r0 : plan->rows, columns = op->a.causal ? r0 + rows : k.w;
        size_t ld = (size_t)columns;
        real  *q0 = head_at(q, n, r0, head, heads), *y0 = head_at(y, n, r0, head, heads), *dy0 = head_at(dy, n, r0, head, heads);
        NAME(gemm)(0, 1, rows, columns, d, scale, q0, q.ld, k0, k.ld, 0, s, ld);
        NAME(gemm)(0, 1, rows, columns, d, 1, dy0, dy.ld, v0, v.ld, 0, dp, ld);
        for (int r = 0; r < rows; r++) {
            real *saved = (real *)lse.p + (size_t)n * lse.img + (size_t)(r0 + r) * lse.ld + head;
            real  share = (real)dot(dy0 + (size_t)r * dy.ld, y0 + (size_t)r * y.ld, d);
            gradient_row(s + (size_t)r * ld, dp + (size_t)r * ld, op->a.causal ? r0 + r + 1 : columns, columns, *saved, share);
        }
        NAME(gemm)(0, 0, rows, d, columns, scale, dp, ld, k0, k.ld, 0, head_at(dq, n, r0, head, heads), dq.ld);
        NAME(gemm)(1, 0, columns, d, rows, scale, dp, ld, q0, q.ld, 1, dk0, dk.ld);
        NAME(gemm)(1, 0, columns, d, rows, 1, s, ld, dy0, dy.ld, 1, dv0, dv.ld);
    }
}

int NAME(attn_dx)(const Op *op)
{
    Plan   plan = plan_of(op->x[1], op->x[2], op->a.heads, 0);
    size_t block = (size_t)plan.rows * (size_t)op->x[2].w;
#pragma omp parallel for schedule(static, 1) if (plan.shared || NAME(gemm_in_region)())
    for (int slot = 0; slot < plan.slots; slot++)
        for (int tile = slot; tile < plan.tiles; tile += plan.slots) {
            real *s = (real *)op->scratch + 2 * (size_t)slot * block;
            attn_dx_tile(op, &plan, tile, s, s + block);
        }
    return 0;
}
