#include "nn/dump.h"
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dump_open(Dump *dump, Set *set) { *dump = (Dump){ .set = set }; }

static void shape_of(SafetensorsEntry *e, Tensor t, int rank)
{
    int64_t n = t.n, h = t.h, w = t.w, c = t.c;
    const int64_t shape[5][4] = { { 0 }, { n * h * w * c }, { n, h * w * c }, { n, w, c }, { n, c, h, w } };
    CHECK(rank >= 0 && rank <= 4 && (rank != 3 || h == 1) && (rank != 0 || n * h * w * c == 1), "%s: rank %d of (%d,%d,%d,%d)", e->name, rank, t.n, t.h, t.w,
          t.c);
    e->rank = rank;
    memcpy(e->shape, shape[rank], (size_t)rank * sizeof *e->shape);
}

/* to (n,c,h,w) = t (n,h,w,c). The other ranks have the order of memory. */
static void planes(char *to, Tensor t)
{
    size_t size = type_size(t.type), area = (size_t)t.h * (size_t)t.w, c = (size_t)t.c;
    for (size_t n = 0; n < (size_t)t.n; n++)
        for (size_t k = 0; k < area; k++)
            for (size_t j = 0; j < c; j++) memcpy(to + ((n * c + j) * area + k) * size, (char *)t.p + ((n * area + k) * c + j) * size, size);
}

static int make_room(Dump *d)
{
    if (d->count < d->room) return 0;
    int               room = d->room ? 2 * d->room : 256;
    SafetensorsEntry *more = realloc(d->entry, (size_t)room * sizeof *more);
    if (!more) return err("out of memory for %d dumped values", room);
    d->entry = more, d->room = room;
    return 0;
}

/* set: where the value lies, or NULL: in the host's memory, dense. */
static int put(Dump *d, Tensor value, int rank, const char *name, Set *set)
{
    size_t           bytes = tensor_count(value) * type_size(value.type);
    SafetensorsEntry e = { .type = value.type };
    char            *dense = malloc(2 * bytes), *text = malloc(strlen(d->prefix) + strlen(name) + 1);
    if (!dense || !text || make_room(d)) return free(dense), free(text), err("out of memory to dump %s", name);
    strcat(strcpy(text, d->prefix), name);
    e.name = text, e.data = dense;
    shape_of(&e, value, rank);
    d->entry[d->count++] = e;
    Tensor host = tensor_of(rank == 4 ? dense + bytes : dense, value.type, value.n, value.h, value.w, value.c);
    if (!set) memcpy(host.p, value.p, bytes);
    else if (set->download(set, host, value) || set->sync(set)) return -1;
    if (rank == 4) planes(dense, host);
    return 0;
}

static void put_latched(Dump *d, Tensor value, int rank, Set *set, const char *format, va_list args)
{
    char name[192];
    vsnprintf(name, sizeof name, format, args);
    if (put(d, value, rank, name, set)) d->failed = 1;
}

void dump_put(Dump *dump, Tensor value, int rank, const char *name, ...)
{
    va_list args;
    if (!dump || dump->failed) return;
    va_start(args, name);
    put_latched(dump, value, rank, dump->set, name, args);
    va_end(args);
}

void dump_host(Dump *dump, Tensor value, int rank, const char *name, ...)
{
    va_list args;
    if (!dump || dump->failed) return;
    va_start(args, name);
    put_latched(dump, value, rank, NULL, name, args);
    va_end(args);
}

void dump_prefix(Dump *dump, const char *prefix, ...)
{
    va_list args;
    if (!dump) return;
    va_start(args, prefix);
    vsnprintf(dump->prefix, sizeof dump->prefix, prefix, args);
    va_end(args);
}

static int note(Dump *d, const char *key, const char *value)
{
    if (d->pairs == d->pair_room) {
        int              room = d->pair_room ? 2 * d->pair_room : 32;
        SafetensorsPair *more = realloc(d->pair, (size_t)room * sizeof *more);
        if (!more) return err("out of memory to dump %s", key);
        d->pair = more, d->pair_room = room;
    }
    char *whole = malloc(strlen(d->prefix) + strlen(key) + 1), *text = strdup(value);
    if (!whole || !text) return free(whole), free(text), err("out of memory to dump %s", key);
    strcat(strcpy(whole, d->prefix), key);
    d->pair[d->pairs++] = (SafetensorsPair){ whole, text };
    return 0;
}

void dump_note(Dump *dump, const char *key, const char *value, ...)
{
    char    text[4096];
    va_list args;
    if (!dump || dump->failed) return;
    va_start(args, value);
    vsnprintf(text, sizeof text, value, args);
    va_end(args);
    if (note(dump, key, text)) dump->failed = 1;
}

void dump_tap(void *dump, const char *name, Tensor value)
{
    int rank = strncmp(name, "text.", 5) == 0 ? 3 : strncmp(name, "time.", 5) == 0 ? 2 : 4;
    dump_put(dump, value, rank, "%s", name);
}

int dump_write(Dump *dump, const char *path)
{
    int status = dump->failed ? -1 : safetensors_write(path, dump->entry, dump->count, dump->pair, dump->pairs);
    for (int i = 0; i < dump->count; i++) free((void *)dump->entry[i].name), free((void *)dump->entry[i].data);
    for (int i = 0; i < dump->pairs; i++) free((void *)dump->pair[i].key), free((void *)dump->pair[i].value);
    free(dump->entry);
    free(dump->pair);
    *dump = (Dump){ 0 };
    return status;
}
