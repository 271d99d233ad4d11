/* arena.h - one span of memory, used from both ends.
 *
 *      base                  bottom                          top                 base + size
 *      | activations, scratch ->|      free                  |<- gradients, with holes |
 *
 * From the bottom a stack: push, mark, reset. From the top a first-fit heap with free, for what lives out of order. Both are deterministic, so the same
 * calls give the same places, and replaying them without memory (base NULL, any size) tells how much a run will need. The arena owns no memory. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stddef.h>

enum { ARENA_ALIGN = 64 };

typedef struct {
    size_t at, bytes;                                   /* [at, at + bytes), counted from base */
} ArenaBlock;

typedef struct {
    char       *base;
    size_t      size, bottom;
    ArenaBlock *block;                                  /* live blocks of the heap, highest first */
    int         blocks, room;
    size_t      peak_bottom, peak_top;                  /* most bytes ever in use from either end */
} Arena;

void arena_open(Arena *a, void *base, size_t size);     /* base aligned to ARENA_ALIGN */
void arena_close(Arena *a);                             /* frees the book-keeping, not the span */

void  *arena_push(Arena *a, size_t bytes);              /* NULL and err() when the span is used up */
size_t arena_mark(const Arena *a);
void   arena_reset(Arena *a, size_t mark);

void *arena_take(Arena *a, size_t bytes);               /* the highest hole that fits; NULL and err() when there is none */
void  arena_give(Arena *a, void *p);
#endif
