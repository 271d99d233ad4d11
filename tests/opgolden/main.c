/* opgolden - runs the vectors of golden/ops (torch in float64, see golden/ops.py) on kernel sets.
 *
 *   opgolden [SET[:NAME]]...     default: ref64 ref; NAME is STEM/VECTOR, as a failure prints it
 *
 * A vector is an Op written down: its tensors by role, its numbers in the metadata. So one reader serves every op, and the program fails if an op of the
 * contract has no vector. An output may be off by slack u + one step of its own type, u the unit roundoff of the set's arithmetic. */
#include "base/err.h"
#include "io/safetensors.h"
#include "ops/ops.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const stems[] = { "linear", "conv", "norm", "attn", "act", "move", "loss", "update" };
enum { STEMS = sizeof stems / sizeof *stems, MAX_MEMORY = 64 };

#define TENSOR(name, field) { name, offsetof(Op, field) }
static const struct { const char *name; size_t at; } roles[] = {
    TENSOR("y0", y[0]), TENSOR("y1", y[1]), TENSOR("y2", y[2]), TENSOR("y3", y[3]),
    TENSOR("x0", x[0]), TENSOR("x1", x[1]), TENSOR("x2", x[2]), TENSOR("x3", x[3]), TENSOR("x4", x[4]), TENSOR("x5", x[5]),
    TENSOR("w", w.t), TENSOR("bias", bias), TENSOR("row", row), TENSOR("res", res),
    TENSOR("seg0.x", seg[0].x), TENSOR("seg1.x", seg[1].x), TENSOR("seg2.x", seg[2].x),
    TENSOR("seg0.w", seg[0].w.t), TENSOR("seg1.w", seg[1].w.t), TENSOR("seg2.w", seg[2].w.t),
};
enum { ROLES = sizeof roles / sizeof *roles, OUTPUTS = 4 };

#define INT(name, field) { name, offsetof(Op, field), 'i' }
#define DOUBLE(name, field) { name, offsetof(Op, field), 'd' }
static const struct { const char *name; size_t at; char type; } numbers[] = {
    INT("acc", acc), INT("kernel", a.kernel), INT("stride", a.stride), INT("groups", a.groups), INT("silu", a.silu), INT("heads", a.heads),
    INT("causal", a.causal), INT("kind", a.kind), INT("each", a.each), INT("base", a.base), DOUBLE("scale", a.scale), DOUBLE("eps", a.eps),
    DOUBLE("p", a.p), DOUBLE("beta1", a.beta1), DOUBLE("beta2", a.beta2), DOUBLE("decay", a.decay),
    DOUBLE("seg0.scale", seg[0].scale), DOUBLE("seg1.scale", seg[1].scale), DOUBLE("seg2.scale", seg[2].scale),
    INT("seg0.o0", seg[0].o0), INT("seg1.o0", seg[1].o0), INT("seg2.o0", seg[2].o0),
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

typedef struct {
    Set        *set;
    Safetensors *file;
    const char *name;                                   /* of the vector */
    Op          op;
    char        wide[64];                               /* roles of type acc: ",y1,y2," */
    struct { void *p; size_t bytes; } memory[MAX_MEMORY];
    int         held;
} Vector;

static void *take(Vector *v, size_t bytes)
{
    CHECK(v->held < MAX_MEMORY, "%s holds too many tensors", v->name);
    void *p = v->set->alloc(v->set, bytes);
    CHECK(p, "%s", err_text());
    v->memory[v->held].p = p, v->memory[v->held++].bytes = bytes;
    return p;
}

static const SafetensorsEntry *entry(const Vector *v, const char *part)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", v->name, part);
    return safetensors_find(v->file, name);
}

