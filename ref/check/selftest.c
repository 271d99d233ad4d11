#include "check/selftest.h"
#include "base/err.h"
#include "check/check.h"
#include "check/real.h"
#include "ops/cost.h"
#include <string.h>

enum { SHOWN = 3 };                                     /* failures of an op that are told in full */

typedef struct {
    const SelftestConfig *config;
    Set                  *set[2], *like;                /* like: the reference set of set[0]'s types, or NULL: it is that itself */
    FILE                 *out;
} Run;

/* ---- one case ---- */

/* Case `number` of an op; 1 if there is none. */
static int draw(Case *c, const Run *run, OpKind kind, int number)
{
    static const Values values[] = { RANDOM, STRUCTURED, RANDOM, HOSTILE };
    const RealShape *real = run->config->full ? real_shape(kind, number) : NULL;
    int large = number % 20 == 12;
    if (run->config->full && !real) return 1;
    *c = (Case){ .values = values[real ? number % 2 : number % 4], .set = { run->set[0], run->set[1] }, .left = large ? 16.0 * BUDGET : BUDGET,
                 .given = real ? real->given : NULL, .op.kind = kind };
    c->rng = rng_open((uint64_t)run->config->seed, RNG_TEST, kind, (uint32_t)number);
    checks[kind].draw(c);
    return 0;
}

/* What is checked of a set, case by case; refusals and the like every fourth time. */
static int check_one(Case *c, const Run *run, int k, int number)
{
    Set *set = run->set[k];
    int  more = number % 4 == 0 && !run->config->full;
    if (run->config->repeat) return check_repeat(c, set);
    if (check_case(c, set)) return -1;
    if (k == 0 && run->like && c->values == RANDOM && check_like(c, set, run->like)) return -1;
    return more && (check_not_finite(c, set) || check_refusals(c, set, checks[c->op.kind].fixed)) ? -1 : 0;
}

/* Failed? -1: there is no such case. */
static int run_case(const Run *run, OpKind kind, int number)
{
    Case c;
    int  failed = 0;
    if (draw(&c, run, kind, number)) return -1;
    if (!run->config->repeat) checks[kind].define(&c);
    for (int k = 0; !failed && k < 2; k++) {
        failed = check_one(&c, run, k, number) != 0;
        if (failed) fprintf(run->out, "# %s on %s: %s\n", op_name(kind), run->set[k]->name, err_text());
    }
    case_close(&c);
    return failed;
}

/* ---- all cases of one op: one line of TAP ---- */

static int run_op(const Run *run, OpKind kind)
{
    const SelftestConfig *o = run->config;
    int ran = 0, failures = 0, first = o->number >= 0 ? o->number : 0, end = o->number >= 0 ? o->number + 1 : o->cases;
    for (int k = first; o->full ? o->number < 0 || k < end : k < end; k++) {
        int failed = run_case(run, kind, k);
        if (failed < 0) break;
        ran++;
        if (failed && failures++ < SHOWN)
            fprintf(run->out, "# repeat with: sdlora selftest --set %s --against %s --op %s --seed %d --case %d%s%s\n", run->set[0]->name, run->set[1]->name,
                    op_name(kind), o->seed, k, o->full ? " --full" : "", o->repeat ? " --repeat" : "");
    }
    fprintf(run->out, "%s - %s: %d case%s%s\n", failures || !ran ? "not ok" : "ok", op_name(kind), ran, ran == 1 ? "" : "s", ran ? "" : ": nothing was tested");
    fflush(run->out);
    return failures || !ran;
}

static int list(FILE *out)
{
    for (int k = 0; k < OP_COUNT; k++) {
        fprintf(out, "%s: fixed dimensions %s\n", op_name((OpKind)k), checks[k].fixed);
        for (int j = 0; real_shape((OpKind)k, j); j++) {
            const RealShape *shape = real_shape((OpKind)k, j);
            fprintf(out, "  --full --op %s --case %-3d %s\n", op_name((OpKind)k), j, shape->where);
        }
    }
    return 0;
}

/* ref or ref16, whichever has the types of `set`; NULL: neither, or it is that. */
static Set *reference_like(const Set *set)
{
    static const char *const names[] = { "ref", "ref16" };
    for (int k = 0; k < 2; k++) {
        Set *reference = set_open(names[k]);
        if (reference && reference->act == set->act && reference->acc == set->acc) return reference == set ? NULL : reference;
    }
    return NULL;
}

int selftest(const SelftestConfig *config, FILE *out)
{
    Run run = { config, .out = out };
    int tests = 0, failures = 0;
    if (config->list) return list(out);
    if (config->bench) return selftest_bench(config, out);
    if (!(run.set[0] = set_open(config->set)) || !(run.set[1] = set_open(config->against ? config->against : "ref64"))) return -1;
    run.like = reference_like(run.set[0]);
    for (int k = 0; k < OP_COUNT; k++)
        if (!config->op || !strcmp(config->op, op_name((OpKind)k))) tests++, failures += run_op(&run, (OpKind)k);
    if (!tests) return err("selftest: no op is called %s (`sdlora selftest --list` names them all)", config->op);
    fprintf(out, "1..%d\n", tests);
    return failures;
}
