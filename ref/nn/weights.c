#include "nn/weights.h"
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16 << 20, ALIGN = 64, PARALLEL_FROM = 1 << 16 };
struct WeightBlock {
    struct WeightBlock *next;
    char               *p;
    size_t              size, used;
};

Name name(const char *format, ...)
{
    Name    out;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(out.s, sizeof out.s, format, args);
    va_end(args);
    CHECK(length < (int)sizeof out.s, "%s...", out.s);
    return out;
}

void weights_open(Weights *w, Set *set) { *w = (Weights){ .set = set }; }

void weights_close(Weights *w)
{
    for (struct WeightBlock *b = w->blocks, *next; b; b = next) {
        next = b->next;
        w->set->release(w->set, b->p, b->size);
        free(b);
    }
    for (int i = 0; i < w->sites; i++) free(w->site[i].layer->part[w->site[i].part].name);
    for (int i = 0; i < w->slots; i++) free(w->slot[i].name);
    free(w->slot);
    free(w->site);
    *w = (Weights){ 0 };
}

/* ---- describing ---- */

/* Memory of the set, from the first block with room: where memory costs even untouched, holes would be waste. A large tensor has a block of its own. */
static void *take(Weights *w, size_t bytes)
{
    struct WeightBlock *b = w->blocks;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    while (b && b->size - b->used < bytes) b = b->next;
    if (!b) {
        size_t size = bytes > BLOCK ? bytes : BLOCK;
        if (!(b = calloc(1, sizeof *b))) err("out of memory for the weights");
        if (!b || !(b->p = w->set->alloc(w->set, size))) {
            free(b);
            w->failed = 1;
            return NULL;
        }
        b->size = size, b->next = w->blocks, w->blocks = b;
    }
    b->used += bytes;
    return b->p + b->used - bytes;
}

static Tensor take_tensor(Weights *w, int n, int h, int wide, int c)
{
    Tensor t = tensor_of(NULL, w->set->act, n, h, wide, c);
    w->count += tensor_count(t);
    t.p = take(w, tensor_count(t) * type_size(t.type));
    return t;
}

/* Room for one more element in a growing array. */
static int grow(Weights *w, void **array, int count, int *room, size_t size)
{
    if (count < *room) return 0;
    void *more = realloc(*array, (size_t)(*room ? 2 * *room : 64) * size);
    if (!more) return w->failed = 1, err("out of memory for the names of the weights");
    *array = more, *room = *room ? 2 * *room : 64;
    return 0;
}

/* malloc'd; NULL and err() */
static char *copy_name(Weights *w, const char *text)
{
    char *copy = strdup(text);
    if (!copy) w->failed = 1, err("%s: out of memory for the name of a weight", text);
    return copy;
}

static void add_slot(Weights *w, const char *text, Tensor dst, Tensor *of, int first, int rank)
{
    if (grow(w, (void **)&w->slot, w->slots, &w->slot_room, sizeof *w->slot)) return;
    char *copy = copy_name(w, text);
    if (copy) w->slot[w->slots++] = (WeightSlot){ copy, dst, of, first, rank };
}

static void add_part(Weights *w, Layer *l, const char *text, int o)
{
    if (grow(w, (void **)&w->site, w->sites, &w->site_room, sizeof *w->site)) return;
    char *copy = copy_name(w, text);
    int   j = l->parts;
    if (!copy) return;
    l->part[l->parts++] = (Part){ .name = copy, .o0 = j * o, .o = o };
    w->site[w->sites++] = (Site){ l, j };
    add_slot(w, name("%s.weight", text).s, part_weight(l, j), &l->w.t, j * o, l->conv ? 4 : 2);
    if (l->bias.p) add_slot(w, name("%s.bias", text).s, tensor_channels(l->bias, j * o, o), NULL, 0, 1);
}

void weights_fused(Weights *w, Layer *l, const char *const *names, int parts, int in, int out_each, int bias)
{
    *l = (Layer){ .geometry = { .kernel = 1, .stride = 1 } };
    l->w.t = take_tensor(w, parts * out_each, 1, 1, in);
    if (bias) l->bias = take_tensor(w, 1, 1, 1, parts * out_each);
    for (int j = 0; j < parts; j++) add_part(w, l, names[j], out_each);
}

