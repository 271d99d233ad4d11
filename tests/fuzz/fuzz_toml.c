/* covers ref/io/toml.c ref/io/utf8.c */
#include "fuzz.h"
#include "io/toml.h"
#include "io/utf8.h"
#include <string.h>

static void check_value(const TomlValue *v)
{
    if (v->kind == TOML_ARRAY) {
        CHECK(!v->text && v->count >= 0 && v->count <= TOML_ITEMS, "an array of %d", v->count);
        for (int i = 0; i < v->count; i++) CHECK(v->item[i].kind != TOML_ARRAY, "an array in an array");
        for (int i = 0; i < v->count; i++) check_value(&v->item[i]);
    } else CHECK(utf8_valid(v->text, strlen(v->text)), "a text that is not UTF-8");
}

int fuzz_one(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("a.toml", data, size);
    Toml       *toml = toml_open(path);
    if (!toml) return fuzz_refused(path), 0;
    for (int i = 0; i < toml->count; i++) {
        const TomlEntry *e = &toml->entry[i];
        CHECK(*e->path && strlen(e->path) < TOML_PATH && strlen(e->key) <= strlen(e->path) && e->line > 0, "entry %d: %s", i, e->path);
        for (int k = 0; k < i; k++) CHECK(strcmp(e->path, toml->entry[k].path), "%s is there twice", e->path);
        check_value(&e->value);
    }
    toml_close(toml);
    return 0;
}
