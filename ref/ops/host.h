/* host.h - memory and transfers of the sets that compute on the host. */
#ifndef OPS_HOST_H
#define OPS_HOST_H
#include "ops/ops.h"

void *host_alloc(size_t bytes);                         /* as Set.alloc */
void  host_release(void *p, size_t bytes);
int   host_move(Tensor to, Tensor from);                /* as Set.upload and Set.download */
#endif
