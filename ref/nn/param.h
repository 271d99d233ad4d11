/* param.h - all trainable numbers of a run in one block, beside it their gradients and moments.
 *
 * One block, so that clipping, the optimizer and the saved state are each one pass over memory. Tensors start at multiples of 256 elements and are laid out
 * in the order in which they were added; the numbers between them are 0 and stay 0. Groups, each with its own learning rate, are contiguous ranges.
 *
 *     params_add ... params_add, params_commit, params_weight ...
 */
#ifndef NN_PARAM_H
#define NN_PARAM_H
#include "ops/ops.h"

enum { PARAM_ALIGN = 256, PARAM_GROUPS = 4 };

typedef struct {
    char  *name;
    int    o, k, i;                                     /* (o,k,k,i): the contract's order, not the file's */
    int    group;
    size_t offset;
} Param;

typedef struct {
    Set   *set;
    Param *param;
    int    params, room;
    size_t count;                                       /* elements of the block */
    size_t group_start[PARAM_GROUPS + 1];
    int    groups;
    Tensor w, m, v, g;                                  /* (1,1,1,count), type acc */
    Tensor work;                                        /* what the ops read, type act; w itself where act == acc */
    Tensor ctl;
    double scale;                                       /* the loss scale: g holds this times the true gradients. Set between steps, at first the set's own */
    void  *scratch;                                     /* of the ops over the whole block */
    size_t scratch_bytes;
} Params;

void params_open(Params *p, Set *set);
void params_close(Params *p);

/* The index of a new parameter, or -1 and err(). group: the last one's or the next. */
int params_add(Params *p, const char *name, int o, int k, int i, int group);
int params_commit(Params *p);                           /* allocates the block, all 0. 0, or -1 and err(); to be closed either way */

Tensor params_weight(const Params *p, int index);       /* its view (o,k,k,i) of work */
Tensor params_grad(const Params *p, int index);
int    params_set(Params *p, int index, const double *value);       /* value (o,k,k,i): into w and work. 0, or -1 and err(), as all below */
int    params_get(const Params *p, int index, double *value);       /* from w */

int params_clear(Params *p);                            /* gradients, their sum of squares and the bad flag = 0 */

typedef struct {
    double lr[PARAM_GROUPS];
    double beta1, beta2, eps, decay, clip;              /* clip 0: none */
    int    step;                                        /* from 1 */
    Update kind;
} ParamUpdate;
int params_update(Params *p, const ParamUpdate *u);     /* one optimizer step from g, which stays; nothing where g is not finite (CTL_BAD) */
int params_control(const Params *p, int index, double *value);      /* reads a number of ctl (CTL_SUMSQ, CTL_BAD) back */
#endif
