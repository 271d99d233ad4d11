/* bench.c - how long the calls of SD 1.5 take: best of several, the flops and bytes a second that op_cost makes of it, and the time of another set. */
#include "base/clock.h"
#include "base/err.h"
#include "check/layout.h"
#include "check/real.h"
#include "check/selftest.h"
#include "ops/cost.h"
#include <omp.h>
#include <string.h>

enum { MIN_RUNS = 3, MAX_RUNS = 200 };
static const double LONG_ENOUGH = 0.3;                  /* seconds of runs of one call */

/* Seconds of the fastest run, or -1 and err(). */
static double best_of(Case *c, Set *set, Cost *cost)
{
    Layout l;
    double best = INFINITY, spent = 0;
    lay_out(&l, c, set);
    *cost = op_cost(&l.op);
    int failed = layout_load(&l);
    for (int k = 0; !failed && k < MAX_RUNS && (k < MIN_RUNS || spent < LONG_ENOUGH); k++) {
        double start = now();
        failed = set->run(set, &l.op) || set->sync(set);
        double time = now() - start;
        spent += time, best = fmin(best, time);
    }
    layout_close(&l);
    return failed ? -1 : best;
}

static int bench_shape(const SelftestConfig *config, Set *set[2], const RealShape *shape, FILE *out)
{
    Case c = { .values = RANDOM, .set = { set[0], set[1] ? set[1] : set[0] }, .left = 1e18, .given = shape->given, .plain = 1, .op.kind = shape->kind };
    Cost cost;
    c.rng = rng_open((uint64_t)config->seed, RNG_TEST, shape->kind, 0);
    checks[shape->kind].draw(&c);
    double other = set[1] ? best_of(&c, set[1], &cost) : 0, time = other < 0 ? -1 : best_of(&c, set[0], &cost);
    if (time > 0) {
        fprintf(out, "%-10s %-26s %10.3f %9.1f %9.2f", op_name(shape->kind), shape->where, 1e3 * time, 1e-9 * cost.flops / time, 1e-9 * cost.bytes / time);
        if (set[1]) fprintf(out, " %10.2f", other / time);
        fputc('\n', out), fflush(out);
    }
    case_close(&c);
    return time > 0 ? 0 : -1;
}

/* Call j of op k, or NULL: there is none, or it is not asked for. */
static const RealShape *wanted(const SelftestConfig *config, int k, int j)
{
    int named = !config->op || !strcmp(config->op, op_name((OpKind)k)), numbered = config->number < 0 || config->number == j;
    return named && numbered ? real_shape((OpKind)k, j) : NULL;
}

int selftest_bench(const SelftestConfig *config, FILE *out)
{
    Set *set[2] = { set_open_on(config->set, config->device), config->against ? set_open(config->against) : NULL };
    int  calls = 0, known = !config->op;
    if (!set[0] || (config->against && !set[1])) return -1;
    for (int k = 0; k < OP_COUNT; k++) {
        known = known || !strcmp(config->op, op_name((OpKind)k));
        for (int j = 0; real_shape((OpKind)k, j); j++) calls += wanted(config, k, j) != NULL;
    }
    if (!known) return err("selftest: no op is called %s (`sdlora selftest --list` names them all)", config->op);
    if (!calls && config->op) return err("selftest: %s has no call %d (`sdlora selftest --list` numbers them)", config->op, config->number);
    if (!calls) return err("selftest: no op has a call %d (`sdlora selftest --list` numbers them)", config->number);

    if (config->threads) omp_set_num_threads(config->threads);
    fprintf(out, "%s, %d thread%s; SD 1.5 at 512x768, best of several\n", set[0]->name, omp_get_max_threads(), omp_get_max_threads() == 1 ? "" : "s");
    fprintf(out, "%-10s %-26s %10s %9s %9s", "op", "where", "ms", "GFLOP/s", "GB/s");
    if (set[1]) fprintf(out, " %6s / %s", set[1]->name, set[0]->name);
    fputc('\n', out);
    for (int k = 0; k < OP_COUNT; k++)
        for (int j = 0; real_shape((OpKind)k, j); j++)
            if (wanted(config, k, j) && bench_shape(config, set, wanted(config, k, j), out)) return -1;
    return 0;
}
