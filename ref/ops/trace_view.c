/* trace_view.c - a trace to look at: tables in text, and a flame graph (Gregg 2016) that hangs from its root, part > block > module > operation. */
#include "base/err.h"
#include "base/text.h"
#include "io/file.h"
#include "ops/trace.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tree ---- */

typedef struct Branch Branch;
struct Branch {
    char    name[64];
    int     kind;                                       /* of an operation, a leaf; GROUP: whose children take its time */
    size_t  calls;
    double  seconds;
    Cost    cost;
    Branch *parent, *child, *last, *next;               /* children in the order in which they came */
};
enum { GROUP = -1, HOST = -2 };

static void add_to(Branch *b, const TraceEntry *e)
{
    b->calls += e->calls, b->seconds += e->seconds, b->cost.flops += e->cost.flops, b->cost.bytes += e->cost.bytes;
}

static Branch *child_named(Branch *of, const char *name, int length, int kind)
{
    for (Branch *b = of->child; b; b = b->next)
        if (b->kind == kind && strncmp(b->name, name, (size_t)length) == 0 && !b->name[length]) return b;
    Branch *b = calloc(1, sizeof *b);
    if (!b) return err("out of memory for the tree of a trace"), NULL;
    snprintf(b->name, sizeof b->name, "%.*s", length, name);
    b->kind = kind, b->parent = of;
    if (of->last) of->last->next = b;
    else of->child = b;
    return of->last = b;
}

static void free_children(Branch *b)
{
    for (Branch *c = b->child, *next; c; c = next) next = c->next, free_children(c), free(c);
}

/* What hangs between two modules has the name of the one before it: its place is the block around. */
static int is_between(int kind)
{
    switch (kind) {
    case OP_ATTN: case OP_ATTN_DX: case OP_ACT: case OP_ACT_DX: case OP_GEGLU: case OP_GEGLU_DX: case OP_UP2: case OP_UP2_DX: return 1;
    default: return 0;
    }
}

/* "down_blocks.0.resnets.1.conv1" and the weight of a norm: how much of the text is the module's path. */
static int path_length(const TraceEntry *e)
{
    static const char weight[] = ".weight";
    const char *m = e->place.module;
    int         n = m ? (int)strlen(m) : 0, tail = (int)strlen(weight);
    if (n > tail && !strcmp(m + n - tail, weight)) n -= tail;
    if (!is_between(e->kind)) return n;
    while (n > 0 && m[n - 1] != '.') n--;
    return n > 0 ? n - 1 : 0;
}

/* The next step of a path: up to a dot that no number follows, so that "down_blocks.0" is one. */
static int step_length(const char *path, int length)
{
    int n = 0;
    while (n < length && !(path[n] == '.' && !(n + 1 < length && isdigit((unsigned char)path[n + 1])))) n++;
    return n;
}

static int add_entry(Branch *root, const TraceEntry *e)
{
    const char *path = e->place.module, *part = e->place.part ? e->place.part : "other", *kind = trace_kind(e->kind);
    Branch     *b = child_named(root, part, (int)strlen(part), GROUP);
    add_to(root, e);
    if (b) add_to(b, e);
    for (int left = path_length(e), n; b && left > 0; path += n + 1, left -= n + 1) {
        n = step_length(path, left);
        if ((b = child_named(b, path, n, GROUP))) add_to(b, e);
    }
    if (b && e->place.detail && (b = child_named(b, e->place.detail, (int)strlen(e->place.detail), GROUP))) add_to(b, e);
    if (b && (b = child_named(b, kind, (int)strlen(kind), e->kind))) add_to(b, e);
    return b ? 0 : -1;
}

/* ---- text ---- */

typedef struct {
    FILE  *out;
    double total;                                       /* seconds from the first call to the last */
} View;

static void print_numbers(const View *v, const Branch *b)
{
    double s = b->seconds > 0 ? b->seconds : 1e-9;
    fprintf(v->out, "%6.2f%%  %10.3f ms  %9zu", 100 * b->seconds / v->total, 1e3 * b->seconds, b->calls);
    if (b->cost.flops > 0) fprintf(v->out, "  %8.1f", 1e-9 * b->cost.flops / s);
    else fprintf(v->out, "  %8s", "");
    if (b->cost.bytes > 0) fprintf(v->out, "  %7.1f", 1e-9 * b->cost.bytes / s);
    else fprintf(v->out, "  %7s", "");
}

static void print_head(const View *v, const char *what) { fprintf(v->out, "\n  share          time      calls   GFLOP/s     GB/s  %s\n", what); }

static int slower(const void *a, const void *b)
{
    double x = (*(Branch *const *)a)->seconds, y = (*(Branch *const *)b)->seconds;
    return (x < y) - (x > y);
}

static int count_leaves(const Branch *b)
{
    int n = b->kind >= 0;
    for (const Branch *c = b->child; c; c = c->next) n += count_leaves(c);
    return n;
}

