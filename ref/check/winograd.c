#include "check/winograd.h"
#include "base/err.h"

/* With t = m + 2, a tile of t x t inputs d and the kernel g give m x m outputs
 *
 *   y = A' [ sum over i of (G g G') * (B' d B) ] A           (' transposed, * element by element)
 *
 * Each of the three transforms, and the sum, rounds in proportion to what it adds up, magnitudes taken: so the error of y is at most that of
 *
 *   M = |A'| [ sum over i of (|G| |g| |G'|) * (|B'| |d| |B|) ] |A|
 *
 * times u and the number of roundings on the longest path: 3 + 3 for the kernel, t + t for the input, t + t for the output, and the sum over i. */
typedef struct {
    int    m, t;
    double b[6][6], g[6][3], a[4][6];                   /* B', G, A', magnitudes */
} Transform;

static const Transform transforms[] = {
    { 2, 4, { { 1, 0, 1, 0 }, { 0, 1, 1, 0 }, { 0, 1, 1, 0 }, { 0, 1, 0, 1 } }, { { 1, 0, 0 }, { .5, .5, .5 }, { .5, .5, .5 }, { 0, 0, 1 } },
      { { 1, 1, 1, 0 }, { 0, 1, 1, 1 } } },
    { 4, 6, { { 4, 0, 5, 0, 1, 0 }, { 0, 4, 4, 1, 1, 0 }, { 0, 4, 4, 1, 1, 0 }, { 0, 2, 1, 2, 1, 0 }, { 0, 2, 1, 2, 1, 0 }, { 0, 4, 0, 5, 0, 1 } },
      { { 1. / 4, 0, 0 }, { 1. / 6, 1. / 6, 1. / 6 }, { 1. / 6, 1. / 6, 1. / 6 }, { 1. / 24, 1. / 12, 1. / 6 }, { 1. / 24, 1. / 12, 1. / 6 }, { 0, 0, 1 } },
      { { 1, 1, 1, 1, 1, 0 }, { 0, 1, 1, 2, 2, 0 }, { 0, 1, 1, 4, 4, 0 }, { 0, 1, 1, 8, 8, 1 } } },
};

/* The convolution that is transformed: of x, k inputs, o outputs; of a conv_dx of dy, with the taps reversed and the padding that remains. */
typedef struct {
    Tensor        x, y, w;
    int           reversed, top, left;
    const double *u;                                    /* |G| |g| |G'|: (o, t t, k) */
} Plane;

static double tap(const Plane *p, int o, int h, int w, int k)
{
    return fabs(p->reversed ? at(p->w, place_of(p->w, k, 2 - h, 2 - w, o)) : at(p->w, place_of(p->w, o, h, w, k)));
}

static double input(const Plane *p, int n, int h, int w, int k)
{
    return h < 0 || h >= p->x.h || w < 0 || w >= p->x.w ? 0 : fabs(at(p->x, place_of(p->x, n, h, w, k)));
}

static void transform_kernel(const Transform *f, const Plane *p, int o, int k, double *u)
{
    for (int r = 0; r < f->t; r++)
        for (int s = 0; s < f->t; s++) {
            double sum = 0;
            for (int h = 0; h < 3; h++)
                for (int w = 0; w < 3; w++) sum += f->g[r][h] * tap(p, o, h, w, k) * f->g[s][w];
            u[((size_t)o * 36 + (size_t)(r * f->t + s)) * (size_t)p->x.c + (size_t)k] = sum;
        }
}

static double transform_input(const Transform *f, const Plane *p, int n, int h0, int w0, int place, int k)
{
    double sum = 0;
    for (int h = 0; h < f->t; h++)
        for (int w = 0; w < f->t; w++) sum += f->b[place / f->t][h] * input(p, n, h0 + h, w0 + w, k) * f->b[place % f->t][w];
    return sum;
}

/* M of the tile of outputs at (h0, w0), all o; v: (t t, k) */
static void tile(const Transform *f, const Plane *p, int n, int h0, int w0, double *v, double *magnitude)
{
    int k = p->x.c, t = f->t;
    for (int place = 0; place < t * t; place++)
        for (int j = 0; j < k; j++) v[place * k + j] = transform_input(f, p, n, h0 - p->top, w0 - p->left, place, j);
    for (int o = 0; o < p->y.c; o++) {
        double product[36] = { 0 };
        for (int place = 0; place < t * t; place++)
            for (int j = 0; j < k; j++) product[place] += v[place * k + j] * p->u[((size_t)o * 36 + (size_t)place) * (size_t)k + (size_t)j];
        for (int h = 0; h < f->m && h0 + h < p->y.h; h++)
            for (int w = 0; w < f->m && w0 + w < p->y.w; w++) {
                double sum = 0;
                for (int place = 0; place < t * t; place++) sum += f->a[h][place / t] * product[place] * f->a[w][place % t];
                magnitude[place_of(p->y, n, h0 + h, w0 + w, o)] = sum;
            }
    }
}

double *winograd_error(Case *c, int m)
{
    const Op        *op = &c->op;
    const Transform *f = m == 2 ? &transforms[0] : &transforms[1];
    CHECK((m == 2 || m == 4) && op->a.kernel == 3 && op->a.stride == 1, "%s: no transform F(%d x %d) of this shape", op_name(op->kind), m, m);
    int     dx = op->kind == OP_CONV_DX;
    Plane   p = { op->x[0], op->y[0], op->w.t, dx, dx ? 2 - op->a.pad[0] : op->a.pad[0], dx ? 2 - op->a.pad[2] : op->a.pad[2], NULL };
    double *u = hold(c, (size_t)p.y.c * 36 * (size_t)p.x.c * sizeof(double)), *v = hold(c, 36 * (size_t)p.x.c * sizeof(double));
    double *e = hold(c, tensor_count(p.y) * sizeof(double));
    for (int o = 0; o < p.y.c; o++)
        for (int k = 0; k < p.x.c; k++) transform_kernel(f, &p, o, k, u);
    p.u = u;
    for (int n = 0; n < p.y.n; n++)
        for (int h = 0; h < p.y.h; h += m)
            for (int w = 0; w < p.y.w; w += m) tile(f, &p, n, h, w, v, e);
    double roundings = 2 * (3 + 2 * f->t) + sum_num((Sum){ .m = 1, .k = (size_t)p.x.c }, c->values == RANDOM, c->chain).e;
    for (size_t j = 0; j < tensor_count(p.y); j++) e[j] *= roundings * fabs(op->a.scale);
    return e;
}
