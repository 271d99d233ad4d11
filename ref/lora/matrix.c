#include "lora/matrix.h"
#include "base/err.h"
#include "base/rng.h"
#define REAL 64
#include "ops/gemm.h"
#include <stdlib.h>

void matrix_product(double *c, const double *a, const double *b, int m, int k, int n, double s, int turned)
{
    enum { TILE = 64 };
    gemm_open_f64();
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < m; i += TILE) {
        int           rows = m - i < TILE ? m - i : TILE;
        const double *from = turned ? a + i : a + (size_t)i * (size_t)k;
        gemm_f64(turned, 0, rows, n, k, s, from, (size_t)(turned ? m : k), b, (size_t)n, 1, c + (size_t)i * (size_t)n, (size_t)n);
    }
}

static double dot(const double *x, const double *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

double matrix_norm(const double *x, int rows, int columns)
{
    double sum = 0;
    for (int i = 0; i < rows; i++) sum += dot(x + (size_t)i * (size_t)columns, x + (size_t)i * (size_t)columns, columns);
    return sqrt(sum);
}

void matrix_transpose(double *to, const double *from, int rows, int columns)
{
    for (size_t i = 0; i < (size_t)rows; i++)
        for (size_t j = 0; j < (size_t)columns; j++) to[j * (size_t)rows + i] = from[i * (size_t)columns + j];
}

/* ---- QR ---- */

/* x (r,n), rows are vectors: its first rows become orthonormal, at most k = min(r,n), the rest 0, and t (r,k) with the old x = t x. Gram and Schmidt, each
 * vector twice (Kahan's "twice is enough"); one that lies in the span of those before it, to rounding, brings no row. */
static void orthogonalise(double *x, double *t, int r, int n)
{
    int k = r < n ? r : n, found = 0;
    if (t) memset(t, 0, (size_t)r * (size_t)k * sizeof *t);
    for (int i = 0; i < r; i++) {
        double *v = x + (size_t)i * (size_t)n, *to = x + (size_t)found * (size_t)n, before = sqrt(dot(v, v, n));
        for (int pass = 0; pass < 2; pass++)
            for (int j = 0; j < found; j++) {
                const double *q = x + (size_t)j * (size_t)n;
                double        along = dot(q, v, n);
                for (int l = 0; l < n; l++) v[l] -= along * q[l];
                if (t) t[(size_t)i * (size_t)k + (size_t)j] += along;
            }
        double length = sqrt(dot(v, v, n));
        if (found == k || !(length > 1e-14 * before)) continue;
        for (int l = 0; l < n; l++) to[l] = v[l] / length;
        if (t) t[(size_t)i * (size_t)k + (size_t)found] = length;
        found++;
    }
    memset(x + (size_t)found * (size_t)n, 0, (size_t)(r - found) * (size_t)n * sizeof *x);
}

/* ---- Jacobi ---- */

/* (p,q) = (c p - s q, s p + c q), rows of n. */
static void rotate(double *p, double *q, int n, double c, double s)
{
    for (int i = 0; i < n; i++) {
        double x = p[i], y = q[i];
        p[i] = c * x - s * y, q[i] = s * x + c * y;
    }
}

/* a (m,n), m <= n, becomes w a with w (m,m) orthogonal and orthogonal rows; w begins as the identity. */
static void jacobi(double *a, double *w, int m, int n)
{
    enum { SWEEPS = 40 };
    memset(w, 0, (size_t)m * (size_t)m * sizeof *w);
    for (size_t i = 0; i < (size_t)m; i++) w[i * (size_t)m + i] = 1;
    for (int sweep = 0, turned = 1; sweep < SWEEPS && turned; sweep++) {
        turned = 0;
        for (int i = 0; i < m; i++)
            for (int j = i + 1; j < m; j++) {
                double *p = a + (size_t)i * (size_t)n, *q = a + (size_t)j * (size_t)n, pp = dot(p, p, n), qq = dot(q, q, n), pq = dot(p, q, n);
                if (!(fabs(pq) > 1e-15 * sqrt(pp * qq))) continue;
                double zeta = (qq - pp) / (2 * pq), t = (zeta >= 0 ? 1 : -1) / (fabs(zeta) + sqrt(1 + zeta * zeta)), c = 1 / sqrt(1 + t * t);
                rotate(p, q, n, c, c * t);
                rotate(w + (size_t)i * (size_t)m, w + (size_t)j * (size_t)m, m, c, c * t);
                turned = 1;
            }
    }
}

/* A singular value, and its row. */
typedef struct {
    double value;
    int    at;
} Place;

static int descending(const void *a, const void *b)
{
    const Place *x = a, *y = b;
    return x->value < y->value ? 1 : x->value > y->value ? -1 : x->at - y->at;
}

/* core (a,b), b >= a, = sum of s[j] left_j right_j^T: left (a,a) and right (a,b), a vector a row. core is used up. */
static int core_svd(double *left, double *s, double *right, double *core, int a, int b)
{
    double *w = malloc((size_t)a * (size_t)a * sizeof *w);
    Place  *order = malloc((size_t)a * sizeof *order);
    if (!w || !order) return free(w), free(order), err("out of memory for singular values of a rank of %d", a);
    jacobi(core, w, a, b);
    for (int i = 0; i < a; i++) order[i] = (Place){ sqrt(dot(core + (size_t)i * (size_t)b, core + (size_t)i * (size_t)b, b)), i };
    qsort(order, (size_t)a, sizeof *order, descending);
    for (size_t j = 0; j < (size_t)a; j++) {
        size_t at = (size_t)order[j].at;
        s[j] = order[j].value;
        for (size_t l = 0; l < (size_t)b; l++) right[j * (size_t)b + l] = s[j] > 0 ? core[at * (size_t)b + l] / s[j] : 0;
        memcpy(left + j * (size_t)a, w + at * (size_t)a, (size_t)a * sizeof *w);
    }
    free(w);
    free(order);
    return 0;
}

/* ---- both ---- */

/* With up^T = t1 q1 (r,k1) (k1,o) and down = t2 q2 (r,k2) (k2,n), up down = q1^T (t1^T t2) q2, whose core is (k1,k2). */
int matrix_svd(double *u, double *s, double *v, const double *up, const double *down, int o, int r, int n)
{
    int    k1 = o < r ? o : r, k2 = n < r ? n : r, flip = k1 > k2, k = flip ? k2 : k1, wide = flip ? k1 : k2;
    size_t ro = (size_t)r * (size_t)o, rn = (size_t)r * (size_t)n, kk = (size_t)k1 * (size_t)k2;
    double *q1 = malloc((ro + rn + (size_t)r * (size_t)(k1 + k2) + 2 * kk + (size_t)k * (size_t)k) * sizeof *q1), *q2, *t1, *t2, *core, *left, *right;
    if (!q1) return err("out of memory for singular values of %d x %d", o, n);
    q2 = q1 + ro, t1 = q2 + rn, t2 = t1 + (size_t)r * (size_t)k1, core = t2 + (size_t)r * (size_t)k2, right = core + kk, left = right + kk;
    matrix_transpose(q1, up, o, r);
    memcpy(q2, down, rn * sizeof *q2);
    orthogonalise(q1, t1, r, o);
    orthogonalise(q2, t2, r, n);
    memset(core, 0, kk * sizeof *core);
    if (flip) matrix_product(core, t2, t1, k2, r, k1, 1, 1);
    else matrix_product(core, t1, t2, k1, r, k2, 1, 1);
    int status = core_svd(left, s, right, core, k, wide);
    if (!status) {
        memset(u, 0, (size_t)k * (size_t)o * sizeof *u);
        memset(v, 0, (size_t)k * (size_t)n * sizeof *v);
        matrix_product(u, flip ? right : left, q1, k, k1, o, 1, 0);
        matrix_product(v, flip ? left : right, q2, k, k2, n, 1, 0);
    }
    free(q1);
    return status;
}

int matrix_svd_large(double *u, double *s, double *v, const double *w, int o, int n, int k, unsigned seed)
{
    enum { MORE = 16, POWERS = 2 };
    int     least = o < n ? o : n, l = k + MORE < least ? k + MORE : least;
    size_t  lo = (size_t)l * (size_t)o, ln = (size_t)l * (size_t)n, longest = (size_t)(o > n ? o : n) * (size_t)l;
    double *y = malloc((2 * lo + 2 * ln + longest + (size_t)l) * sizeof *y);
    if (!y) return err("out of memory for singular values of %d x %d", o, n);
    double *b = y + lo, *turned = b + ln, *ul = turned + longest, *vl = ul + lo, *sl = vl + ln;
    Rng rng = rng_open(seed, RNG_INIT, (unsigned)o, (unsigned)n);
    for (size_t i = 0; i < ln; i++) b[i] = rng_normal(&rng);
    for (int power = 0; power <= POWERS; power++) {                         /* y^T = w b^T, then b = y w: rows are vectors */
        if (power) orthogonalise(b, NULL, l, n);
        matrix_transpose(turned, b, l, n);
        memset(ul, 0, lo * sizeof *ul);
        matrix_product(ul, w, turned, o, n, l, 1, 0);
        matrix_transpose(y, ul, o, l);
        orthogonalise(y, NULL, l, o);
        memset(b, 0, ln * sizeof *b);
        matrix_product(b, y, w, l, o, n, 1, 0);
    }
    matrix_transpose(turned, y, l, o);
    int status = matrix_svd(ul, sl, vl, turned, b, o, l, n);
    if (!status) {
        memcpy(u, ul, (size_t)k * (size_t)o * sizeof *u);
        memcpy(v, vl, (size_t)k * (size_t)n * sizeof *v);
        memcpy(s, sl, (size_t)k * sizeof *s);
    }
    free(y);
    return status;
}
