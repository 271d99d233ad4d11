#include "check/selftest.h"
#include "base/err.h"
#include "check/check.h"
#include "check/real.h"
#include <string.h>

enum { SHOWN = 3 };                                     /* failures of an op that are told in full */

/* ---- one case ---- */

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

static int is_listed(const SelftestConfig *config) { return config->full || config->tiles; }

/* 1 if there is no such case. */
static int draw(Case *c, const SelftestConfig *config, OpKind kind, int number)
{
    static const Values values[] = { RANDOM, STRUCTURED, RANDOM, HOSTILE };
    const RealShape *listed = config->full ? real_shape(kind, number) : config->tiles ? tile_shape(kind, number) : NULL;
    if (is_listed(config) && !listed) return 1;
    c->values = values[config->full ? number % 2 : number % 4], c->left = number % 5 == 2 ? 16.0 * BUDGET : BUDGET;
    c->given = listed ? listed->given : NULL, c->plain = listed != NULL, c->op.kind = kind;
    c->rng = rng_open((uint64_t)config->seed, RNG_TEST, kind, (uint32_t)number);
    checks[kind].draw(c);
    return 0;
}

/* Is the op one long sum, or made of such, whose order is the set's own affair? One in 16 lanes is several times as exact as one in order (OpenBLAS takes
 * either, by the number of rows); both are right, and the bound of a sum is what judges them. */
static int is_sum(OpKind kind)
{
    switch (kind) {
    case OP_LINEAR: case OP_LINEAR_DX: case OP_LINEAR_DW: case OP_CONV: case OP_CONV_DX: case OP_CONV_DW: return 1;
    case OP_ATTN: case OP_ATTN_DX: case OP_SUM: case OP_NORM_DW: return 1;
    default: return 0;
    }
}

/* What is checked of a set; of every fourth case its refusals and what is not finite, too. */
static int check_one(Case *c, const SelftestConfig *config, int k, int number)
{
    Set *set = c->set[k], *like = k == 0 && c->values == RANDOM && !is_sum(c->op.kind) ? reference_like(set) : NULL;
    int  more = number % 4 == 0 && !is_listed(config);
    if (config->repeat) return check_repeat(c, set);
    if (check_case(c, set) || (like && check_like(c, set, like))) return -1;
    return more && (check_not_finite(c, set) || check_refusals(c, set, checks[c->op.kind].fixed)) ? -1 : 0;
}

int selftest_case(const SelftestConfig *config, Set *set, Set *against, OpKind kind, int number)
{
    Case c = { .set = { set, against } };
    int  failed = 0;
    if (draw(&c, config, kind, number)) return -1;
    for (int k = 0; !failed && k < 2; k++) {
        char text[512];
        int  same = k > 0 && (c.values == RANDOM || c.chain == c.set[k]->chain);
        c.chain = c.set[k]->chain;
        if (!config->repeat && !same) checks[kind].define(&c);
        if (!(failed = check_one(&c, config, k, number) != 0)) continue;
        snprintf(text, sizeof text, "%s", err_text());
        err("%s on %s: %s", op_name(kind), c.set[k]->name, text);
    }
    case_close(&c);
    return failed;
}

/* ---- all cases of one op: one line of TAP ---- */

static int test_op(const SelftestConfig *config, Set *set, Set *against, OpKind kind, FILE *out)
{
    int ran = 0, failures = 0, one = config->number >= 0, endless = is_listed(config) && !one;
    for (int k = one ? config->number : 0, end = one ? k + 1 : config->cases; endless || k < end; k++) {
        int failed = selftest_case(config, set, against, kind, k);
        if (failed < 0) break;
        ran++;
        if (failed && failures++ < SHOWN)
            fprintf(out, "# %s\n# repeat with: sdlora selftest --set %s --against %s --op %s --seed %d --case %d%s%s\n", err_text(), set->name, against->name,
                    op_name(kind), config->seed, k, config->full ? " --full" : config->tiles ? " --tiles" : "", config->repeat ? " --repeat" : "");
    }
    fprintf(out, "%s - %s: %d case%s%s\n", failures || !ran ? "not ok" : "ok", op_name(kind), ran, ran == 1 ? "" : "s", ran ? "" : ": nothing was tested");
    fflush(out);
    return failures || !ran;
}

static int list(FILE *out)
{
    for (int k = 0; k < OP_COUNT; k++) {
        fprintf(out, "%s: class %c, fixed dimensions %s\n", op_name((OpKind)k), checks[k].class, checks[k].fixed);
        for (int j = 0; real_shape((OpKind)k, j); j++) {
            const RealShape *shape = real_shape((OpKind)k, j);
            fprintf(out, "  --full --op %s --case %-3d %s\n", op_name((OpKind)k), j, shape->where);
        }
    }
    return 0;
}

int selftest(const SelftestConfig *config, FILE *out)
{
    int tests = 0, failures = 0;
    if (config->list) return list(out);
    if (config->bench) return selftest_bench(config, out);
    Set *set = set_open_on(config->set, config->device), *against = set ? set_open(config->against ? config->against : "ref64") : NULL;
    if (!against) return -1;
    for (int k = 0; k < OP_COUNT; k++)
        if (!config->op || !strcmp(config->op, op_name((OpKind)k))) tests++, failures += test_op(config, set, against, (OpKind)k, out);
    if (!tests) return err("selftest: no op is called %s (`sdlora selftest --list` names them all)", config->op);
    fprintf(out, "1..%d\n", tests);
    return failures;
}
