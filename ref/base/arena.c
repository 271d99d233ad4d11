#include "base/arena.h"
#include "base/err.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t rounded(size_t bytes) { return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN; }
static size_t top(const Arena *a) { return a->blocks ? a->block[a->blocks - 1].at : a->size; }
static char  *place(const Arena *a, size_t at) { return (char *)((uintptr_t)a->base + at); }

/* Without memory the span begins at an address that is none, so that no place in it is NULL. */
void arena_open(Arena *a, void *base, size_t size)
{
    *a = (Arena){ .base = base ? base : (char *)(uintptr_t)ARENA_ALIGN, .size = size / ARENA_ALIGN * ARENA_ALIGN };
}

void arena_close(Arena *a)
{
    free(a->block);
    *a = (Arena){ 0 };
}

static void *full(const Arena *a, size_t bytes)
{
    err("out of memory: %zu bytes wanted, %zu of %zu free", bytes, top(a) - a->bottom, a->size);
    return NULL;
}

void *arena_push(Arena *a, size_t bytes)
{
    size_t at = a->bottom, want = rounded(bytes);
    if (want < bytes || want > top(a) - at) return full(a, bytes);
    a->bottom += want;
    if (a->bottom > a->peak_bottom) a->peak_bottom = a->bottom;
    return place(a, at);
}

size_t arena_mark(const Arena *a) { return a->bottom; }

void arena_reset(Arena *a, size_t mark)
{
    CHECK(mark <= a->bottom, "reset to %zu, bottom at %zu", mark, a->bottom);
    a->bottom = mark;
}

void *arena_take(Arena *a, size_t bytes)
{
    size_t want = rounded(bytes), ceiling = a->size;
    int    k = 0;                                       /* the hole is between block k-1 and block k */
    for (; k < a->blocks; k++) {
        if (ceiling - (a->block[k].at + a->block[k].bytes) >= want) break;
        ceiling = a->block[k].at;
    }
    if (want < bytes || (k == a->blocks && (ceiling < a->bottom || ceiling - a->bottom < want))) return full(a, bytes);
    if (a->blocks == a->room) {
        int         room = a->room ? 2 * a->room : 64;
        ArenaBlock *more = realloc(a->block, (size_t)room * sizeof *more);
        if (!more) return err("out of memory for %d arena blocks", room), NULL;
        a->block = more, a->room = room;
    }
    memmove(a->block + k + 1, a->block + k, (size_t)(a->blocks - k) * sizeof *a->block);
    a->block[k] = (ArenaBlock){ ceiling - want, want };
    a->blocks++;
    if (a->size - top(a) > a->peak_top) a->peak_top = a->size - top(a);
    return place(a, ceiling - want);
}

void arena_give(Arena *a, void *p)
{
    size_t at = (uintptr_t)p - (uintptr_t)a->base;
    for (int k = 0; k < a->blocks; k++) {
        if (a->block[k].at != at) continue;
        memmove(a->block + k, a->block + k + 1, (size_t)(a->blocks - k - 1) * sizeof *a->block);
        a->blocks--;
        return;
    }
    CHECK(0, "no block at %zu", at);
}
