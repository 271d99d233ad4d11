/* entry.h - an op of the CPU set: what set.c sees of the files that are compiled for each level. */
#ifndef CPU_ENTRY_H
#define CPU_ENTRY_H
#include "ops/ops.h"

typedef struct {
    int (*run)(const Op *);
    size_t (*need)(const Op *);                         /* bytes of scratch; NULL: none */
    int (*transform)(const Op *);                       /* as Set.transform; NULL: always plain, and the next two are NULL */
    int (*plain)(const Op *);                           /* run and need without the transform */
    size_t (*plain_need)(const Op *);
} Entry;
#endif
