/* What a warp does together - votes, shuffles, matrices - and atomics. Fragments as the PTX manual gives them (Parallel Thread Execution ISA, "Warp Level
 * Matrix Instructions"): with g = lane / 4 and t = lane % 4,
 *   ldmatrix  a lane gets elements (g, 2t) and (g, 2t+1) of each 8x8 matrix; .trans: (2t, g) and (2t+1, g). Row r of matrix m lies where lane 8m + r says.
 *   mma       A (16,8) row-major: a0 = (g, 2t..), a1 = (g+8, 2t..).   B (8,8): b = (2t.., g).   C, D (16,8): d0 d1 = (g, 2t..), d2 d3 = (g+8, 2t..). */
#include "core.h"

namespace emu {

void combine_ballot(void **args, unsigned mask)
{
    unsigned result = 0;
    for (unsigned l = 0; l < 32; l++)
        if (mask >> l & 1) result |= (unsigned)(((Ballot *)args[l])->value != 0) << l;
    for (unsigned l = 0; l < 32; l++)
        if (mask >> l & 1) ((Ballot *)args[l])->result = result;
}

void combine_shuffle(void **args, unsigned mask)
{
    for (unsigned l = 0; l < 32; l++) {
        if (!(mask >> l & 1)) continue;
        Shuffle *s = (Shuffle *)args[l];
        if (!(mask >> s->source & 1)) fail(s->site, "lane %u reads lane %d, which is not in the mask %08x", l, s->source, mask);
        s->result = ((Shuffle *)args[s->source])->value;
    }
}

struct Rows {
    const void *row;
    const char *all[32];
};
static void combine_rows(void **args, unsigned)
{
    for (int l = 0; l < 32; l++)
        for (int k = 0; k < 32; k++) ((Rows *)args[l])->all[k] = (const char *)((Rows *)args[k])->row;
}

static unsigned read16(const char *p, void *pc)
{
    uint16_t x;
    touch(p, 2, TOUCH_READ, pc);
    memcpy(&x, p, 2);
    return x;
}

void load_matrices(unsigned *r, const void *row, int count, int trans, Site site)
{
    const unsigned lane = self->lane, g = lane / 4, t = lane % 4;
    const char    *at = (const char *)row;
    if ((int)lane < 8 * count) {
        if ((uintptr_t)row % 16) fail(site, "ldmatrix: lane %u's row is not on a multiple of 16 bytes", lane);
        if (at < block->shared || at + 16 > block->shared + block->shared_size) fail(site, "ldmatrix: lane %u's row is not in shared memory", lane);
    }
    void *pc = __builtin_return_address(0);
    Rows  rows = { row, {} };
    warp_step(~0u, &rows, combine_rows, site);
    for (int m = 0; m < count; m++) {
        unsigned low = read16(trans ? rows.all[8 * m + 2 * t] + 2 * g : rows.all[8 * m + g] + 4 * t, pc);
        unsigned high = read16(trans ? rows.all[8 * m + 2 * t + 1] + 2 * g : rows.all[8 * m + g] + 4 * t + 2, pc);
        r[m] = low | high << 16;
    }
}

struct Product {
    unsigned a0, a1, b;
    float   *d;
};
static float low(unsigned pair) { return __half2float({ (uint16_t)pair }); }
static float high(unsigned pair) { return __half2float({ (uint16_t)(pair >> 16) }); }
static void  combine_product(void **args, unsigned)
{
    float a[16][8], b[8][8], c[16][8];
    for (int l = 0; l < 32; l++) {
        const Product *p = (const Product *)args[l];
        const int      g = l / 4, t = l % 4 * 2;
        a[g][t] = low(p->a0), a[g][t + 1] = high(p->a0), a[g + 8][t] = low(p->a1), a[g + 8][t + 1] = high(p->a1);
        b[t][g] = low(p->b), b[t + 1][g] = high(p->b);
        c[g][t] = p->d[0], c[g][t + 1] = p->d[1], c[g + 8][t] = p->d[2], c[g + 8][t + 1] = p->d[3];
    }
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 8; k++)
            for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
    for (int l = 0; l < 32; l++) {
        const Product *p = (const Product *)args[l];
        const int      g = l / 4, t = l % 4 * 2;
        p->d[0] = c[g][t], p->d[1] = c[g][t + 1], p->d[2] = c[g + 8][t], p->d[3] = c[g + 8][t + 1];
    }
}

void multiply(float *d, unsigned a0, unsigned a1, unsigned b, Site site)
{
    Product p = { a0, a1, b, d };
    warp_step(~0u, &p, combine_product, site);
}

/* ---- atomics ---- */

template <class T> static T changed(T old, Change change, T value)
{
    switch (change) {
    case CHANGE_ADD: return old + value;
    case CHANGE_MAX: return old > value ? old : value;
    case CHANGE_MIN: return old < value ? old : value;
    case CHANGE_AND: return (T)((unsigned long long)old & (unsigned long long)value);
    case CHANGE_OR: return (T)((unsigned long long)old | (unsigned long long)value);
    default: return value;
    }
}

template <class T> T atomic(T *p, Change change, T value)
{
    touch(p, sizeof *p, TOUCH_ATOMIC, __builtin_return_address(0));
    T old, next;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do next = changed(old, change, value);
    while (!__atomic_compare_exchange(p, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
template int                atomic(int *, Change, int);
template unsigned           atomic(unsigned *, Change, unsigned);
template unsigned long long atomic(unsigned long long *, Change, unsigned long long);
template float              atomic(float *, Change, float);

template <class T> T atomic_cas(T *p, T expected, T value)
{
    touch(p, sizeof *p, TOUCH_ATOMIC, __builtin_return_address(0));
    __atomic_compare_exchange(p, &expected, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
template int      atomic_cas(int *, int, int);
template unsigned atomic_cas(unsigned *, unsigned, unsigned);
}
