/* covers ref/lora/file.c ref/lora/module.c ref/lora/names.c ref/lora/delta.c ref/lora/positional.c ref/lora/info.c ref/lora/peft.c
 * Any file as a LoRA: what it holds, how strong it is, where it belongs in a model, and what it would add to a weight. */
#include "fuzz.h"
#include "lora/delta.h"
#include "lora/info.h"
#include "lora/positional.h"
#include "model/checkpoint.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 16 };                                /* numbers of a weight that is made: a small file may stand for a large one */

static void check_add(const LoraFileModule *m, const char *path)
{
    size_t count = (size_t)m->o * (size_t)m->columns;
    int    kk = m->kernel ? m->kernel * m->kernel : 1;
    if (count > MOST) return;
    double *w = calloc(count + 1, sizeof *w);
    CHECK(w, "no memory for %zu numbers", count);
    for (size_t i = 0; i < count; i++) w[i] = 1;
    if (lora_delta(w, m, path) < 0) fuzz_refused(path);
    if (m->columns % kk == 0 && lora_add(w, m, kk, 0.5, path) < 0) fuzz_refused(path);
    free(w);
}

/* Its tensors can be called by the names that are written here, in any layout, and those are read. */
static void check_names(const LoraFileModule *m)
{
    LoraName read;
    for (LoraLayout layout = LORA_KOHYA; layout < LORA_CLONEOFSIMO; layout++) {
        Name down = lora_name(layout, m->is_unet, m->path.s, LORA_DOWN);
        CHECK(!*m->path.s || strlen(down.s) + 1 == sizeof down.s || (lora_name_parse(&read, down.s) && read.role == LORA_DOWN), "%s is not read again", down.s);
    }
    CHECK(*lora_key(m->is_unet, m->path.s).s, "no name for %s", m->key);
}

/* The places of a model of another shape than SD's. */
static void check_places(LoraFile *f, const char *path)
{
    static Checkpoint model;
    if (!model.unet.weights.sites) CHECK(checkpoint_describe(&model, "golden/parity/a/model", set_null(set_open("ref"))) == 0, "%s", err_text());
    if (lora_place(f, &model.unet.weights) < 0) fuzz_refused(path);
    for (int i = 0; i < 300; i += 7) CHECK((i < 128) == (*lora_place_path(1, i, 8).s != 0) && *lora_place_path(0, i, 4).s, "place %d", i);
}

static void check_module(const InfoModule *i, const char *path)
{
    const LoraFileModule *m = i->file;
    size_t                numbers = 0;
    for (int r = 0; r < LORA_ROLES; r++)
        if (m->part[r] && r != LORA_ALPHA) numbers += m->part[r]->count;
    CHECK(numbers == i->params && m->o > 0 && m->columns > 0 && *lora_kind_name(m).s && *info_kind_name(i->kind), "%s: %zu numbers", m->key, numbers);
    CHECK(i->bad || i->norm >= 0 || isnan(i->norm), "%s: norm %g", m->key, i->norm);
    check_add(m, path);
    check_names(m);
}

int fuzz_one(const uint8_t *data, size_t size)
{
    LoraInfo     info;
    const char  *path = fuzz_file("a.safetensors", data, size);
    Safetensors *file = safetensors_open(path);
    if (!file) return fuzz_refused(path), 0;
    for (int i = 0; i < file->count; i++) lora_foreign(file->entry[i].name);
    if (lora_info_open(&info, file) < 0) fuzz_refused(path);
    else {
        CHECK(*lora_layout_name(info.file.layout) && (info.file.layout != LORA_NONE || !info.file.modules), "%d modules in no layout", info.file.modules);
        for (int i = 0; i < info.file.modules; i++) check_module(&info.module[i], path);
        for (int i = 0; i < info.file.tokens; i++) lora_token_name(info.file.token[i]);
        check_places(&info.file, path);
        lora_file_find(&info.file, 1, "mid.to_q");
        if (lora_file_check(&info.file, 0) < 0) fuzz_refused(path);
        lora_info_close(&info);
    }
    safetensors_close(file);
    return 0;
}
