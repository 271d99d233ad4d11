/* core.h - the emulator from within. fiber.cpp: stacks and switching. block.cpp: the threads of a block. warp.cpp: what a warp does together. memory.cpp:
 * device memory. stream.cpp: order of work. race.cpp: every access looked at. report.cpp: messages, with file and line. */
#ifndef EMU_CORE_H
#define EMU_CORE_H
#include "emu.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif
#ifndef EMU_ASAN
#define EMU_ASAN 0
#endif

namespace emu {

/* ---- settings, from the environment ---- */

enum Order { ORDER_PLAIN, ORDER_REVERSED, ORDER_RANDOM };
struct Settings {
    Order    order;                                     /* EMU_ORDER: plain, reversed, random */
    unsigned seed;                                      /* EMU_SEED, of a random order */
    bool     async;                                     /* EMU_ASYNC=1: work waits until it is waited for */
    size_t   memory;                                    /* EMU_VRAM_MB, in bytes */
    int      devices;                                   /* EMU_DEVICES; -1: not even a driver */
};
const Settings &settings();

/* ---- fibers ---- */

struct Stack {
    char  *low;
    size_t size;
};
struct Context {                                        /* where a fiber, or the host's thread, goes on */
    void *at;
    Stack stack;
    void *fake;                                         /* AddressSanitizer's */
};
Stack stacks_new(int count);                            /* one piece, a guard page below each stack */
void  context_new(Context *c, Stack stack, void (*entry)());
void  context_switch(Context *from, Context *to, bool ends);     /* ends: `from` is never switched to again */
void  context_entered(Context *from);                   /* the first call of an entry; from: where it was switched from, or NULL */

/* ---- a block ---- */

enum { MAX_THREADS = 1024, MAX_WARPS = 32 };

struct Fiber : Thread {
    Context  context;
    Site     site;                                      /* of the collective it waits at */
    int      vote;
    bool     at_barrier, done;
    uint32_t warp_epoch;                                /* __syncwarp()s it has taken part in */
};

struct Step {                                           /* a collective of a warp that waits for lanes */
    unsigned mask, arrived;
    Combine *combine;
    Site     site;
    void    *arg[32];
};

struct Warp {
    unsigned ready, exited;                             /* lanes */
    uint32_t epoch;
    Step     step[32];                                  /* by the lowest lane of the mask */
};

struct Block {
    Fiber    fiber[MAX_THREADS];
    Warp     warp[MAX_WARPS];
    Stack    stacks;
    Context  host;
    Call    *call;
    Fiber   *running;
    unsigned threads, alive, at_barrier, warps_ready;
    int      result[4];                                 /* of the last barrier, by Vote */
    unsigned random;
    char    *shared;                                    /* exactly call->shared bytes */
    size_t   shared_size;
    /* for race.cpp: numbers that only grow */
    uint32_t epoch, first_epoch;                        /* barriers of all blocks so far; the value at the start of this one */
    uint32_t launch, index;                             /* of the launch; of the block in it */
};
extern __thread Block *block;                           /* that this thread of the host works on, or NULL */
void run_blocks(Call *call);

/* ---- device memory ---- */

struct Allocation {
    char  *p, *map;
    size_t bytes, map_bytes;
    Site   site;
    bool   written;                                     /* whole, by a copy or memset */
    struct Cell *cells;                                 /* race.cpp's, one for 2 bytes; NULL until touched */
};
Allocation *allocation_at(const void *p);               /* whose pages hold p, guard pages included; or NULL */
void        memory_open(bool open);                     /* may it be touched? Only while device work runs */
void        memory_check(const char *after, Site site);          /* fails if something was written past an end */
void        memory_set(char *p, int value, size_t bytes);

/* ---- races ---- */

enum Touch { TOUCH_READ, TOUCH_WRITE, TOUCH_ATOMIC };
void touch(const void *p, size_t bytes, Touch kind, void *pc);   /* an access from the code that returns to pc */
void race_block();                                      /* a block begins */
bool race_watches();                                    /* are there kernels compiled with -fsanitize=thread? */
void race_device_write(const void *p, size_t bytes);    /* by a copy or memset */
void race_freed(Allocation *a);

/* ---- streams ---- */

cudaError_t set_error(cudaError_t error);               /* for cudaGetLastError; returns it */
bool        forbidden_in_capture();                     /* is a capture on? Then what was called cannot be captured */

/* Copies to host memory that have not run yet: reading there is a mistake. */
struct Pending {
    const char *p;
    size_t      bytes;
    Site        site;
};
const Pending *pending_at(const void *p);

/* ---- reports ---- */

void place_of(char *text, size_t size, const void *pc); /* FILE:LINE of code, with what it was inlined into */
bool symbol_of(char *text, size_t size, const void *function);   /* its name as the linker knows it */
void report(const char *where, const char *format, ...) __attribute__((format(printf, 2, 3)));      /* counted: the program then exits with 66 */
void warn(Site site, const char *format, ...) __attribute__((format(printf, 2, 3)));                /* not counted */
void watch_faults();                                    /* from now on a fault in device memory is told with file and line */
}
#endif
