/* null_count.h - what the set that computes nothing has counted: what a run would do, told without doing it.
 *
 * set_null (ops.h) checks every Op as another set would. Addresses are numbers, so replaying a run on it also tells, through the arena, what memory the run
 * will need. */
#ifndef OPS_NULL_COUNT_H
#define OPS_NULL_COUNT_H
#include "ops/cost.h"

typedef struct {
    Cost   cost;                                        /* of all that was run */
    size_t calls;
    size_t allocated;                                   /* bytes asked of alloc, whether given back or not */
    size_t end, scratch;                                /* the highest address that scratch came to, and how many bytes of scratch that was */
} NullCount;

const NullCount *null_count(const Set *null);           /* of a set from set_null */
#endif