void weights_linear(Weights *w, Layer *l, const char *text, int in, int out, int bias) { weights_fused(w, l, &text, 1, in, out, bias); }

void weights_conv(Weights *w, Layer *l, const char *text, int in, int out, int kernel, int stride, int pad)
{
    *l = (Layer){ .geometry = { .kernel = kernel, .stride = stride, .pad = { pad, pad, pad, pad } }, .conv = 1 };
    l->w.t = take_tensor(w, out, kernel, kernel, in);
    l->bias = take_tensor(w, 1, 1, 1, out);
    add_part(w, l, text, out);
}

void weights_norm(Weights *w, Norm *n, const char *text, int c, int groups, int silu, double eps)
{
    *n = (Norm){ take_tensor(w, 1, 1, 1, c), take_tensor(w, 1, 1, 1, c), groups, silu, eps, NULL };
    add_slot(w, name("%s.weight", text).s, n->gamma, NULL, 0, 1);
    if (!w->failed) n->name = w->slot[w->slots - 1].name;
    add_slot(w, name("%s.bias", text).s, n->beta, NULL, 0, 1);
}

void weights_table(Weights *w, Tensor *table, const char *text, int rows, int c)
{
    *table = take_tensor(w, rows, 1, 1, c);
    add_slot(w, text, *table, table, 0, 2);
}

Tensor part_weight(const Layer *l, int part)
{
    const Part *p = &l->part[part];
    return tensor_images(l->w.t, p->o0, p->o);
}

/* ---- loading ---- */

/* The shape that the file should have. */
static void expected(const WeightSlot *s, int64_t shape[4])
{
    Tensor d = s->dst;
    shape[0] = s->rank == 1 ? d.c : d.n, shape[1] = d.c, shape[2] = d.h, shape[3] = d.w;
}

static int shape_fits(const WeightSlot *s, const SafetensorsEntry *e)
{
    int64_t want[4];
    int     either = s->rank > 1 && s->dst.h == 1 && s->dst.w == 1, rank = either ? e->rank : s->rank;
    if (e->rank != rank || rank < 1 || rank > 4 || (either && rank != 2 && rank != 4)) return 0;
    expected(s, want);
    for (int i = 0; i < rank; i++)
        if (e->shape[i] != want[i]) return 0;
    return 1;
}

static void shape_text(char out[96], const int64_t *shape, int rank)
{
    int at = snprintf(out, 96, "(");
    for (int i = 0; i < rank && at < 80; i++) at += snprintf(out + at, 96 - (size_t)at, "%s%lld", i ? "," : "", (long long)shape[i]);
    snprintf(out + at, 96 - (size_t)at, ")");
}

static int refuse_shape(const WeightSlot *s, const Safetensors *file, const SafetensorsEntry *e)
{
    int64_t want[4];
    char    wanted[96], found[96];
    expected(s, want);
    shape_text(wanted, want, s->rank);
    shape_text(found, e->shape, e->rank);
    return err("%s: %s: expected shape %s, found %s", file->path, e->name, wanted, found);
}

/* to (o,kk,i) = from (o,i,kk), elements of `size` bytes. */
static inline void permute(char *to, const char *from, size_t size, size_t o, size_t i, size_t kk)
{
#pragma omp parallel for schedule(static) if (o * i * kk > PARALLEL_FROM)
    for (size_t a = 0; a < o; a++)
        for (size_t b = 0; b < i; b++)
            for (size_t c = 0; c < kk; c++) memcpy(to + ((a * kk + c) * i + b) * size, from + ((a * i + b) * kk + c) * size, size);
}

void weights_from_file(double *to, const double *from, int o, int i, int kk)
{
    permute((char *)to, (const char *)from, sizeof *to, (size_t)o, (size_t)i, (size_t)kk);
}
void weights_to_file(double *to, const double *from, int o, int i, int kk) { weights_from_file(to, from, o, kk, i); }

