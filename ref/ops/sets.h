/* sets.h - how the kernel sets of this room are opened, and what there is to open; ops.c holds the table. Each opener returns the one Set there is of its kind,
 * or NULL and err(). */
#ifndef OPS_SETS_H
#define OPS_SETS_H
#include "ops/ops.h"

Set *ref_open_f32(void);
Set *ref_open_f64(void);
Set *ref_open_f16(void);

/* For openers: the set, or, where it has not every op, NULL and err() with the name of the first that is missing. has: bit k of what it runs is OpKind k. */
Set *set_if_complete(Set *set, uint64_t has);

/* ---- a set that has devices ---- */

typedef struct {
    char   name[256];
    int    major, minor;                                /* compute capability */
    int    processors, megahertz;                       /* of them, at most */
    int    gigabytes_a_second;                          /* of its memory, at most */
    size_t free, total;                                 /* bytes */
} Device;

/* The CUDA set, where the program is built with it (ops.c alone knows); its need() always. */
Set   *cuda_open(int device);
int    cuda_devices(void);                              /* how many there are, at least one; or -1 and err(): no driver, or no card */
int    cuda_device(Device *d, int number);              /* 0, or -1 and err() */
void   cuda_versions(int *driver, int *runtime);        /* 1000 * major + 10 * minor; 0: there is none */
size_t cuda_need(const Set *set, const Op *op);

/* ---- what there is: `sdlora devices` ---- */

typedef struct {
    const char *name, *what;
    Type        act, acc;
    char        why_not[512];                           /* "": it runs here */
    int         devices;                                /* of its own; 0: it computes on the host */
    int         driver, runtime;
} SetEntry;
int set_entry(SetEntry *e, int k);                      /* the k-th; 0: there are no more */
int set_device(Device *d, const char *name, int number);        /* 0, or -1 and err() */
#endif
