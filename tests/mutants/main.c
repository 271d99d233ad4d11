/* mutants - each entry of a set that is wrong in one way must be caught by the checks of `sdlora selftest`, alone.
 *
 *   mutants [--set S]      the set that they are versions of, ref unless said otherwise
 *
 * Prints the case that caught it and what it saw there, and closes with `N mutants, N caught, 0 survived`. */
#include "base/err.h"
#include "check/layout.h"
#include "check/selftest.h"
#include "mutants.h"
#include "ops/wrap.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASES = 60, SEED = 1 };

static Wrap          right, wrong;                      /* wrong is around right, and right around the set */
static const Mutant *mutant;

/* A mutant changes the call, and with it the scratch that it needs. */
static int run_right(Set *set, const Op *op)
{
    Op     copy = *op;
    size_t need = set->need(set, op);
    copy.scratch = aligned_alloc(64, (need + 127) / 64 * 64);
    CHECK(copy.scratch, "no memory for %zu bytes", need);
    int status = wrap_inner(set)->run(wrap_inner(set), &copy);
    free(copy.scratch);
    return status;
}

static int run_wrong(Set *set, const Op *op)
{
    Op copy = *op;
    if (op_check(set, op)) return -1;
    mutants_forget();
    return op->kind == mutant->kind ? mutant->run(&right.set, &copy) : run_right(&right.set, op);
}

/* The number of the first case that fails, or -1. */
static int caught_by(Set *set, Set *against)
{
    const SelftestConfig config = { .seed = SEED };
    for (int k = 0; k < CASES; k++)
        if (selftest_case(&config, set, against, mutant->kind, k) > 0) return k;
    return -1;
}

int main(int argc, char **argv)
{
    Set *set = set_open(argc == 3 && !strcmp(argv[1], "--set") ? argv[2] : "ref"), *against = set_open("ref64");
    int  caught = 0;
    CHECK(set && against, "%s", err_text());
    layout_lets_read = 1;                               /* what they get wrong shall be seen in their results */
    wrap_open(&right, set), wrap_open(&wrong, &right.set);
    right.set.run = run_right, wrong.set.run = run_wrong, wrong.set.name = "mutant";
    for (int k = 0; k < mutant_count; k++) {
        mutant = &mutants[k];
        int number = caught_by(&wrong.set, against);
        caught += number >= 0;
        if (number < 0) printf("not ok %d - %s: %s: %s: survived %d cases\n", k + 1, set->name, op_name(mutant->kind), mutant->name, CASES);
        else printf("ok %d - %s: %s: %s: case %d: %s\n", k + 1, set->name, op_name(mutant->kind), mutant->name, number, err_text());
        fflush(stdout);
    }
    printf("1..%d\n", mutant_count);
    printf("%d mutants, %d caught, %d survived\n", mutant_count, caught, mutant_count - caught);
    return caught != mutant_count;
}
