#include "set.h"
#include "base/err.h"
#include "entry.h"
#include "ops/host.h"
#include "ops/sets.h"
#include <stdio.h>
#include <string.h>

/* The one file of this room that is compiled once: it knows all levels, and asks the processor. CPU_LEVELS, from the Makefile: LEVEL(avx512) LEVEL(avx2)
 * LEVEL(base), best first. */
#define LEVEL(level) extern const Entry cpu_table_##level[OP_COUNT];
CPU_LEVELS
#undef LEVEL

typedef struct {
    Set          set;                                   /* first: a Set * is a pointer to all of it */
    const char  *level;
    const Entry *table;
    int          exact;                                 /* no transforms */
} CpuSet;

static const CpuSet *of(const Set *set) { return (const CpuSet *)set; }
static const Entry  *entry(const Set *set, const Op *op) { return &of(set)->table[op->kind]; }
static int           is_plain(const Set *set, const Op *op) { return of(set)->exact && entry(set, op)->plain; }

static size_t need(const Set *set, const Op *op)
{
    const Entry *e = entry(set, op);
    return is_plain(set, op) ? e->plain_need(op) : e->need ? e->need(op) : 0;
}

static int run(Set *set, const Op *op)
{
    if (op_check(set, op)) return -1;
    if (!op->scratch && need(set, op)) return err("%s: scratch: expected %zu bytes, found none", op_name(op->kind), need(set, op));
    return is_plain(set, op) ? entry(set, op)->plain(op) : entry(set, op)->run(op);
}

static int transform(const Set *set, const Op *op) { return entry(set, op)->transform && !of(set)->exact ? entry(set, op)->transform(op) : 0; }

/* Weights are rearranged a panel at a time, where they are used: 400 rows pay for it (product.c), and nothing is kept twice. */
static size_t pack(Set *set, Weight *w, void *dst)
{
    (void)set, (void)dst;
    w->packed = NULL;
    return 0;
}

static void *alloc(Set *set, size_t bytes) { return (void)set, host_alloc(bytes); }
static void  release(Set *set, void *p, size_t bytes) { (void)set, host_release(p, bytes); }
static int   upload(Set *set, Tensor dst, Tensor host) { return (void)set, host_move(dst, host); }
static int   download(Set *set, Tensor host, Tensor src) { return (void)set, host_move(host, src); }
static int   sync_set(Set *set) { return (void)set, 0; }

#define ONE(level, suffix, exact)                                                                                                                              \
    { { "cpu-" #level suffix, T_F32, T_F32, NULL, run, need, pack, alloc, release, upload, download, sync_set, 0, transform, NULL },                           \
      #level, cpu_table_##level, exact },
#define LEVEL(level) ONE(level, "", 0) ONE(level, "-exact", 1)
static CpuSet sets[] = { CPU_LEVELS };
#undef LEVEL
enum { SETS = sizeof sets / sizeof *sets };

static int processor_has(const char *level)
{
#ifdef __x86_64__
    if (!strcmp(level, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && processor_has("avx2");
    if (!strcmp(level, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#else
    (void)level;
#endif
    return 1;
}

/* Is this the set that `name` means? Its own name, or what the best level goes by. */
static int is_called(const CpuSet *set, const char *name)
{
    return !strcmp(name, set->set.name) || (!strcmp(name, set->exact ? "cpu-exact" : "cpu") && processor_has(set->level));
}

static Set *complete(CpuSet *set)
{
    uint64_t has = 0;
    for (int k = 0; k < OP_COUNT; k++) has |= (uint64_t)(set->table[k].run != NULL) << k;
    return set_if_complete(&set->set, has);
}

Set *cpu_open(const char *name)
{
    char names[160] = "";
    for (int i = 0; i < SETS; i++) {
        if (is_called(&sets[i], name)) return processor_has(sets[i].level) ? complete(&sets[i]) : (err("%s: not on this processor", name), NULL);
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, ", %s", sets[i].set.name);
    }
    return err("%s: no such set of the processor's, there are: cpu, cpu-exact%s", name, names), NULL;
}
