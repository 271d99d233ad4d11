/* covers ref/io/safetensors.c ref/io/utf8.c
 * Any file: what is in it is found by name, reads in every type, and, written again, is the same. */
#include "fuzz.h"
#include "io/safetensors.h"
#include <stdlib.h>
#include <string.h>

static void check_read(const Safetensors *s, const SafetensorsEntry *e)
{
    CHECK(safetensors_find(s, e->name) == e, "%s is not found", e->name);
    void *out = malloc(8 * e->count + 1);
    CHECK(out, "no memory for %zu numbers", e->count);
    for (int type = 0; type < T_COUNT; type++)
        if (safetensors_read(s, e, (Type)type, out) < 0) {
            CHECK(e->type == T_COUNT, "%s cannot be read", e->name);
            fuzz_refused(s->path);
        } else if ((int)e->type == type) CHECK(memcmp(out, e->data, e->bytes) == 0, "%s: other bytes", e->name);
    free(out);
}

static void check_same(const Safetensors *a, const Safetensors *b)
{
    CHECK(a->count == b->count && a->pairs == b->pairs && a->bytes == b->bytes, "%d tensors of %d", b->count, a->count);
    for (int i = 0; i < a->count; i++) {
        const SafetensorsEntry *x = &a->entry[i], *y = &b->entry[i];
        CHECK(!strcmp(x->name, y->name) && x->type == y->type && x->rank == y->rank && !memcmp(x->shape, y->shape, sizeof x->shape), "%s differs", x->name);
        CHECK(x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0, "%s: other bytes", x->name);
    }
    for (int i = 0; i < a->pairs; i++) CHECK(!strcmp(a->pair[i].key, b->pair[i].key) && !strcmp(a->pair[i].value, b->pair[i].value), "pair %d differs", i);
}

static void check_write(const Safetensors *s)
{
    char        data[HASH_SIZE], want[HASH_SIZE], whole[HASH_SIZE];
    const char *path = fuzz_file("again.safetensors", "", 0);
    for (int i = 0; i < s->count; i++)
        if (s->entry[i].type == T_COUNT) return;        /* a type that is not written here */
    CHECK(safetensors_write(path, s->entry, s->count, s->pair, s->pairs) == 0, "%s", err_text());
    Safetensors *again = safetensors_open(path);
    CHECK(again, "what was written is refused: %s", err_text());
    check_same(s, again);
    hash_data(want, again->data, again->bytes);
    CHECK(safetensors_hash(data, s->entry, s->count) == 0 && !strcmp(data, want), "hash %s, %s expected", data, want);
    CHECK(safetensors_hash_range(whole, s->entry, s->count, s->pair, s->pairs, 0, UINT64_MAX) == 0 && hash_file(want, path) == 0 && !strcmp(whole, want),
          "hash of the file %s, %s expected", whole, want);
    safetensors_close(again);
}

int fuzz_one(const uint8_t *data, size_t size)
{
    const char  *path = fuzz_file("a.safetensors", data, size);
    Safetensors *s = safetensors_open(path);
    if (!s) return fuzz_refused(path), 0;
    for (int i = 0; i < s->count; i++) check_read(s, &s->entry[i]);
    for (int i = 0; i < s->pairs; i++) CHECK(safetensors_meta(s, s->pair[i].key), "%s is not found", s->pair[i].key);
    CHECK(!safetensors_find(s, "no such tensor\x01") && !safetensors_meta(s, "no such key\x01"), "found what is not there");
    check_write(s);
    safetensors_close(s);
    return 0;
}
