/* shadow.h - two sets side by side inside a real run: each op runs on both, on the same numbers, and the first whose results differ by more than rounding
 * explains ends the run, by its name.
 *
 * The run goes on with the numbers of `set`; `other` reads copies of what that read, outputs that are added to included. Both are held against the op's
 * definition within the bounds that `sdlora selftest` has (check.h), which are worked out from these very numbers, in plain loops of doubles: a step takes
 * many times as long. */
#ifndef CHECK_SHADOW_H
#define CHECK_SHADOW_H
#include "ops/ops.h"

/* A set that does what `set` does. -1 from its run, and err(): call, op, place, element, both results, the definition's and its bound, shapes.
 * NULL and err(): `other` cannot hold what `set` computes with. */
Set   *shadow_open(Set *set, Set *other);
void   shadow_start(Set *shadow);                       /* from now on ops are compared; before, while pictures are encoded, they are not */
size_t shadow_calls(const Set *shadow);                 /* how many were compared */
void   shadow_close(Set *shadow);                       /* NULL: nothing */
#endif
