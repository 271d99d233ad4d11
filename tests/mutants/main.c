/* mutants - each entry of a set that is wrong in one way must be caught by the checks of `sdlora selftest`, alone.
 *
 * Prints the case that caught it and what it saw there, and closes with `N mutants, N caught, 0 survived`. */
#include "base/err.h"
#include "check/selftest.h"
#include "mutants.h"
#include <stdio.h>
#include <string.h>

enum { CASES = 60, SEED = 1 };

static Set          *true_set;
static const Mutant *mutant;

static int run(Set *set, const Op *op)
{
    Op copy = *op;
    if (op_check(set, op)) return -1;
    mutants_forget();
    return op->kind == mutant->kind ? mutant->run(true_set, &copy) : true_set->run(true_set, op);
}

/* The number of the first case that fails, or -1. */
static int caught_by(Set *set, Set *against)
{
    const SelftestConfig config = { .seed = SEED };
    for (int k = 0; k < CASES; k++)
        if (selftest_case(&config, set, against, mutant->kind, k) > 0) return k;
    return -1;
}

int main(void)
{
    Set *against = set_open("ref64"), set;
    int  caught = 0;
    true_set = set_open("ref");
    CHECK(true_set && against, "%s", err_text());
    set = *true_set, set.name = "mutant", set.run = run;
    for (int k = 0; k < mutant_count; k++) {
        mutant = &mutants[k];
        int number = caught_by(&set, against);
        caught += number >= 0;
        if (number < 0) printf("not ok %d - %s: %s: survived %d cases\n", k + 1, op_name(mutant->kind), mutant->name, CASES);
        else printf("ok %d - %s: %s: case %d: %s\n", k + 1, op_name(mutant->kind), mutant->name, number, err_text());
        fflush(stdout);
    }
    printf("1..%d\n", mutant_count);
    printf("%d mutants, %d caught, %d survived\n", mutant_count, caught, mutant_count - caught);
    return caught != mutant_count;
}
