/* The arena: its stack, its heap, and that the same calls give the same places with and without memory. */
#include "base/arena.h"
#include "base/err.h"
#include "base/rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SIZE = 64 * ARENA_ALIGN };
static _Alignas(ARENA_ALIGN) char memory[SIZE];

static size_t at(const Arena *a, const void *p) { return (uintptr_t)p - (uintptr_t)a->base; }

static void expect_full(const void *p, const char *part)
{
    if (p || !strstr(err_text(), part)) fail_msg("wanted NULL and \"%s\", got %p: %s", part, p, err_text());
}

static void test_stack(void **state)
{
    Arena a;
    (void)state;
    arena_open(&a, memory, sizeof memory);
    assert_int_equal(at(&a, arena_push(&a, 1)), 0);
    size_t mark = arena_mark(&a);
    assert_int_equal(mark, ARENA_ALIGN);
    assert_int_equal(at(&a, arena_push(&a, ARENA_ALIGN)), ARENA_ALIGN);
    assert_int_equal(at(&a, arena_push(&a, ARENA_ALIGN + 1)), 2 * ARENA_ALIGN);
    assert_int_equal(arena_mark(&a), 4 * ARENA_ALIGN);
    arena_reset(&a, mark);
    assert_int_equal(at(&a, arena_push(&a, 10)), ARENA_ALIGN);      /* the same place again */
    assert_int_equal(a.peak_bottom, 4 * ARENA_ALIGN);
    arena_close(&a);
}

static void test_heap(void **state)
{
    Arena a;
    char *p[4];
    (void)state;
    arena_open(&a, memory, sizeof memory);
    for (int i = 0; i < 4; i++) p[i] = arena_take(&a, 4 * ARENA_ALIGN);
    for (int i = 0; i < 4; i++) assert_int_equal(at(&a, p[i]), SIZE - 4 * (size_t)(i + 1) * ARENA_ALIGN);
    arena_give(&a, p[0]);
    arena_give(&a, p[2]);
    assert_int_equal(at(&a, arena_take(&a, 5 * ARENA_ALIGN)), SIZE - 21 * ARENA_ALIGN);     /* fits no hole */
    char *q = arena_take(&a, 3 * ARENA_ALIGN);
    assert_int_equal(at(&a, q), SIZE - 3 * ARENA_ALIGN);            /* the highest hole, from its top */
    assert_int_equal(at(&a, arena_take(&a, 2 * ARENA_ALIGN)), SIZE - 10 * ARENA_ALIGN);     /* one is left there, the next hole has four */
    assert_int_equal(at(&a, arena_take(&a, ARENA_ALIGN)), SIZE - 4 * ARENA_ALIGN);
    assert_int_equal(a.blocks, 6);
    assert_int_equal(a.peak_top, 21 * ARENA_ALIGN);
    arena_close(&a);
}

static void test_exhaustion(void **state)
{
    Arena a;
    (void)state;
    arena_open(&a, memory, sizeof memory);
    expect_full(arena_push(&a, SIZE + 1), "out of memory: 4097 bytes wanted, 4096 of 4096 free");
    expect_full(arena_push(&a, SIZE_MAX), "out of memory");         /* does not wrap when rounded up */
    expect_full(arena_take(&a, SIZE_MAX), "out of memory");
    assert_non_null(arena_push(&a, SIZE / 2));
    expect_full(arena_take(&a, SIZE / 2 + 1), "out of memory");
    void *p = arena_take(&a, SIZE / 2);                             /* the ends meet */
    assert_non_null(p);
    expect_full(arena_push(&a, 1), "0 of 4096 free");
    expect_full(arena_take(&a, 1), "0 of 4096 free");
    arena_give(&a, p);
    assert_int_equal(a.blocks, 0);
    assert_non_null(arena_push(&a, SIZE / 2));
    arena_close(&a);
}

/* One of 2000 random calls; the places that it gives and takes away are a function of rng and of the arena. */
typedef struct {
    void  *p[64];
    size_t bytes[64], mark[64];
    int    live, marks;
} Calls;

static size_t call(Arena *a, Calls *c, Rng *rng)
{
    uint32_t kind = rng_below(rng, 5), bytes = 1 + rng_below(rng, 6 * ARENA_ALIGN), which = rng_below(rng, 64);
    if (kind < 2 && c->live < 64) {
        void *p = arena_take(a, bytes);
        if (!p) return SIZE_MAX;
        c->p[c->live] = p, c->bytes[c->live++] = bytes;
        return at(a, p);
    }
    if (kind == 2 && c->live) {
        int i = (int)which % c->live;
        arena_give(a, c->p[i]);
        c->live--;
        c->p[i] = c->p[c->live], c->bytes[i] = c->bytes[c->live];
    } else if (kind == 3 && c->marks < 64) {
        c->mark[c->marks++] = arena_mark(a);
        void *p = arena_push(a, bytes);
        return p ? at(a, p) : SIZE_MAX;
    } else if (c->marks) {
        arena_reset(a, c->mark[--c->marks]);
    }
    return 0;
}

static void expect_apart(const Arena *a, const Calls *c)
{
    for (int i = 0; i < c->live; i++) {
        size_t from = at(a, c->p[i]), end = from + c->bytes[i];
        if (from % ARENA_ALIGN || from < a->bottom || end > a->size) fail_msg("block %zu..%zu, bottom %zu, size %zu", from, end, a->bottom, a->size);
        for (int j = 0; j < i; j++) {
            size_t other = at(a, c->p[j]);
            if (from < other + c->bytes[j] && other < end) fail_msg("blocks %zu..%zu and %zu..%zu overlap", from, end, other, other + c->bytes[j]);
        }
    }
}

static void test_replay(void **state)
{
    Arena real, dry;
    Calls of_real = { .live = 0 }, of_dry = { .live = 0 };
    Rng   first = rng_open(1, RNG_TEST, 0, 0), second = first;
    int   refused = 0;
    (void)state;
    arena_open(&real, memory, sizeof memory);
    arena_open(&dry, NULL, sizeof memory);
    for (int i = 0; i < 2000; i++) {
        size_t got = call(&real, &of_real, &first);
        if (got != call(&dry, &of_dry, &second)) fail_msg("call %d (seed 1): different places", i);
        refused += got == SIZE_MAX;
        expect_apart(&real, &of_real);
    }
    assert_true(refused > 0 && refused < 1000);
    assert_int_equal(real.peak_bottom, dry.peak_bottom);
    assert_int_equal(real.peak_top, dry.peak_top);
    while (of_real.live) arena_give(&real, of_real.p[--of_real.live]);
    assert_int_equal(real.blocks, 0);
    arena_reset(&real, 0);
    assert_non_null(arena_take(&real, SIZE));                       /* nothing was lost */
    arena_close(&real);
    arena_close(&dry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_heap),
        cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
