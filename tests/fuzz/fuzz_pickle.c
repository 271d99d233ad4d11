/* covers ref/io/pickle.c
 * Any pickle: every value that can be reached is of a known kind, its parts are there, and what it imports was allowed. */
#include "fuzz.h"
#include "io/pickle.h"
#include <string.h>

static const char *const allowed[] = { "collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "torch.LongStorage", NULL };

static int visits;

static void check(const PickleValue *v, int depth)
{
    if (depth > 40 || ++visits > 10000) return;         /* values may hold themselves */
    CHECK(v && v->kind < PICKLE_MARK, "a value of kind %d", v ? (int)v->kind : -1);
    if (v->kind == PICKLE_TEXT || v->kind == PICKLE_BYTES) CHECK(v->text[v->size] == 0, "text without an end");
    else for (size_t i = 0; i < v->size; i++) check(v->item[i], depth + 1);
    int known = v->kind != PICKLE_GLOBAL;
    for (const char *const *a = allowed; *a && !known; a++) known = strcmp(*a, v->text) == 0;
    CHECK(known, "%s was not allowed", v->text);
    if (v->kind == PICKLE_PERSISTENT) check(v->part[0], depth + 1);
    if (v->kind != PICKLE_CALL) return;
    CHECK(v->part[0]->kind == PICKLE_GLOBAL && v->part[1]->kind == PICKLE_TUPLE, "a call of kind %d", (int)v->part[0]->kind);
    check(v->part[0], depth + 1), check(v->part[1], depth + 1);
}

int fuzz_one(const uint8_t *data, size_t size)
{
    size_t  used = 0;
    Pickle *p = pickle_open(data, size, &used, allowed, "a.pkl");
    CHECK(used <= size, "%zu bytes of %zu", used, size);
    if (!p) return fuzz_refused("a.pkl"), 0;
    visits = 0;
    check(pickle_root(p), 0);
    pickle_get(pickle_root(p), "state_dict");
    for (size_t i = 0; pickle_persistent(p, i); i++) check(pickle_persistent(p, i), 0);
    pickle_close(p);
    return 0;
}
