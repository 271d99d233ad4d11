/* selftest.h - every op of a kernel set on random calls, or on those of SD 1.5, against its definition: `sdlora selftest`, tests/checkops.
 *
 * Two sets get the same numbers and each is held against the definition, worked out anew in plain loops of doubles (case_*.c) within bounds that follow from
 * the data (num.h); so what they differ by is bounded too, and an error that they share is seen. */
#ifndef CHECK_SELFTEST_H
#define CHECK_SELFTEST_H
#include "ops/ops.h"
#include <stdbool.h>
#include <stdio.h>

typedef struct {
    const char *set, *against, *op;                     /* against NULL: ref64, or none in a bench; op NULL: all */
    int         seed, cases, number;                    /* number: this case alone, -1: all */
    bool        full;                                   /* the calls of SD 1.5 at 512x768 in place of random ones */
    bool        tiles;                                  /* small calls that reach every tile of a set, in place of random ones */
    bool        repeat, bench, list;                    /* in place of the comparison */
    int         device;                                 /* of the set */
    int         threads;                                /* of a bench; 0: one a processor */
} SelftestConfig;

/* Writes what came of it to `out` as TAP, with a line that repeats each failure. Ops that failed; or -1 and err(): nothing was tested. */
int selftest(const SelftestConfig *config, FILE *out);

/* One case of one op on two sets, drawn by config->seed: 0; 1 and err(): it failed; -1: there is no such case. */
int selftest_case(const SelftestConfig *config, Set *set, Set *against, OpKind kind, int number);

int selftest_bench(const SelftestConfig *config, FILE *out);             /* bench.c: a table; 0, or -1 and err() */
#endif
