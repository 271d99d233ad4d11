/* refuse.c - a set refuses what it cannot mean: each case is spoiled in one place, and op_check and run must return -1 with a message that names the op. */
#include "base/err.h"
#include "check/layout.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { FAR = 97 };                                      /* no shape of a case is another one plus this */

static int refused(Set *set, const Op *op, const char *what)
{
    err("nothing");
    if (!op_check(set, op)) return err("%s was not refused", what);
    if (!strstr(err_text(), op_name(op->kind))) {
        char text[512];
        snprintf(text, sizeof text, "%s", err_text());
        return err("%s was refused without the op's name: \"%s\"", what, text);
    }
    return set->run(set, op) ? 0 : err("%s was refused by op_check, yet run", what);
}

static int refuse_strides(const Op *op, Set *set, int k, const char *role)
{
    enum { W = 10, SEGMENTS = 17 };                     /* of op_tensor */
    static const char *const wrong[] = { "rows nearer than they are long", "rows too far apart", "images that overlap", "outputs too far apart" };
    const int is_weight = k == W || k >= SEGMENTS || (k == 0 && (op->kind == OP_LINEAR_DW || op->kind == OP_CONV_DW));
    for (int spoil = 0; spoil < 3 + is_weight; spoil++) {
        char what[64];
        Op bad = *op;
        Tensor *t = op_tensor(&bad, k);
        const size_t rows = (size_t)t->h * (size_t)t->w, c = (size_t)t->c;
        if (spoil == 0) t->ld = c - 1;
        if (spoil == 1) t->ld = (size_t)INT_MAX + 1, t->img = t->n > 1 ? rows * t->ld : t->img;
        if (spoil == 2) t->img = (rows - 1) * t->ld + c - 1;
        if (spoil == 3) t->img = (size_t)INT_MAX + 1;
        snprintf(what, sizeof what, "%s with %s", role, wrong[spoil]);
        if ((spoil != 2 || t->n > 1) && refused(set, &bad, what)) return -1;
    }
    return 0;
}

/* Every present tensor: with wrong strides, a dimension too long or 0, of a wrong type, absent. `fixed`: role:dimensions, ? after a role that may be absent. */
static int refuse_tensors(const Op *op, Set *set, const char *fixed)
{
    static const char letters[] = "nhwc";
    char role[16], dims[8], what[64];
    for (int used; sscanf(fixed, " %15[^:]:%7s%n", role, dims, &used) == 2; fixed += used) {
        char *optional = strchr(role, '?');
        if (optional) *optional = 0;
        int k = 0;
        while (k < OP_TENSORS && strcmp(role_names[k], role)) k++;
        CHECK(k < OP_TENSORS, "no role is called %s", role);
        Op bad = *op;
        Tensor *t = op_tensor(&bad, k);
        if (!t->p && optional) continue;
        for (int spoil = 0; spoil < 8; spoil++) {                /* each dimension 0, and, where others fix it, too long */
            int d = spoil / 2, far = spoil % 2 ? FAR : 0;
            if (far && !strchr(dims, letters[d])) continue;
            bad = *op;
            int *size = d == 0 ? &t->n : d == 1 ? &t->h : d == 2 ? &t->w : &t->c;
            *size = far ? *size + far : 0;
            if (t->ld < (size_t)t->c) t->ld = (size_t)t->c;
            if (t->img < (size_t)t->h * (size_t)t->w * t->ld) t->img = (size_t)t->h * (size_t)t->w * t->ld;
            snprintf(what, sizeof what, far ? "%s with %c + %d" : "%s with %c = %d", role, letters[d], far);
            if (refused(set, &bad, what)) return -1;
        }
        if (refuse_strides(op, set, k, role)) return -1;
        bad = *op, t->type = T_U8;
        snprintf(what, sizeof what, "%s of type u8", role);
        if (refused(set, &bad, what)) return -1;
        bad = *op, t->p = NULL;
        snprintf(what, sizeof what, "%s absent", role);
        if (!optional && refused(set, &bad, what)) return -1;
    }
    return 0;
}

