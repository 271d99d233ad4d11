/* wrap.h - a set around another: everything goes to the inner one, until whoever made it puts its own functions in place of some.
 *
 *     typedef struct { Wrap wrap; ... } Watcher;           a Set * from it is a pointer to all of it
 *     wrap_open(&watcher->wrap, inner), watcher->wrap.set.run = ...; */
#ifndef OPS_WRAP_H
#define OPS_WRAP_H
#include "ops/ops.h"

typedef struct {
    Set  set;                                           /* first */
    Set *inner;
} Wrap;

void wrap_open(Wrap *wrap, Set *inner);
static inline Set *wrap_inner(const Set *set) { return ((const Wrap *)set)->inner; }
#endif