static int collect_leaves(const Branch **leaf, int n, const Branch *b)
{
    if (b->kind >= 0) leaf[n++] = b;
    for (const Branch *c = b->child; c; c = c->next) n = collect_leaves(leaf, n, c);
    return n;
}

/* From below the root down to b. */
static void print_path(FILE *f, const Branch *b, const char *between)
{
    if (!b->parent) return;
    print_path(f, b->parent, between);
    fprintf(f, "%s%s", b->parent->parent ? between : "", b->name);
}

static void print_operations(const View *v, const Branch *const *leaf, int leaves)
{
    Branch  sum[TRACE_KINDS] = { { .kind = 0 } }, *sorted[TRACE_KINDS];
    for (int k = 0; k < TRACE_KINDS; k++) sorted[k] = &sum[k];
    for (int i = 0; i < leaves; i++) {
        Branch *s = &sum[leaf[i]->kind];
        memcpy(s->name, leaf[i]->name, sizeof s->name);
        add_to(s, &(TraceEntry){ .calls = leaf[i]->calls, .seconds = leaf[i]->seconds, .cost = leaf[i]->cost });
    }
    qsort(sorted, TRACE_KINDS, sizeof *sorted, slower);
    print_head(v, "operation");
    for (int k = 0; k < TRACE_KINDS; k++)
        if (sorted[k]->calls) print_numbers(v, sorted[k]), fprintf(v->out, "  %s\n", sorted[k]->name);
}

static void print_parts(const View *v, const Branch *root)
{
    print_head(v, "part");
    for (const Branch *b = root->child; b; b = b->next)
        if (b->kind == GROUP) print_numbers(v, b), fprintf(v->out, "  %s\n", b->name);
}

static int print_tables(const View *v, const Branch *root)
{
    int            leaves = count_leaves(root);
    const Branch **leaf = calloc((size_t)leaves + 1, sizeof *leaf);
    if (!leaf) return err("out of memory for the %d rows of a trace", leaves);
    collect_leaves(leaf, 0, root);
    fprintf(v->out, "%.3f s from the first call to the last, %.3f s (%.1f%%) of it in %zu calls, the rest on the host\n", v->total, root->seconds,
            100 * root->seconds / v->total, root->calls);
    print_operations(v, leaf, leaves);
    print_parts(v, root);
    qsort(leaf, (size_t)leaves, sizeof *leaf, slower);
    print_head(v, "operation, module");
    for (int i = 0; i < leaves; i++) {
        print_numbers(v, leaf[i]);
        fprintf(v->out, "  %-10s ", leaf[i]->name);
        print_path(v->out, leaf[i]->parent, ".");
        fputc('\n', v->out);
    }
    free(leaf);
    return 0;
}

/* ---- the picture ---- */

enum { WIDTH = 1600, MARGIN = 20, ROW_HEIGHT = 22, HEAD = 92 };

static const struct { const char *name, *colour; } families[] = {
    { "linear", "#5b8fc7" }, { "convolution", "#ee9a4a" }, { "attention", "#6aae63" }, { "norm", "#b288b8" }, { "activation", "#e07b7b" },
    { "moves and sums", "#a98d7a" }, { "loss and update", "#e3c34f" }, { "transfers", "#76b7b2" }, { "host", "#d5d9de" },
};
enum { FAMILIES = sizeof families / sizeof *families, HOST_FAMILY = FAMILIES - 1 };

static int family_of(int kind)
{
    switch (kind) {
    case OP_LINEAR: case OP_LINEAR_DX: case OP_LINEAR_DW: return 0;
    case OP_CONV: case OP_CONV_DX: case OP_CONV_DW: return 1;
    case OP_ATTN: case OP_ATTN_DX: return 2;
    case OP_NORM: case OP_NORM_DX: case OP_NORM_DW: return 3;
    case OP_ACT: case OP_ACT_DX: case OP_GEGLU: case OP_GEGLU_DX: return 4;
    case OP_LOSS: case OP_SUMSQ: case OP_UPDATE: case OP_FILL: return 6;
    case TRACE_UPLOAD: case TRACE_DOWNLOAD: return 7;
    case HOST: return HOST_FAMILY;
    default: return 5;
    }
}

/* Names are those of modules: letters, digits, dots and blanks, which mean nothing in XML. */
static void put_title(const View *v, const Branch *b)
{
    double s = b->seconds > 0 ? b->seconds : 1e-9;
    fputs("<title>", v->out);
    print_path(v->out, b, " &gt; ");
    fprintf(v->out, "\n%.3f s, %.2f%%", b->seconds, 100 * b->seconds / v->total);
    if (b->calls) fprintf(v->out, ", %zu calls", b->calls);
    if (b->cost.flops > 0) fprintf(v->out, "\n%.1f GFLOP/s, %.1f GB/s", 1e-9 * b->cost.flops / s, 1e-9 * b->cost.bytes / s);
    fputs("</title>", v->out);
}