#define INT(field) #field, offsetof(Op, field)
static const struct { OpKind kind; const char *name; size_t at; int value; } wrong[] = {
    { OP_LINEAR, INT(acc), 1 }, { OP_CONV, INT(acc), 1 }, { OP_NORM, INT(acc), 1 }, { OP_ATTN, INT(acc), 1 }, { OP_ATTN_DX, INT(acc), 1 },
    { OP_ACT, INT(acc), 1 }, { OP_GEGLU, INT(acc), 1 }, { OP_UP2, INT(acc), 1 }, { OP_EMBED, INT(acc), 1 }, { OP_ADD, INT(acc), 1 }, { OP_MUL, INT(acc), 1 },
    { OP_DROPOUT, INT(acc), 1 }, { OP_LOSS, INT(acc), 1 }, { OP_SUMSQ, INT(acc), 1 }, { OP_UPDATE, INT(acc), 1 }, { OP_FILL, INT(acc), 1 },
    { OP_CONV, INT(a.kernel), 0 }, { OP_CONV, INT(a.kernel), 9 }, { OP_CONV, INT(a.stride), 0 }, { OP_CONV, INT(a.stride), -1 },
    { OP_CONV, INT(a.pad[0]), -99 },
    { OP_CONV_DX, INT(a.kernel), 9 }, { OP_CONV_DX, INT(a.stride), 0 }, { OP_CONV_DX, INT(a.pad[1]), 99 },
    { OP_CONV_DW, INT(a.kernel), 9 }, { OP_CONV_DW, INT(a.stride), 0 }, { OP_CONV_DW, INT(a.pad[3]), 99 },
    { OP_NORM, INT(a.groups), -1 }, { OP_NORM, INT(a.groups), 7919 }, { OP_NORM_DX, INT(a.groups), -1 }, { OP_NORM_DX, INT(a.groups), 7919 },
    { OP_NORM_DW, INT(a.groups), -1 }, { OP_NORM_DW, INT(a.groups), 7919 },
    { OP_ATTN, INT(a.heads), 0 }, { OP_ATTN, INT(a.heads), 7919 }, { OP_ATTN_DX, INT(a.heads), 0 }, { OP_ATTN_DX, INT(a.heads), 7919 },
    { OP_ACT, INT(a.kind), -1 }, { OP_ACT, INT(a.kind), 3 }, { OP_ACT_DX, INT(a.kind), 3 }, { OP_LOSS, INT(a.kind), 4 }, { OP_LOSS, INT(a.kind), -1 },
    { OP_UPDATE, INT(a.kind), 3 }, { OP_UPDATE, INT(a.base), CTL_COUNT - CTL_LR }, { OP_UPDATE, INT(a.base), -1 },
};

/* Groups that the channels do not fill, although the statistics are of as many. */
static int refuse_groups(const Op *op, Set *set)
{
    const int groups = op->x[0].c + 1;
    if ((op->kind != OP_NORM && op->kind != OP_NORM_DX && op->kind != OP_NORM_DW) || !op->a.groups) return 0;
    Op bad = *op;
    Tensor *statistic = op->kind == OP_NORM ? bad.y + 1 : bad.x + 4;
    for (int k = 0; k < 2; k++) statistic[k].c = groups, statistic[k].ld = statistic[k].img = (size_t)groups;
    bad.a.groups = groups;
    return refused(set, &bad, "more groups than channels");
}

/* What may be absent, but not in an op of that kind. */
static int refuse_absence(const Op *op, Set *set)
{
    enum { V = 2, C = 7 };                              /* of op_tensor */
    static const struct {
        OpKind op;
        int    kind, tensor;
    } needed[] = { { OP_LOSS, LOSS_HUBER, C }, { OP_LOSS, LOSS_SMOOTH_L1, C }, { OP_UPDATE, UPDATE_ADAMW, V } };
    for (size_t k = 0; k < sizeof needed / sizeof *needed; k++) {
        Op bad = *op;
        bad.a.kind = needed[k].kind, *op_tensor(&bad, needed[k].tensor) = NONE;
        if (op->kind == needed[k].op && refused(set, &bad, "what this kind needs, absent,")) return -1;
    }
    return 0;
}

