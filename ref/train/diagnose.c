#include "train/diagnose.h"
#include <math.h>
#include <stdlib.h>

/* Is every number finite? What cannot be looked at counts as fine. */
static int is_finite(Set *set, Tensor t)
{
    size_t  count = tensor_count(t);
    double *value = malloc(count * sizeof *value);
    int     good = !value || set->download(set, tensor_of(value, T_F64, t.n, t.h, t.w, t.c), t);
    size_t  k = 0;
    while (!good && k < count && isfinite(value[k])) k++;
    free(value);
    return good || k == count;
}

typedef struct {
    Set *set;
    Name found;
} Search;

static void look(void *ctx, const char *text, Tensor value)
{
    Search *s = ctx;
    if (!*s->found.s && !is_finite(s->set, value)) s->found = name("%s", text);
}

Name diagnose_forward(Tape *t, const Checkpoint *model, const Lora *lora, const StepBatch *b)
{
    Search  s = { t->set, { "" } };
    double *loss = malloc((size_t)b->n * sizeof *loss);
    void  (*tap)(void *, const char *, Tensor) = t->tap;
    void   *ctx = t->tap_ctx;
    if (!loss) return name("the loss");
    t->tap = look, t->tap_ctx = &s;
    step_pass(t, model, lora, b, TAPE_CHECKPOINT, 0, loss);
    t->tap = tap, t->tap_ctx = ctx;
    free(loss);
    return *s.found.s ? s.found : name("the loss");
}

Name diagnose_gradient(const Lora *lora)
{
    const Params *p = &lora->params;
    for (int i = 0; i < p->params; i++)
        if (!is_finite(p->set, params_grad(p, i))) return name("%s", p->param[i].name);
    return name("no single gradient, only their sum of squares");
}
