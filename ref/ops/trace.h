/* trace.h - where the time of a run goes: a set that does what another does and takes the time of each call, by operation and by whose work it is.
 *
 * Each op is waited for, so that on a device its time is its own. FLOPs and bytes are those of cost.h. What lies between calls is the host's. */
#ifndef OPS_TRACE_H
#define OPS_TRACE_H
#include "ops/cost.h"

enum { TRACE_UPLOAD = OP_COUNT, TRACE_DOWNLOAD, TRACE_KINDS };      /* beside the kinds of ops */

typedef struct {
    OpPlace  place;
    int    kind;                                        /* OpKind, or one of the above */
    size_t calls;
    double seconds;
    Cost   cost;
} TraceEntry;

typedef struct {
    TraceEntry *entry;                                  /* in the order of their first calls */
    int         entries, room;
    int        *slot, slots;                            /* hash of (place, kind) to its entry + 1; 0: free */
    double      first, last;                            /* when the first call began and the last one ended */
} Trace;

Set         *trace_open(Set *inner);                    /* NULL and err(): no memory */
const Trace *trace_of(const Set *set);
void         trace_close(Set *set);                     /* NULL: nothing */
const char  *trace_kind(int kind);

/* trace_view.c: STEM.txt, tables by operation and by module, and STEM.svg, the modules as a flame graph; path may end in .svg or .txt, or be the stem. Names of
 * places must still be there. 0, or -1 and err(). */
int trace_write(const Set *set, const char *path);
#endif