/* A kernel that is one line taller, or one column wider, than the picture: (-1) / 2 + 1 is 1 in C, so a stride of 2 would give it a place. */
static int refuse_kernel(const Op *op, Set *set)
{
    const int kernel = op->a.kernel;
    if (op->kind != OP_CONV || kernel < 2) return 0;
    const Attr bare = { .kernel = kernel, .stride = 2 };
    Tensor x = op->x[0], y = op->y[0];
    x.h = kernel - 1, x.w = kernel, y.h = y.w = 1;
    Op bad = op_conv(y, x, op->w, NONE, NONE, NONE, bare);
    if (refused(set, &bad, "a kernel taller than its input")) return -1;
    bad.x[0].h = kernel, bad.x[0].w = kernel - 1;
    return refused(set, &bad, "a kernel wider than its input");
}

/* A number that just may be. */
static int meet_limits(const Op *op, Set *set)
{
    Op limit = *op;
    limit.a.eps = 0;
    return op->kind == OP_NORM ? op_check(set, &limit) : 0;
}

static int refuse_numbers(const Op *op, Set *set)
{
    char what[64];
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        if (wrong[k].kind != op->kind) continue;
        Op bad = *op;
        *(int *)((char *)&bad + wrong[k].at) = wrong[k].value;
        snprintf(what, sizeof what, "%s = %d", wrong[k].name, wrong[k].value);
        if (refused(set, &bad, what)) return -1;
    }
    for (int k = 0; k < MAX_SEG; k++) {
        Op bad = *op;
        if (!op->seg[k].x.p || (op->kind != OP_LINEAR && op->kind != OP_CONV)) continue;
        bad.seg[k].o0 = -1;
        if (refused(set, &bad, "seg.o0 = -1")) return -1;
        bad.seg[k].o0 = op->y[0].c;
        if (refused(set, &bad, "seg.o0 = o")) return -1;
    }
    static const double chances[] = { -0.25, 1, 1.5, NAN };
    for (int k = 0; op->kind == OP_DROPOUT && k < 4; k++) {
        Op bad = *op;
        bad.a.p = chances[k];
        if (refused(set, &bad, "such a p")) return -1;
    }
    if (refuse_groups(op, set) || refuse_kernel(op, set) || refuse_absence(op, set)) return -1;
    Op bad = *op;
    bad.a.causal = 1, bad.x[op->kind == OP_ATTN ? 1 : 2].w += FAR, bad.x[op->kind == OP_ATTN ? 2 : 3].w += FAR;
    return op->kind == OP_ATTN ? refused(set, &bad, "causal with tq and tk that differ") : 0;
}

/* An id of a word that there is not: only run can see it. */
static int refuse_id(Case *c, Set *set)
{
    Tensor ids = c->op.x[0];
    double *first = ids.p, kept = *first;
    *first = below(c, 2) ? -1 : c->op.x[1].n + (c->op.x[2].p ? c->op.x[2].n : 0);
    Layout l;
    lay_out(&l, c, set);
    uint8_t *after = hold(c, l.size);
    err("nothing");
    int accepted = !layout_run(&l, after);
    *first = kept;
    layout_close(&l);
    if (accepted) return err("an id outside the table was not refused");
    return strstr(err_text(), op_name(OP_EMBED)) ? 0 : err("an id outside the table was refused without the op's name");
}

int check_refusals(Case *c, Set *set, const char *fixed)
{
    Layout l;
    lay_out(&l, c, set);
    int failed = op_check(set, &l.op) || refuse_tensors(&l.op, set, fixed) || refuse_numbers(&l.op, set) || meet_limits(&l.op, set);
    layout_close(&l);
    return failed || (c->op.kind == OP_EMBED && refuse_id(c, set)) ? -1 : 0;
}