/* Read in the type that it is kept in: each number is rounded once at most. */
static int load_slot(Weights *w, const WeightSlot *s, const Safetensors *file, const SafetensorsEntry *e)
{
    if (!shape_fits(s, e)) return refuse_shape(s, file, e);
    Tensor d = s->dst;
    size_t size = type_size(d.type), bytes = tensor_count(d) * size, o = (size_t)d.n, i = (size_t)d.c, kk = (size_t)d.h * (size_t)d.w;
    char  *value = malloc(kk > 1 ? 2 * bytes : bytes);
    if (!value) return err("%s: %s: out of memory for %zu bytes", file->path, e->name, bytes);
    char *host = kk > 1 ? value + bytes : value;
    int   status = safetensors_read(file, e, d.type, value);
    if (kk > 1 && size == 2) permute(host, value, 2, o, i, kk);
    if (kk > 1 && size == 4) permute(host, value, 4, o, i, kk);
    if (kk > 1 && size == 8) permute(host, value, 8, o, i, kk);
    if (!status) status = w->set->upload(w->set, d, tensor_of(host, d.type, d.n, d.h, d.w, d.c));
    free(value);
    return status;
}

int weights_pack(Weights *w)
{
    for (int i = 0; i < w->sites; i++) {
        Layer *l = w->site[i].layer;
        if (w->site[i].part > 0) continue;
        size_t bytes = w->set->pack(w->set, &l->w, NULL);
        if (!bytes) continue;
        void *packed = l->w.packed ? l->w.packed : take(w, bytes);
        if (!packed) return -1;
        w->set->pack(w->set, &l->w, packed);
    }
    return 0;
}

/* Where a slot's tensor lies follows from the type of all. */
static void place(WeightSlot *s)
{
    if (s->of) s->dst.type = s->of->type, s->dst.p = tensor_images(*s->of, s->first, s->dst.n).p;
}

void weights_types(Weights *w, const Safetensors *file)
{
    for (int i = 0; i < w->slots; i++) {
        const WeightSlot       *s = &w->slot[i];
        const SafetensorsEntry *e = safetensors_find(file, s->name);
        Type                    type = e ? op_weight_type(w->set, e->type) : w->set->act;
        if (s->of && s->first == 0) s->of->type = type;
        else if (s->of && s->of->type != type) s->of->type = w->set->act;
    }
    for (int i = 0; i < w->slots; i++) place(&w->slot[i]);
}

void weights_assume(Weights *w, Type stored)
{
    for (int i = 0; i < w->slots; i++)
        if (w->slot[i].of) w->slot[i].of->type = op_weight_type(w->set, stored);
    for (int i = 0; i < w->slots; i++) place(&w->slot[i]);
}

size_t weights_bytes(const Weights *w)
{
    size_t bytes = 0;
    for (int i = 0; i < w->slots; i++) bytes += tensor_count(w->slot[i].dst) * type_size(w->slot[i].dst.type);
    return bytes;
}

int weights_widen(Weights *w, Layer *l)
{
    Tensor narrow = l->w.t, wide = narrow;
    wide.type = w->set->act;
    if (narrow.type == wide.type) return 0;
    size_t count = tensor_count(narrow);
    Tensor host = tensor_of(malloc(count * type_size(wide.type)), wide.type, wide.n, wide.h, wide.w, wide.c);
    if (!host.p) return err("out of memory for %zu numbers", count);
    int status = w->set->download(w->set, host, narrow) || w->set->upload(w->set, wide, host) ? -1 : 0;
    free(host.p);
    l->w = (Weight){ .t = wide };
    for (int i = 0; i < w->slots; i++) place(&w->slot[i]);
    return status;
}

/* All that is missing at once: a file of the wrong kind shows in the number. */
static int find_all(const Weights *w, const Safetensors *file)
{
    const char *first = NULL;
    int         missing = 0;
    for (int i = w->slots - 1; i >= 0; i--)
        if (!safetensors_find(file, w->slot[i].name)) missing++, first = w->slot[i].name;
    if (missing > 1) return err("%s: %s: this tensor is missing, and so are %d others of %d", file->path, first, missing - 1, w->slots);
    return missing ? err("%s: %s: this tensor is missing", file->path, first) : 0;
}

int weights_load(Weights *w, const Safetensors *file)
{
    if (w->failed || find_all(w, file)) return -1;
    weights_types(w, file);
    for (int i = 0; i < w->slots; i++)
        if (load_slot(w, &w->slot[i], file, safetensors_find(file, w->slot[i].name))) return -1;
    return weights_pack(w);
}
