#include "lora/out.h"
#include "base/err.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- modules ---- */

static LoraOutModule *new_module(LoraOut *out, int is_unet, const char *path)
{
    if (out->modules == out->room) {
        int            room = out->room ? 2 * out->room : 256;
        LoraOutModule *more = realloc(out->module, (size_t)room * sizeof *more);
        if (!more) return err("out of memory for %d modules", room), NULL;
        out->module = more, out->room = room;
    }
    LoraOutModule *m = &out->module[out->modules++];
    *m = (LoraOutModule){ .is_unet = is_unet, .path = name("%s", path) };
    return m;
}

/* A tensor of e's shape and e's numbers, in its own type or another. */
static int copy_tensor(SafetensorsEntry *to, const SafetensorsEntry *e, int keep, Type type, const char *path)
{
    Safetensors file = { .path = path };
    *to = *e;
    if (!keep) to->type = type;
    void *data = malloc(e->count * type_size(to->type) + 1);
    to->name = NULL, to->data = data, to->in_memory = 1;
    return data ? safetensors_read(&file, e, to->type, data) : err("%s: %s: out of memory", path, e->name);
}

int lora_out_copy(LoraOut *out, const LoraFileModule *m, int keep, Type type, const char *path)
{
    LoraOutModule *to = new_module(out, m->is_unet, m->path.s);
    if (!to) return -1;
    to->kind = m->kind, to->magnitude = m->magnitude, to->rank = m->rank, to->scale = m->scale;
    for (int r = 0; r < LORA_ROLES; r++) {
        if (r == LORA_ALPHA || !m->part[r]) continue;
        if (copy_tensor(&to->part[r], m->part[r], keep, type, path)) return -1;
        if (r != LORA_MAGNITUDE && m->part[r]->rank == 4) to->conv = 1;
    }
    return 0;
}

static int set_matrix(SafetensorsEntry *e, const double *x, size_t rows, size_t columns, int conv, int kernel, Type type)
{
    size_t count = rows * columns, kk = (size_t)kernel * (size_t)kernel;
    void  *data = malloc(count * type_size(type));
    *e = (SafetensorsEntry){ .type = type, .rank = conv ? 4 : 2, .shape = { (int64_t)rows, (int64_t)(columns / kk), kernel, kernel }, .data = data };
    if (!data) return err("out of memory for %zu numbers", count);
    type_convert(type, data, T_F64, x, count);
    e->count = count, e->in_memory = 1;
    return 0;
}

int lora_out_factors(LoraOut *out, int is_unet, const char *path, const LoraFactors *f, int conv, int kernel, Type type)
{
    LoraOutModule *m = new_module(out, is_unet, path);
    if (!m) return -1;
    m->rank = f->rank, m->scale = f->scale, m->conv = conv;
    return set_matrix(&m->part[LORA_DOWN], f->down, (size_t)f->rank, (size_t)f->columns, conv, kernel, type) ||
                   set_matrix(&m->part[LORA_UP], f->up, (size_t)f->o, (size_t)f->rank, conv, 1, type)
               ? -1
               : 0;
}

int lora_out_tokens(LoraOut *out, const LoraFile *f, int keep, Type type)
{
    SafetensorsEntry *more = f->tokens ? realloc(out->token, (size_t)(out->tokens + f->tokens) * sizeof *more) : NULL;
    if (!f->tokens) return 0;
    if (!more) return err("%s: out of memory", f->path);
    out->token = more;
    for (int i = 0; i < f->tokens; i++) {
        Name word = lora_token_name(f->token[i]);
        for (int k = 0; k < out->tokens; k++)
            if (strcmp(out->token[k].name, word.s) == 0) return err("%s: %s: another of these files has learned this word, too", f->path, word.s);
        SafetensorsEntry *e = &out->token[out->tokens++];
        if (copy_tensor(e, f->token[i], keep, type, f->path)) return -1;
        if (!(e->name = strdup(word.s))) return err("%s: out of memory", f->path);
    }
    return 0;
}

/* ---- metadata ---- */

int lora_out_meta(LoraOut *out, const char *key, const char *value)
{
    int i = 0;
    while (i < out->pairs && strcmp(out->pair[i].key, key)) i++;
    if (i < out->pairs) {
        free(out->pair[i].key);
        free(out->pair[i].value);
        out->pair[i] = out->pair[--out->pairs];
    }
    if (!value) return 0;
    LoraOutPair *more = realloc(out->pair, ((size_t)out->pairs + 1) * sizeof *more);
    if (!more) return err("out of memory for metadata");
    out->pair = more;
    LoraOutPair *p = &out->pair[out->pairs++];
    *p = (LoraOutPair){ strdup(key), strdup(value) };
    return p->key && p->value ? 0 : err("out of memory for metadata");
}

/* What a layout says about its own tensors: it would be false in another, and is written anew. */
static int is_of_layout(const SafetensorsPair *p)
{
    return strncmp(p->key, "sshs_", 5) == 0 || strcmp(p->key, "lora_adapter_metadata") == 0 || strcmp(p->key, "format") == 0 ||
           strcmp(p->value, "<embed>") == 0 || strncmp(p->key, "unet", 4) == 0 || strncmp(p->key, "text_encoder", 12) == 0;
}

int lora_out_meta_of(LoraOut *out, const LoraFile *f)
{
    for (int k = 0; k < f->files; k++)
        for (int i = 0; i < f->tensors[k]->pairs; i++) {
            const SafetensorsPair *p = &f->tensors[k]->pair[i];
            if (!is_of_layout(p) && lora_out_meta(out, p->key, p->value)) return -1;
        }
    return 0;
}

int lora_out_network(LoraOut *out)
{
    int same_rank = 1, same_alpha = 1;
    for (int i = 1; i < out->modules; i++) {
        const LoraOutModule *m = &out->module[i], *first = &out->module[0];
        same_rank &= m->rank == first->rank, same_alpha &= m->scale * m->rank == first->scale * first->rank;
    }
    Name rank = name("%d", out->modules ? out->module[0].rank : 0), alpha = name("%.9g", out->modules ? out->module[0].scale * out->module[0].rank : 0);
    return lora_out_meta(out, "ss_network_module", "networks.lora") || lora_out_meta(out, "ss_network_dim", same_rank ? rank.s : "Dynamic") ||
                   lora_out_meta(out, "ss_network_alpha", same_alpha ? alpha.s : "Dynamic")
               ? -1
               : 0;
}

void lora_out_close(LoraOut *out)
{
    for (int i = 0; i < out->modules; i++)
        for (int r = 0; r < LORA_ROLES; r++) free((void *)out->module[i].part[r].data);
    for (int i = 0; i < out->tokens; i++) free((void *)out->token[i].data), free((char *)out->token[i].name);
    for (int i = 0; i < out->pairs; i++) free(out->pair[i].key), free(out->pair[i].value);
    free(out->module);
    free(out->token);
    free(out->pair);
    *out = (LoraOut){ 0 };
}
