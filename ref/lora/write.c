/* lora_out_save: names, alphas and configurations of each layout, and the comparison of what was written with what was meant. */
#include "base/err.h"
#include "io/file.h"
#include "lora/hashes.h"
#include "lora/out.h"
#include "lora/positional.h"
#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double alpha_of(const LoraOutModule *m) { return m->scale * m->rank; }

/* ---- what a layout holds ---- */

static int check_module(const LoraOutModule *m, LoraLayout layout)
{
    const char *what = NULL;
    int         plain = m->kind == LORA_PLAIN && !m->part[LORA_MID].data;
    if (layout == LORA_KOHYA) what = m->rank || m->scale == 1 ? NULL : "a LoKr of whole matrices with a strength";
    else if (!plain) what = "LoHa, LoKr or Tucker's core";
    else if (m->magnitude == MAGNITUDE_IN) what = "DoRA's magnitudes of inputs";
    else if (layout == LORA_CLONEOFSIMO && (m->magnitude || m->conv)) what = "convolutions and DoRA";
    else if (layout == LORA_CLONEOFSIMO && m->scale != 1) what = "an alpha other than the rank";
    return what ? err("%s: the layout of %s cannot hold %s", m->path.s, lora_layout_name(layout), what) : 0;
}

/* ---- tensors ---- */

typedef struct {
    SafetensorsEntry *e;
    Name             *name;
    double           *alpha;
    int               count;
} Entries;

static int entries_open(Entries *x, const LoraOut *out)
{
    size_t room = (size_t)out->modules * LORA_ROLES + (size_t)out->tokens + 1;
    *x = (Entries){ calloc(room, sizeof *x->e), calloc(room, sizeof *x->name), calloc(room, sizeof *x->alpha), 0 };
    return x->e && x->name && x->alpha ? 0 : err("out of memory for %d modules", out->modules);
}

static void entries_close(Entries *x)
{
    free(x->e);
    free(x->name);
    free(x->alpha);
}

static void add_entry(Entries *x, Name text, const SafetensorsEntry *e)
{
    x->name[x->count] = text;
    x->e[x->count] = *e;
    x->e[x->count].name = x->name[x->count].s;
    x->count++;
}

/* The narrowest of the module's type, f32 and f64 that holds the alpha. */
static void add_alpha(Entries *x, const LoraOutModule *m)
{
    Type    type[] = { m->part[LORA_UP].data ? m->part[LORA_UP].type : T_F32, T_F32, T_F64 };
    double *room = &x->alpha[x->count];
    int     i = 0;
    for (; i < 2; i++) {
        type_set(type[i], room, 0, alpha_of(m));
        if (type_get(type[i], room, 0) == alpha_of(m)) break;
    }
    type_set(type[i], room, 0, alpha_of(m));
    add_entry(x, lora_name(LORA_KOHYA, m->is_unet, m->path.s, LORA_ALPHA), &(SafetensorsEntry){ .type = type[i], .data = room });
}

/* LyCORIS: (o,1), of a convolution (o,1,1,1), and so for inputs. PEFT: (o), of a convolution (1,o,1,1). */
static SafetensorsEntry magnitude_of(const LoraOutModule *m, LoraLayout layout)
{
    SafetensorsEntry e = m->part[LORA_MAGNITUDE];
    int64_t          n = (int64_t)e.count;
    int              second = layout != LORA_KOHYA || m->magnitude == MAGNITUDE_IN;
    e.rank = m->conv ? 4 : layout == LORA_KOHYA ? 2 : 1;
    for (int d = 0; d < 4; d++) e.shape[d] = 1;
    e.shape[e.rank > 1 && second] = n;
    return e;
}

static void add_module(Entries *x, const LoraOutModule *m, LoraLayout layout)
{
    for (LoraRole r = 0; r < LORA_ROLES; r++) {
        if (!m->part[r].data) continue;
        SafetensorsEntry e = r == LORA_MAGNITUDE ? magnitude_of(m, layout) : m->part[r];
        add_entry(x, lora_name(layout, m->is_unet, m->path.s, r), &e);
    }
    if (layout == LORA_KOHYA && m->rank) add_alpha(x, m);
}

