#include "lora/file.h"
#include "base/err.h"
#include "io/file.h"
#include "lora/peft.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- learned tokens ---- */

static const char bundle[] = "bundle_emb.", bundled[] = ".string_to_param.*";

static int is_bundled(const char *tensor)
{
    size_t n = strlen(tensor), front = strlen(bundle), back = strlen(bundled);
    return n > front + back && strncmp(tensor, bundle, front) == 0 && strcmp(tensor + n - back, bundled) == 0;
}

/* cloneofsimo's: the token itself is the name, and the metadata say so. The web UI's: bundle_emb.TOKEN.string_to_param.* */
static int is_token(const Safetensors *file, const SafetensorsEntry *e)
{
    const char *note = safetensors_meta(file, e->name);
    int         learned = is_bundled(e->name) || (note && strcmp(note, "<embed>") == 0);
    return learned && (e->rank == 1 || e->rank == 2) && e->type != T_COUNT && strlen(e->name) < 100;
}

Name lora_token_name(const SafetensorsEntry *token)
{
    const char *at = token->name + strlen(bundle);
    return is_bundled(token->name) ? name("%.*s", (int)(strlen(at) - strlen(bundled)), at) : name("%s", token->name);
}

/* ---- names to modules ---- */

/* A tensor of the file and what its name says. */
typedef struct {
    LoraName                name;
    const SafetensorsEntry *e;
    int                     file, order;
} Find;

static int same_module(const Find *x, const Find *y)
{
    return x->name.is_unet == y->name.is_unet && x->name.place == y->name.place && strcmp(x->name.path.s, y->name.path.s) == 0;
}

static int by_module(const void *a, const void *b)
{
    const Find *x = a, *y = b;
    if (x->name.is_unet != y->name.is_unet) return x->name.is_unet - y->name.is_unet;
    if (x->name.place != y->name.place) return x->name.place < y->name.place ? -1 : 1;
    int path = strcmp(x->name.path.s, y->name.path.s);
    return path ? path : x->order - y->order;
}

static void add_other(LoraFile *f, const SafetensorsEntry *e)
{
    if (!f->others++) f->other = e;
}

/* Files of two layouts do not exist: the first tensor that is more than an alpha decides, and what is of another is of none. */
static void set_layout(LoraFile *f, const Find *find, int n)
{
    for (int i = 0; i < n && f->layout == LORA_NONE; i++)
        if (find[i].name.role != LORA_ALPHA) f->layout = find[i].name.layout;
}

/* A place in cloneofsimo's list: a number alone. */
static int parse_list(LoraName *out, const char *tensor, const char *path)
{
    size_t n = strlen(tensor);
    if (n == 0 || n > 5 || strspn(tensor, "0123456789") != n) return 0;
    int place = atoi(tensor);
    *out = (LoraName){ LORA_CLONEOFSIMO, place % 2 ? LORA_DOWN : LORA_UP, strstr(path, ".text_encoder.") == NULL, place / 2, n, { "" } };
    return 1;
}

static int find_names(Find *find, LoraFile *f)
{
    int n = 0;
    for (int k = 0; k < f->files; k++)
        for (int i = 0; i < f->tensors[k]->count; i++) {
            const SafetensorsEntry *e = &f->tensors[k]->entry[i];
            find[n] = (Find){ .e = e, .file = k, .order = n };
            if (is_token(f->tensors[k], e)) f->token[f->tokens++] = e;
            else if (e->type != T_COUNT && (lora_name_parse(&find[n].name, e->name) || parse_list(&find[n].name, e->name, f->path))) n++;
            else add_other(f, e);
        }
    return n;
}

static int is_alike(LoraLayout a, LoraLayout b)
{
    int dots = (a == LORA_PEFT || a == LORA_DIFFUSERS) && (b == LORA_PEFT || b == LORA_DIFFUSERS);
    return a == b || dots;
}