/* The fields of the metadata line: "op=conv kernel=3 pad=0,1,0,1 wide=y0". */
static int read_numbers(Vector *v, const char *line)
{
    char text[512], *rest = NULL;
    snprintf(text, sizeof text, "%s", line);
    v->op.kind = OP_COUNT;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        if (!value) return err("%s: `%s` is not KEY=VALUE", v->name, word);
        *value++ = 0;
        if (!strcmp(word, "op")) {
            for (int k = 0; k < OP_COUNT; k++)
                if (!strcmp(value, op_name((OpKind)k))) v->op.kind = (OpKind)k;
        } else if (!strcmp(word, "pad")) {
            int *pad = v->op.a.pad;
            if (sscanf(value, "%d,%d,%d,%d", &pad[0], &pad[1], &pad[2], &pad[3]) != 4) return err("%s: pad is `%s`, expected four numbers", v->name, value);
        } else if (!strcmp(word, "key")) {
            v->op.a.key = strtoull(value, NULL, 10);
        } else if (!strcmp(word, "wide")) {
            snprintf(v->wide, sizeof v->wide, ",%s,", value);
        } else {
            int k = 0;
            while (k < NUMBERS && strcmp(word, numbers[k].name)) k++;
            if (k == NUMBERS) return err("%s: no number is called `%s`", v->name, word);
            if (numbers[k].type == 'i') *(int *)((char *)&v->op + numbers[k].at) = atoi(value);
            else *(double *)((char *)&v->op + numbers[k].at) = strtod(value, NULL);
        }
    }
    return v->op.kind < OP_COUNT ? 0 : err("%s: no op of the contract is meant by `%s`", v->name, line);
}

static Tensor host_tensor(const SafetensorsEntry *e, Type type, void *p)
{
    return tensor_of(p, type, (int)e->shape[0], (int)e->shape[1], (int)e->shape[2], (int)e->shape[3]);
}

/* Puts tensor `role` on the set. An output that only the answer knows starts as NaN: who reads it is found out. */
static int place(Vector *v, int role)
{
    char want[16], key[16];
    snprintf(want, sizeof want, "want%s", roles[role].name + 1);
    snprintf(key, sizeof key, ",%s,", roles[role].name);
    const SafetensorsEntry *before = entry(v, roles[role].name), *e = before ? before : role < OUTPUTS ? entry(v, want) : NULL;
    if (!e) return 0;
    if (e->rank != 4) return err("%s.%s: rank %d, expected 4", v->name, roles[role].name, e->rank);

    Type stored = e->type == T_I32 ? T_I32 : T_F64;
    Tensor host = host_tensor(e, stored, malloc(e->count * type_size(stored)));
    CHECK(host.p, "no memory for %zu elements", e->count);
    int failed = before ? safetensors_read(v->file, e, stored, host.p) : 0;
    for (size_t j = 0; !before && j < e->count; j++) ((double *)host.p)[j] = NAN;

    Tensor *t = (Tensor *)((char *)&v->op + roles[role].at);
    Type type = stored == T_I32 ? T_I32 : strstr(v->wide, key) ? v->set->acc : v->set->act;
    *t = host_tensor(e, type, take(v, e->count * type_size(type)));
    if (!failed) failed = v->set->upload(v->set, *t, host);
    free(host.p);
    return failed;
}

static void pack(Vector *v, Weight *w)
{
    size_t bytes = w->t.p ? v->set->pack(v->set, w, NULL) : 0;
    if (bytes) v->set->pack(v->set, w, take(v, bytes));
}

/* One step of `type` at x: the distance of neighbouring numbers there. */
static double step(Type type, double x)
{
    int digits = type == T_F64 ? DBL_MANT_DIG : type == T_F32 ? FLT_MANT_DIG : type == T_F16 ? 11 : 8;
    int least = type == T_F64 ? DBL_MIN_EXP : type == T_F16 ? -13 : FLT_MIN_EXP, exponent;
    frexp(x, &exponent);
    return ldexp(1, (exponent > least ? exponent : least) - digits);
}

