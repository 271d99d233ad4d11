/* values.h - named tensors on the host: what a run shows, what a golden file holds, how far they are apart.
 *
 * Every value is contiguous T_F64 in the contract's order: pictures and latents (n,h,w,c), text (n,1,t,c), weights (o,k,k,i), lists (n,1,1,1).
 * What cannot happen with a sound program and sound files (no memory, no such golden tensor) ends the program through CHECK. */
#ifndef PARITY_VALUES_H
#define PARITY_VALUES_H
#include "io/safetensors.h"
#include "nn/weights.h"

typedef struct {
    Name   name;
    Tensor t;                                           /* owned */
} Value;

typedef struct {
    Value *value;
    int    count, room;
} Values;

Tensor host_new(Type type, int n, int h, int w, int c); /* zeros; its p is the caller's to free */

double      *values_add(Values *v, Name name, int n, int h, int w, int c);          /* a new one, to be filled */
void         values_take(Values *v, Name name, Set *set, Tensor t);                 /* a copy of a tensor of a set */
const Value *values_find(const Values *v, const char *name);                        /* NULL: none */
void         values_free(Values *v);

/* A file of golden/make.py, and which of its tensors something was held against or run with. */
typedef struct {
    Safetensors *file;
    char        *used;
} Gold;
int    gold_open(Gold *g, const char *path);            /* 0, or -1 and err() */
void   gold_close(Gold *g);
Tensor gold_read(Gold *g, Type type, const char *name); /* to free; NCHW becomes NHWC */

/* Failures are printed, a line a tensor; a group in which nothing was compared has failed. */
typedef struct {
    int    compared, failed;
    double worst;                                       /* the largest error, in bounds */
} Group;

/* Each golden tensor called `prefix`, or, where that ends in a dot, whose name begins with it, has its value, of the same shape, and no element is off by
 * more than `bound` times the tensor's largest. */
void compare_gold(Group *g, const Values *got, Gold *gold, const char *prefix, double bound);

/* Each of `want` has its value, of the same bits. */
void compare_bits(Group *g, const Values *got, const Values *want);

/* Each of `exact` has its value in `got`, off in its largest and in its root-mean-square error by at most `factor` times what the values of `noisy` are off,
 * or by two steps of a float at the tensor's largest. */
void compare_noise(Group *g, const Values *got, const Values *exact, const Values *noisy, int runs, double factor);
#endif