/* A branch from x on, w wide, and below it its children. Nothing thinner than a third of a pixel. */
static void put_branch(const View *v, const Branch *b, double x, double w, int depth)
{
    int room = (int)((w - 8) / 6.8), length = (int)strlen(b->name), y = HEAD + depth * ROW_HEIGHT;
    if (w < 0.34) return;
    fprintf(v->out, "<g><rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\"/>", x, y, w > 1.5 ? w - 0.7 : w, ROW_HEIGHT - 1,
            b->kind == GROUP ? depth % 2 ? "#e6ebf2" : "#dbe2ec" : families[family_of(b->kind)].colour);
    put_title(v, b);
    if (room >= 3 && length > room) fprintf(v->out, "<text x=\"%.2f\" y=\"%d\">%.*s…</text>", x + 4, y + 15, room - 1, b->name);
    else if (room >= length) fprintf(v->out, "<text x=\"%.2f\" y=\"%d\">%s</text>", x + 4, y + 15, b->name);
    fputs("</g>\n", v->out);
    for (const Branch *c = b->child; c; c = c->next) {
        double part = w * c->seconds / (b->seconds > 0 ? b->seconds : 1);
        put_branch(v, c, x, part, depth + 1);
        x += part;
    }
}

static int depth_of(const Branch *b)
{
    int most = 0;
    for (const Branch *c = b->child; c; c = c->next) {
        int d = depth_of(c);
        if (d > most) most = d;
    }
    return most + 1;
}

static void sum_families(const Branch *b, double seconds[FAMILIES])
{
    if (b->kind != GROUP) seconds[family_of(b->kind)] += b->seconds;
    for (const Branch *c = b->child; c; c = c->next) sum_families(c, seconds);
}

static void put_legend(const View *v, const Branch *root)
{
    double seconds[FAMILIES] = { 0 };
    int    x = MARGIN;
    sum_families(root, seconds);
    for (int k = 0; k < FAMILIES; k++) {
        char text[64];
        if (seconds[k] <= 0) continue;
        int n = snprintf(text, sizeof text, "%s %.1f%%", families[k].name, 100 * seconds[k] / v->total);
        fprintf(v->out, "<rect x=\"%d\" y=\"58\" width=\"13\" height=\"13\" rx=\"2\" fill=\"%s\"/>", x, families[k].colour);
        fprintf(v->out, "<text x=\"%d\" y=\"69\">%s</text>\n", x + 18, text);
        x += 18 + 7 * n + 16;
    }
}

static void put_picture(const View *v, const Branch *root)
{
    int height = HEAD + depth_of(root) * ROW_HEIGHT + MARGIN;
    fprintf(v->out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"12\">\n"
            "<style>text { fill: #1c2733; pointer-events: none } g:hover > rect { stroke: #1c2733; stroke-width: 1.5 }</style>\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n"
            "<text x=\"%d\" y=\"34\" font-size=\"19\" font-weight=\"600\">Where the time goes</text>\n"
            "<text x=\"%d\" y=\"34\" text-anchor=\"end\">%.2f s, %zu calls, %.1f GFLOP/s; a box is as wide as its time is long, part above module above "
            "operation</text>\n",
            WIDTH, height, WIDTH, height, MARGIN, WIDTH - MARGIN, v->total, root->calls, 1e-9 * root->cost.flops / v->total);
    put_legend(v, root);
    put_branch(v, root, MARGIN, WIDTH - 2 * MARGIN, 0);
    fputs("</svg>\n", v->out);
}

/* ---- files ---- */

/* STEM.ending, with what `print` writes. */
static int write_view(const char *stem, int length, const char *ending, double total, const Branch *root, int picture)
{
    char path[PATH_SIZE];
    Text text;
    View v = { text_open(&text), total };
    int  status = 0;
    if (v.out && picture) put_picture(&v, root);
    else if (v.out) status = print_tables(&v, root);
    if (!text_close(&text)) status = err("out of memory for a trace");
    if (!status && snprintf(path, sizeof path, "%.*s%s", length, stem, ending) >= (int)sizeof path) status = err("--trace: too long a path");
    if (!status) status = file_write(path, text.s, text.length);
    free(text.s);
    return status;
}

int trace_write(const Set *set, const char *path)
{
    const Trace *t = trace_of(set);
    const char  *ending = path_extension(path);
    int          length = (int)strlen(path), status = 0;
    double       total = t->last - t->first;
    Branch       root = { .name = "all", .kind = GROUP };
    if (!strcmp(ending, ".svg") || !strcmp(ending, ".txt")) length -= 4;
    for (int k = 0; k < t->entries && !status; k++) status = add_entry(&root, &t->entry[k]);
    if (!status) status = write_view(path, length, ".txt", total, &root, 0);
    Branch *host = status ? NULL : child_named(&root, "host", 4, HOST);
    if (host) host->seconds = total - root.seconds, root.seconds = total;
    if (!status) status = host ? write_view(path, length, ".svg", total, &root, 1) : -1;
    free_children(&root);
    return status;
}
