/* mutants.h - entries of a kernel set with one mistake each, as people make them: a wrong index, a forgotten factor, a case not thought of.
 *
 * A mutant runs the true set on a call that was changed on the way in, or changes what came out. */
#ifndef MUTANTS_H
#define MUTANTS_H
#include "ops/ops.h"

typedef struct {
    const char *name;                                   /* what is wrong */
    OpKind      kind;
    int (*run)(Set *true_set, Op *op);                  /* op: a copy of the call */
} Mutant;

extern const Mutant mutants[];
extern const int    mutant_count;
void                mutants_forget(void);               /* the copies that the last call was given */
#endif
