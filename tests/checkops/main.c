/* checkops - every op of the contract on random calls, against its definition.
 *
 *   checkops [--set S] [--against T] [--op NAME] [--seed N] [--case N] [--cases N]          default: ref against ref64, all ops, seed 1, 40 cases
 *
 * Both sets get the same numbers and each is held against the definition worked out in the case (case_*.c), within bounds that follow from the data (num.h);
 * so what they differ by is bounded too, and an error that they share is seen. */
#include "base/err.h"
#include "check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGS    "seg0.x?:nhwc seg0.w?:hwc seg1.x?:nhwc seg1.w?:hwc seg2.x?:nhwc seg2.w?:hwc"               /* w.n may be any range of outputs */
#define SEGS_DX "seg0.x?:nhwc seg0.w?:nhwc seg1.x?:nhwc seg1.w?:nhwc seg2.x?:nhwc seg2.w?:nhwc"

/* How to draw a case of each op, and which dimensions of its tensors are fixed by the others (refuse.c). */
static const struct {
    void (*draw)(Case *);
    const char *fixed;
} checks[OP_COUNT] = {
    [OP_LINEAR]    = { case_linear, "y0:nhwc x0:nhwc w:nhwc bias?:nhwc row?:nhwc res?:nhwc " SEGS },
    [OP_LINEAR_DX] = { case_linear_dx, "y0:nhwc x0:nhwc w:nhwc " SEGS_DX },
    [OP_LINEAR_DW] = { case_linear_dw, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_CONV]      = { case_conv, "y0:nhwc x0:nhwc w:nhwc bias?:nhwc row?:nhwc res?:nhwc " SEGS },
    [OP_CONV_DX]   = { case_conv_dx, "y0:nhwc x0:nhwc w:nhwc " SEGS_DX },
    [OP_CONV_DW]   = { case_conv_dw, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_SUM]       = { case_sum, "y0:nhwc x0:c" },
    [OP_NORM]      = { case_norm, "y0:nhwc y1:nhwc y2:nhwc x0:nhwc x1:nhwc x2:nhwc" },
    [OP_NORM_DX]   = { case_norm_dx, "y0:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_NORM_DW]   = { case_norm_dw, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_ATTN]      = { case_attn, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc" },
    [OP_ATTN_DX]   = { case_attn_dx, "y0:nhwc y1:nhwc y2:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_ACT]       = { case_act, "y0:nhwc x0:nhwc" },
    [OP_ACT_DX]    = { case_act_dx, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_GEGLU]     = { case_geglu, "y0:nhwc x0:nhwc" },
    [OP_GEGLU_DX]  = { case_geglu_dx, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_UP2]       = { case_up2, "y0:nhwc x0:nhwc" },
    [OP_UP2_DX]    = { case_up2_dx, "y0:nhwc x0:nhwc" },
    [OP_EMBED]     = { case_embed, "y0:nhwc x0:nhwc x1:hwc x2?:hwc x3?:nhwc" },
    [OP_EMBED_DW]  = { case_embed_dw, "y0:hwc x0:nhwc x1:nhwc" },
    [OP_COPY]      = { case_copy, "y0:nhwc x0:nhwc" },
    [OP_ADD]       = { case_add, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_MUL]       = { case_mul, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_DROPOUT]   = { case_dropout, "y0:nhwc x0:nhwc" },
    [OP_LOSS]      = { case_loss, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc x3?:nhwc x4?:nhwc x5:nhwc" },
    [OP_SUMSQ]     = { case_sumsq, "y0:nhwc x0:nhw" },
    [OP_UPDATE]    = { case_update, "y0:nhwc y1:nhwc y2?:nhwc y3?:nhwc x0:nhwc x1:nhwc" },
    [OP_FILL]      = { case_fill, "y0:-" },
};

typedef struct {
    const char *set, *against, *op;
    int         seed, one, cases;
} Options;

static int check_one(OpKind kind, Set *set[2], int seed, int number)
{
    static const Values values[] = { RANDOM, STRUCTURED, RANDOM, HOSTILE };
    int large = number % 20 == 12;
    Case c = { .values = values[number % 4], .set = { set[0], set[1] }, .left = large ? 16.0 * BUDGET : BUDGET, .op.kind = kind };
    c.rng = rng_open((uint64_t)seed, RNG_TEST, kind, (uint32_t)number);
    checks[kind].draw(&c);
    int failed = 0;
    for (int k = 0; !failed && k < 2; k++) {
        failed = check_case(&c, set[k]) || (number % 4 == 0 && (check_nan(&c, set[k]) || check_refusals(&c, set[k], checks[kind].fixed)));
        if (failed) printf("# %s on %s: %s\n", op_name(kind), set[k]->name, err_text());
    }
    case_close(&c);
    return failed;
}

/* All cases of one op: one line of TAP. */
static int check_op(OpKind kind, Set *set[2], const Options *o)
{
    int ran = 0, failures = 0;
    int first = o->one >= 0 ? o->one : 0, end = o->one >= 0 ? o->one + 1 : o->cases;
    for (int k = first; checks[kind].draw && k < end; k++, ran++) {
        if (!check_one(kind, set, o->seed, k)) continue;
        if (failures++ >= 3) continue;
        printf("# repeat with: checkops --set %s --against %s --op %s --seed %d --case %d\n", o->set, o->against, op_name(kind), o->seed, k);
    }
    printf("%s - checkops: %s, %d cases\n", failures || !ran ? "not ok" : "ok", op_name(kind), ran);
    fflush(stdout);
    return failures || !ran;
}

static int options(Options *o, int argc, char **argv)
{
    for (int k = 1; k < argc; k += 2) {
        const char *name = argv[k], *value = argv[k + 1];
        if (k + 1 == argc) return err("%s: expected a value after it", name);
        if (!strcmp(name, "--set")) o->set = value;
        else if (!strcmp(name, "--against")) o->against = value;
        else if (!strcmp(name, "--op")) o->op = value;
        else if (!strcmp(name, "--seed")) o->seed = atoi(value);
        else if (!strcmp(name, "--case")) o->one = atoi(value);
        else if (!strcmp(name, "--cases")) o->cases = atoi(value);
        else return err("%s: expected --set, --against, --op, --seed, --case or --cases", name);
    }
    return 0;
}

int main(int argc, char **argv)
{
    Options o = { "ref", "ref64", NULL, 1, -1, 40 };
    Set *set[2] = { NULL, NULL };
    if (options(&o, argc, argv) || !(set[0] = set_open(o.set)) || !(set[1] = set_open(o.against))) {
        fprintf(stderr, "checkops: %s\n", err_text());
        return 2;
    }
    int tests = 0, failures = 0;
    for (int k = 0; k < OP_COUNT; k++)
        if (!o.op || !strcmp(o.op, op_name((OpKind)k))) tests++, failures += check_op((OpKind)k, set, &o);
    printf("1..%d\n", tests);
    if (!tests) fprintf(stderr, "checkops: no op is called %s\n", o.op);
    return failures > 0 || tests == 0;
}