/* Takes the n tensors of one module; those that say only an alpha or a magnitude of a module that is not there are others. */
static int take_module(LoraFile *f, const Find *find, int n)
{
    LoraFileModule *m = &f->module[f->modules];
    int             own = 0;
    *m = (LoraFileModule){ .layout = f->layout, .is_unet = find->name.is_unet, .place = find->name.place, .path = find->name.path };
    for (int i = 0; i < n; i++) own += find[i].name.role < LORA_ALPHA && is_alike(find[i].name.layout, f->layout);
    for (int i = 0; i < n; i++) {
        const SafetensorsEntry **part = &m->part[find[i].name.role];
        if (!own || !is_alike(find[i].name.layout, f->layout)) add_other(f, find[i].e);
        else if (*part) return err("%s: %s: there twice, the other is %s", f->path, find[i].e->name, (*part)->name);
        else *part = find[i].e;
    }
    if (!own) return 0;
    m->key = strndup(find->e->name, find->name.stem);
    if (!m->key) return err("%s: out of memory", f->path);
    f->modules++;
    return lora_module_check(m, f->path);
}

/* ---- strength ---- */

static int read_alpha(LoraFileModule *m, const LoraFile *f, Json *config, const char *front)
{
    const SafetensorsEntry *e = m->part[LORA_ALPHA];
    m->alpha = m->rank;
    if (e && e->count != 1) return err("%s: %s: expected one number, found %zu", f->path, e->name, e->count);
    if (e && safetensors_read(f->tensors[0], e, T_F64, &m->alpha)) return -1;
    if (!isfinite(m->alpha)) return err("%s: %s: expected a finite number, found %g", f->path, e->name, m->alpha);
    if (m->alpha == 0) m->alpha = m->rank;              /* kohya's word for "not given" */
    m->scale = m->rank ? m->alpha / m->rank : 1;
    if (!e && config) m->scale = peft_scale(&m->alpha, m->rank, config, front, m->path.s);
    return 0;
}

static int is_part_of(const LoraFileModule *m, const Safetensors *tensors)
{
    const SafetensorsEntry *e = NULL;
    for (int r = 0; r < LORA_ROLES && !e; r++) e = m->part[r];
    return e >= tensors->entry && e < tensors->entry + tensors->count;
}

/* The notes are a file beside the tensors, or in their metadata. */
static int read_strengths(LoraFile *f, const Safetensors *tensors, const char *config)
{
    const char *notes = safetensors_meta(tensors, "lora_adapter_metadata");
    char        noted[PATH_SIZE];
    snprintf(noted, sizeof noted, "%.500s: lora_adapter_metadata", f->path);
    Json       *j = config ? json_open(config) : notes ? json_parse(notes, noted) : NULL;
    int         status = (config || notes) && !j ? -1 : 0;
    for (int i = 0; i < f->modules && !status; i++) {
        LoraFileModule *m = &f->module[i];
        if (is_part_of(m, tensors)) status = read_alpha(m, f, j, config ? "" : m->is_unet ? "unet." : "text_encoder.");
    }
    return j && json_close(j) ? -1 : status;
}

/* ---- files ---- */

static int by_first_tensor(const void *a, const void *b)
{
    const LoraFileModule *x = a, *y = b;
    return x->is_unet != y->is_unet ? x->is_unet - y->is_unet : x->place != y->place ? (x->place < y->place ? -1 : 1) : strcmp(x->key, y->key);
}

static int take_modules(LoraFile *f)
{
    int count = 0, status = 0;
    for (int k = 0; k < f->files; k++) count += f->tensors[k]->count;
    Find *find = calloc((size_t)count + 1, sizeof *find);
    f->module = calloc((size_t)count + 1, sizeof *f->module);
    f->token = calloc((size_t)count + 1, sizeof *f->token);
    if (!find || !f->module || !f->token) return free(find), err("%s: out of memory for %d tensors", f->path, count);
    int n = find_names(find, f);
    set_layout(f, find, n);
    qsort(find, (size_t)n, sizeof *find, by_module);
    for (int i = 0, end; i < n && !status; i = end) {
        for (end = i + 1; end < n && same_module(&find[i], &find[end]);) end++;
        status = take_module(f, &find[i], end - i);
    }
    free(find);
    qsort(f->module, (size_t)f->modules, sizeof *f->module, by_first_tensor);
    return status;
}

static int start(LoraFile *f, const char *path)
{
    *f = (LoraFile){ .path = strdup(path) };
    return f->path ? 0 : err("%s: out of memory", path);
}