/* ---- PEFT's configuration ---- */

/* How the configuration names a module: PEFT takes the end of a path for it, and not all of transformers have the level text_model. */
static const char *target_of(const LoraOutModule *m)
{
    static const char level[] = "text_model.";
    return m->path.s + (strncmp(m->path.s, level, strlen(level)) == 0 ? strlen(level) : 0);
}

/* The first module of a half of the model; NULL: there is none. */
static const LoraOutModule *first_of(const LoraOut *out, int is_unet)
{
    for (int i = 0; i < out->modules; i++)
        if (out->module[i].is_unet == is_unet) return &out->module[i];
    return NULL;
}

/* Rank and alpha of the first module are those of all but the modules of the patterns. front: before each key. cJSON's functions give NULL or 0 where there
 * is no memory, and where they are given NULL. */
static int add_config(cJSON *o, const LoraOut *out, int is_unet, const char *front)
{
    const LoraOutModule *first = first_of(out, is_unet);
    CHECK(first, "a configuration of no module");
    int    ok = cJSON_AddStringToObject(o, name("%speft_type", front).s, "LORA") && cJSON_AddNumberToObject(o, name("%sr", front).s, first->rank) &&
                cJSON_AddNumberToObject(o, name("%slora_alpha", front).s, alpha_of(first)), dora = 0;
    cJSON *targets = cJSON_AddArrayToObject(o, name("%starget_modules", front).s), *ranks = cJSON_AddObjectToObject(o, name("%srank_pattern", front).s);
    cJSON *alphas = cJSON_AddObjectToObject(o, name("%salpha_pattern", front).s);
    ok = ok && targets && ranks && alphas;
    for (int i = 0; i < out->modules && ok; i++) {
        const LoraOutModule *m = &out->module[i];
        if (m->is_unet != is_unet) continue;
        ok = cJSON_AddItemToArray(targets, cJSON_CreateString(target_of(m))) &&
             (m->rank == first->rank || cJSON_AddNumberToObject(ranks, target_of(m), m->rank)) &&
             (alpha_of(m) == alpha_of(first) || cJSON_AddNumberToObject(alphas, target_of(m), alpha_of(m)));
        dora |= m->magnitude != MAGNITUDE_NONE;
    }
    ok = ok && cJSON_AddBoolToObject(o, name("%suse_dora", front).s, dora) && cJSON_AddBoolToObject(o, name("%suse_rslora", front).s, 0) &&
         cJSON_AddStringToObject(o, name("%sbias", front).s, "none");
    return ok ? 0 : err("out of memory for a configuration");
}

/* ---- files ---- */

/* The entries with the metadata of `out`, `extra` more pairs, and, kohya, the hashes. */
static int write_file(const char *path, const Entries *x, const LoraOut *out, const SafetensorsPair *more, int extra, int hashes)
{
    SafetensorsPair *pair = calloc((size_t)out->pairs + (size_t)extra + 1, sizeof *pair);
    int              n = 0;
    if (!pair) return err("%s: out of memory for metadata", path);
    for (int i = 0; i < out->pairs; i++) pair[n++] = (SafetensorsPair){ out->pair[i].key, out->pair[i].value };
    for (int i = 0; i < extra; i++) pair[n++] = more[i];
    int status = hashes ? lora_write(path, x->e, x->count, pair, n) : safetensors_write(path, x->e, x->count, pair, n);
    free(pair);
    return status;
}

static int save_kohya(const LoraOut *out, const char *path)
{
    Entries x;
    int     status = entries_open(&x, out);
    for (int i = 0; i < out->modules && !status; i++) add_module(&x, &out->module[i], LORA_KOHYA);
    for (int i = 0; i < out->tokens && !status; i++) add_entry(&x, name("bundle_emb.%s.string_to_param.*", out->token[i].name), &out->token[i]);
    if (!status) status = write_file(path, &x, out, NULL, 0, out->pairs > 0);
    entries_close(&x);
    return status;
}