static int compare(Vector *v, int output)
{
    char part[32];
    snprintf(part, sizeof part, "want%d", output);
    const SafetensorsEntry *e = entry(v, part);
    if (!e) return 0;
    snprintf(part, sizeof part, "slack%d", output);
    const SafetensorsEntry *s = entry(v, part);
    if (!s || s->count != e->count) return err("%s.%s: missing or not of the shape of the answer", v->name, part);

    double *data = calloc(e->count, 3 * sizeof(double)), *got = data, *want = data + e->count, *slack = want + e->count;
    CHECK(data, "no memory for %zu elements", e->count);
    int failed = v->set->download(v->set, host_tensor(e, T_F64, got), v->op.y[output]) || safetensors_read(v->file, e, T_F64, want) ||
                 safetensors_read(v->file, s, T_F64, slack);
    double u = step(v->set->acc, 1) / 2;
    for (size_t j = 0; !failed && j < e->count; j++) {
        double bound = slack[j] * u + step(v->op.y[output].type, want[j]);
        if (!(fabs(got[j] - want[j]) <= bound)) failed = err("y%d[%zu] = %.17g, want %.17g +- %.2g", output, j, got[j], want[j], bound);
    }
    free(data);
    return failed;
}

static int run(Vector *v, const char *line)
{
    if (read_numbers(v, line)) return -1;
    for (int k = 0; k < ROLES; k++)
        if (place(v, k)) return -1;
    pack(v, &v->op.w);
    for (int k = 0; k < MAX_SEG; k++) pack(v, &v->op.seg[k].w);
    size_t need = v->set->need(v->set, &v->op);
    if (need) v->op.scratch = take(v, need);
    if (v->set->run(v->set, &v->op) || v->set->sync(v->set)) return -1;
    int outputs = 0;
    for (int k = 0; k < OUTPUTS; k++) {
        if (compare(v, k)) return -1;
        outputs += v->op.y[k].p != NULL;
    }
    return outputs ? 0 : err("%s has no output", v->name);
}

/* Runs the vectors of one file on `set` (the one called `only`, if given); counts tests and notes which ops had one. */
static int run_file(Set *set, const char *stem, const char *only, int *tests, int seen[OP_COUNT])
{
    char path[64], name[128];
    snprintf(path, sizeof path, "golden/ops/%s.safetensors", stem);
    Safetensors *file = safetensors_open(path);
    if (!file) return printf("not ok %d - %s\n", ++*tests, err_text()), 1;
    int failures = 0;
    for (int k = 0; k < file->pairs; k++) {
        snprintf(name, sizeof name, "%s/%s", stem, file->pair[k].key);
        if (only && strcmp(only, name)) continue;
        Vector v = { .set = set, .file = file, .name = file->pair[k].key };
        int failed = run(&v, file->pair[k].value);
        printf("%s %d - %s %s\n", failed ? "not ok" : "ok", ++*tests, set->name, name);
        if (failed) printf("# %s: repeat with: opgolden %s:%s\n", err_text(), set->name, name), failures++;
        if (v.op.kind < OP_COUNT) seen[v.op.kind] = 1;
        for (int j = 0; j < v.held; j++) set->release(set, v.memory[j].p, v.memory[j].bytes);
    }
    safetensors_close(file);
    return failures;
}

/* Tests of one set: "ref" all of them, and then that every op had a vector; "ref:linear/plain" one. */
static int run_set(const char *argument, int *tests)
{
    char text[128];
    snprintf(text, sizeof text, "%s", argument);
    char *only = strchr(text, ':');
    if (only) *only++ = 0;
    Set *set = set_open(text);
    if (!set) return printf("not ok %d - %s\n", ++*tests, err_text()), 1;

    int failures = 0, seen[OP_COUNT] = { 0 }, before = *tests;
    for (int k = 0; k < STEMS; k++) failures += run_file(set, stems[k], only, tests, seen);
    if (only) return *tests > before ? failures : (printf("not ok %d - no vector is called %s\n", ++*tests, only), 1);
    for (int k = 0; k < OP_COUNT; k++)
        if (!seen[k]) printf("not ok %d - %s: %s has no vector\n", ++*tests, set->name, op_name((OpKind)k)), failures++;
    return failures;
}

int main(int argc, char **argv)
{
    int tests = 0, failures = 0;
    for (int k = 1; k < argc; k++) failures += run_set(argv[k], &tests);
    static const char *const sets[] = { "ref64", "ref", "cpu", "cpu-exact", "cpu-base" };
    for (size_t k = 0; argc == 1 && k < sizeof sets / sizeof *sets; k++) failures += run_set(sets[k], &tests);
    printf("1..%d\n", tests);
    return failures > 0;
}