int lora_file_of(LoraFile *f, const Safetensors *tensors)
{
    if (start(f, tensors->path)) return -1;
    f->tensors[0] = tensors, f->files = 1;
    if (take_modules(f) == 0 && read_strengths(f, tensors, NULL) == 0) return 0;
    lora_file_close(f);
    return -1;
}

static int add_file(LoraFile *f, const char *path)
{
    if (tensor_file_open(&f->file[f->files], path)) return -1;
    f->tensors[f->files] = f->file[f->files].s;
    f->files++;
    return 0;
}

/* The folder's tensors join the file. */
static int add_folder(LoraFile *f, const char *folder)
{
    char path[PATH_SIZE], older[PATH_SIZE];
    if (path_join(path, folder, "adapter_model.safetensors") || path_join(older, folder, "adapter_model.bin")) return -1;
    return add_file(f, !is_file(path) && is_file(older) ? older : path);
}

static int open_folder(LoraFile *f)
{
    static const char *const inner[] = { "", "unet", "text_encoder" };
    char                     folder[3][PATH_SIZE], config[3][PATH_SIZE];
    int                      n = 0, status = 0;
    for (int i = 0; i < 3 && !status && f->files < 2; i++) {
        if (path_join(folder[n], f->path, inner[i]) || path_join(config[n], folder[n], "adapter_config.json")) return -1;
        if (is_file(config[n])) status = add_folder(f, folder[n]), n++;
    }
    if (!n) return err("%s: expected a folder of PEFT, with adapter_config.json in it or in unet/ or text_encoder/", f->path);
    if (!status) status = take_modules(f);
    for (int i = 0; i < n && !status; i++) status = read_strengths(f, f->tensors[i], config[i]);
    return status;
}

int lora_file_open(LoraFile *f, const char *path)
{
    if (start(f, path)) return -1;
    int status = 0;
    if (is_dir(path)) status = open_folder(f);
    else status = add_file(f, path) || take_modules(f) || read_strengths(f, f->tensors[0], NULL) ? -1 : 0;
    if (status) lora_file_close(f);
    return status;
}

void lora_file_close(LoraFile *f)
{
    for (int i = 0; i < f->modules; i++) free(f->module[i].key);
    for (int i = 0; i < f->files; i++) tensor_file_close(&f->file[i]);
    free(f->module);
    free(f->token);
    free(f->path);
    *f = (LoraFile){ 0 };
}

/* ---- questions ---- */

int lora_file_check(const LoraFile *f, int unmatched)
{
    const char *what = NULL, *tensor = f->other ? f->other->name : "";
    for (int k = 0; k < f->files; k++)
        for (int i = 0; i < f->tensors[k]->count && !what; i++) what = lora_foreign(tensor = f->tensors[k]->entry[i].name);
    if (what && !f->modules && strcmp(what, "a textual inversion") == 0)
        return err("%s: %s: this is a textual inversion, and no LoRA: `sdlora sample --embeddings` takes it", f->path, tensor);
    if (what && (f->others || strncmp(what, "a LoRA for", 10) == 0)) return err("%s: %s: this is part of %s, which is not read here", f->path, tensor, what);
    if (f->files == 0 || (!f->modules && !f->others)) return err("%s: expected a LoRA, found no tensor", f->path);
    if (!f->modules) return err("%s: %s: expected a LoRA in kohya's, PEFT's, diffusers' or cloneofsimo's layout", f->path, f->other->name);
    if (!f->others || unmatched) return 0;
    return err("%s: %s: belongs to no module of this file, which is in the layout of %s", f->path, f->other->name, lora_layout_name(f->layout));
}

const LoraFileModule *lora_file_find(const LoraFile *f, int is_unet, const char *path)
{
    for (int i = 0; i < f->modules; i++)
        if (f->module[i].is_unet == is_unet && strcmp(f->module[i].path.s, path) == 0) return &f->module[i];
    return NULL;
}

const char *lora_file_meta(const LoraFile *f, const char *key)
{
    const char *value = NULL;
    for (int k = 0; k < f->files && !value; k++) value = safetensors_meta(f->tensors[k], key);
    return value;
}