static int save_diffusers(const LoraOut *out, const char *path)
{
    Entries x;
    cJSON  *o = cJSON_CreateObject();
    int     status = entries_open(&x, out), noted = 0;
    for (int i = 0; i < out->modules && !status; i++) {
        add_module(&x, &out->module[i], LORA_DIFFUSERS);
        noted |= out->module[i].scale != 1 || out->module[i].magnitude;
    }
    for (int is_unet = 0; is_unet < 2 && !status; is_unet++)
        if (first_of(out, is_unet)) status = add_config(o, out, is_unet, is_unet ? "unet." : "text_encoder.");
    char           *text = cJSON_PrintUnformatted(o);
    SafetensorsPair more[] = { { "format", "pt" }, { "lora_adapter_metadata", text } };
    if (!status) status = text ? write_file(path, &x, out, more, noted ? 2 : 1, 0) : err("%s: out of memory for metadata", path);
    cJSON_free(text);
    cJSON_Delete(o);
    entries_close(&x);
    return status;
}

static int save_peft_half(const LoraOut *out, const char *folder, int is_unet)
{
    char            dir[PATH_SIZE], config[PATH_SIZE], tensors[PATH_SIZE];
    Entries         x;
    SafetensorsPair more = { "format", "pt" };
    cJSON          *o = cJSON_CreateObject();
    int             status = entries_open(&x, out) || path_join(dir, folder, is_unet ? "unet" : "text_encoder") || dir_make(dir) ? -1 : 0;
    if (!status && (path_join(config, dir, "adapter_config.json") || path_join(tensors, dir, "adapter_model.safetensors"))) status = -1;
    if (!status) status = add_config(o, out, is_unet, "");
    for (int i = 0; i < out->modules && !status; i++)
        if (out->module[i].is_unet == is_unet) add_module(&x, &out->module[i], LORA_PEFT);
    char *text = cJSON_Print(o);
    if (!status) status = text ? write_file(tensors, &x, out, &more, 1, 0) || file_write(config, text, strlen(text)) : err("%s: out of memory", config);
    cJSON_free(text);
    cJSON_Delete(o);
    entries_close(&x);
    return status ? -1 : 0;
}

static int save_peft(const LoraOut *out, const char *path)
{
    for (int is_unet = 0; is_unet < 2; is_unet++)
        if (first_of(out, is_unet) && save_peft_half(out, path, is_unet)) return -1;
    return 0;
}

/* ---- cloneofsimo's places ---- */

static const LoraOutModule *out_find(const LoraOut *out, int is_unet, const char *path)
{
    for (int i = 0; i < out->modules; i++)
        if (out->module[i].is_unet == is_unet && strcmp(out->module[i].path.s, path) == 0) return &out->module[i];
    return NULL;
}

/* How many places from the first are there without a gap. */
static int places(const LoraOut *out, int is_unet, int per)
{
    int n = 0;
    while (out_find(out, is_unet, lora_place_path(is_unet, n, per).s)) n++;
    return n;
}

static int save_places(const LoraOut *out, const char *path)
{
    int              half[2] = { 0, 0 }, per = 9, status, n = 0;
    SafetensorsPair *more = calloc((size_t)(out->modules + out->tokens + 2), sizeof *more);
    Name            *key = calloc((size_t)out->modules + 1, 2 * sizeof *key);
    Entries          x;
    for (int i = 0; i < out->modules; i++) half[out->module[i].is_unet]++;
    if (places(out, 1, per) != half[1]) per = 8;
    if (entries_open(&x, out) || !more || !key) status = err("%s: out of memory for %d modules", path, out->modules);
    else if (places(out, 1, per) != half[1] || places(out, 0, per) != half[0] || half[1] % per)
        status = err("%s: cloneofsimo's layout numbers all attention layers of SD 1.x or 2.x: these %d modules are others", path, out->modules);
    else status = 0;
    for (int is_unet = 0; is_unet < 2 && !status; is_unet++)
        for (int i = 0; i < half[is_unet]; i++) {
            const LoraOutModule *m = out_find(out, is_unet, lora_place_path(is_unet, i, per).s);
            const char          *word = is_unet ? "unet" : "text_encoder";
            add_entry(&x, name("%s:%d:down", word, i), &m->part[LORA_DOWN]);
            add_entry(&x, name("%s:%d:up", word, i), &m->part[LORA_UP]);
            key[2 * n] = name("%s:%d:rank", word, i), key[2 * n + 1] = name("%d", m->rank);
            more[n] = (SafetensorsPair){ key[2 * n].s, key[2 * n + 1].s }, n++;
        }
    if (half[1] && !status)
        more[n++] = (SafetensorsPair){ "unet", per == 9 ? "[\"CrossAttention\", \"Attention\", \"GEGLU\"]" : "[\"CrossAttention\", \"Attention\"]" };
    if (half[0] && !status) more[n++] = (SafetensorsPair){ "text_encoder", "[\"CLIPAttention\"]" };
    for (int i = 0; i < out->tokens && !status; i++) {
        add_entry(&x, name("%s", out->token[i].name), &out->token[i]);
        more[n++] = (SafetensorsPair){ out->token[i].name, "<embed>" };
    }
    if (!status) status = write_file(path, &x, out, more, n, 0);
    entries_close(&x);
    free(more);
    free(key);
    return status;
}

/* ---- reading back ---- */

static int compare_module(const LoraOutModule *m, const LoraFile *f)
{
    const LoraFileModule *in = lora_file_find(f, m->is_unet, m->path.s);
    if (!in) return err("%s: %s: not there after writing", f->path, m->path.s);
    if (in->kind != m->kind || in->magnitude != m->magnitude || in->rank != m->rank || !(fabs(in->scale - m->scale) <= 4 * DBL_EPSILON * fabs(m->scale)))
        return err("%s: %s: read back as another kind, rank or scale", f->path, in->key);
    for (LoraRole r = 0; r < LORA_ROLES; r++) {
        const SafetensorsEntry *want = &m->part[r], *found = in->part[r];
        if (r == LORA_ALPHA || (!want->data && !found)) continue;
        if (!want->data || !found || found->type != want->type || found->count != want->count || memcmp(found->data, want->data, found->bytes))
            return err("%s: %s%s: read back with other numbers", f->path, in->key, lora_role_ending(LORA_KOHYA, r));
    }
    return 0;
}

/* Names with something around them may come in another order. */
static int compare_token(const SafetensorsEntry *want, const LoraFile *f)
{
    int k = 0;
    while (k < f->tokens && strcmp(lora_token_name(f->token[k]).s, want->name)) k++;
    const SafetensorsEntry *found = k < f->tokens ? f->token[k] : NULL;
    int same = found && found->type == want->type && found->count == want->count && memcmp(found->data, want->data, found->bytes) == 0;
    return same ? 0 : err("%s: %s: read back with other numbers", f->path, want->name);
}

static int compare(const LoraOut *out, const char *path)
{
    LoraFile f;
    if (lora_file_open(&f, path)) return -1;
    int status = lora_file_check(&f, 0) || lora_place(&f, NULL) ? -1 : 0;
    if (!status && (f.modules != out->modules || f.tokens != out->tokens))
        status = err("%s: %d modules and %d tokens were written, %d and %d are there", path, out->modules, out->tokens, f.modules, f.tokens);
    for (int i = 0; i < out->modules && !status; i++) status = compare_module(&out->module[i], &f);
    for (int i = 0; i < out->tokens && !status; i++) status = compare_token(&out->token[i], &f);
    lora_file_close(&f);
    return status;
}

int lora_out_save(const LoraOut *out, const char *path, LoraLayout layout)
{
    static int (*const save[LORA_LAYOUTS])(const LoraOut *, const char *) = {
        [LORA_KOHYA] = save_kohya, [LORA_DIFFUSERS] = save_diffusers, [LORA_PEFT] = save_peft, [LORA_CLONEOFSIMO] = save_places
    };
    if (!out->modules) return err("%s: no module to write", path);
    for (int i = 0; i < out->modules; i++)
        if (check_module(&out->module[i], layout)) return -1;
    if (out->tokens && layout != LORA_KOHYA && layout != LORA_CLONEOFSIMO)
        return err("%s: the layout of %s cannot hold learned tokens", out->token[0].name, lora_layout_name(layout));
    return save[layout](out, path) || compare(out, path) ? -1 : 0;
}
