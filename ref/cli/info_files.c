#include "cli/info_files.h"
#include "base/err.h"
#include "cli/info_model.h"
#include "io/file.h"
#include "io/image.h"
#include "io/png_text.h"
#include "io/torch_file.h"
#include "lora/info.h"
#include "text/embedding.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_number(cJSON *object, const char *key, double x) { cJSON_AddNumberToObject(object, key, x); }

static cJSON *add_row(cJSON *array)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddItemToArray(array, row);
    return row;
}

/* ---- tensors ---- */

static void add_dtypes_of(cJSON *o, const Safetensors *const *file, int files)
{
    char   text[256] = "";
    size_t numbers = 0;
    int    count = 0;
    for (int f = 0; f < files; f++)
        for (int i = 0; i < file[f]->count; i++, count++) {
            const SafetensorsEntry *e = &file[f]->entry[i];
            numbers += e->count;
            if (!strstr(text, e->dtype) && strlen(text) + 16 < sizeof text) strcat(strcat(text, *text ? ", " : ""), e->dtype);
        }
    add_number(o, "tensor_count", count);
    cJSON_AddStringToObject(o, "dtype", text);
    add_number(o, "numbers", (double)numbers);
}

static void add_dtypes(cJSON *o, const Safetensors *file) { add_dtypes_of(o, &file, 1); }

static int by_key(const void *a, const void *b) { return strcmp(((const SafetensorsPair *)a)->key, ((const SafetensorsPair *)b)->key); }

static void add_metadata(cJSON *o, const char *key, const Safetensors *file)
{
    cJSON           *metadata = cJSON_AddObjectToObject(o, key);
    SafetensorsPair *sorted = calloc((size_t)file->pairs + 1, sizeof *sorted);
    if (!sorted) return;
    for (int i = 0; i < file->pairs; i++) sorted[i] = file->pair[i];
    qsort(sorted, (size_t)file->pairs, sizeof *sorted, by_key);
    for (int i = 0; i < file->pairs; i++) cJSON_AddStringToObject(metadata, sorted[i].key, sorted[i].value);
    free(sorted);
}

/* Name, type, shape, root mean square and largest magnitude of each tensor that is (1) or is not (0) of a LoRA, or of all (-1). */
static int add_tensors(cJSON *o, const char *key, const Safetensors *file, int lora)
{
    cJSON *tensors = cJSON_AddArrayToObject(o, key);
    for (int i = 0; i < file->count; i++) {
        const SafetensorsEntry *e = &file->entry[i];
        if (lora >= 0 && lora != (strstr(e->name, ".lora_") != NULL)) continue;
        cJSON *row = add_row(tensors);
        char   shape[160] = "(";                        /* eight numbers up to 2^53 */
        double squares = 0, most = 0, *x = e->type == T_COUNT ? NULL : malloc(e->count * sizeof *x + 1);
        for (int k = 0, at = 1; k < e->rank; k++) at += snprintf(shape + at, sizeof shape - (size_t)at, "%s%lld", k ? "," : "", (long long)e->shape[k]);
        info_add_text(row, "name", "%s", e->name);
        cJSON_AddStringToObject(row, "dtype", e->dtype);
        cJSON_AddStringToObject(row, "shape", strcat(shape, ")"));
        if (e->type == T_COUNT) continue;
        if (!x || safetensors_read(file, e, T_F64, x)) return free(x), err("%s: %s: out of memory", file->path, e->name);
        for (size_t k = 0; k < e->count; k++) squares += x[k] * x[k], most = fabs(x[k]) <= most ? most : fabs(x[k]);
        add_number(row, "rms", e->count ? sqrt(squares / (double)e->count) : 0);
        add_number(row, "largest", most);
        free(x);
    }
    return 0;
}

/* ---- LoRA ---- */

typedef struct {
    int    modules, low_rank, high_rank, dead;
    double params, low_scale, high_scale, squares, largest;
} Sum;

static void sum_add(Sum *s, const InfoModule *m)
{
    int    rank = m->file->rank;
    double scale = m->file->scale;
    if (!s->modules++) s->low_rank = s->high_rank = rank, s->low_scale = s->high_scale = scale;
    if (rank < s->low_rank) s->low_rank = rank;
    if (rank > s->high_rank) s->high_rank = rank;
    if (scale < s->low_scale) s->low_scale = scale;
    if (scale > s->high_scale) s->high_scale = scale;
    s->dead += m->dead;
    s->params += (double)m->params;
    s->squares += m->norm * m->norm;
    s->largest = m->largest <= s->largest ? s->largest : m->largest;        /* NAN stays */
}

static void add_sum(cJSON *row, const Sum *s)
{
    add_number(row, "modules", s->modules);
    add_number(row, "parameters", s->params);
    info_add_text(row, "rank", s->low_rank == s->high_rank ? "%d" : "%d to %d", s->low_rank, s->high_rank);
    info_add_text(row, "scale", s->low_scale == s->high_scale ? "%.4g" : "%.4g to %.4g", s->low_scale, s->high_scale);
    add_number(row, "norm", sqrt(s->squares));
    add_number(row, "largest", s->largest);
    add_number(row, "dead", s->dead);
}

static void add_kinds(cJSON *o, const LoraInfo *info)
{
    Sum    sum[KINDS] = { 0 }, all = { 0 };
    cJSON *kinds = cJSON_AddArrayToObject(o, "kinds"), *row;
    for (int i = 0; i < info->file.modules; i++) sum_add(&sum[info->module[i].kind], &info->module[i]), sum_add(&all, &info->module[i]);
    for (int k = 0; k < KINDS; k++) {
        if (!sum[k].modules) continue;
        row = add_row(kinds);
        cJSON_AddStringToObject(row, "kind", info_kind_name((ModuleKind)k));
        add_sum(row, &sum[k]);
    }
    row = add_row(kinds);
    cJSON_AddStringToObject(row, "kind", "all");
    add_sum(row, &all);
}

static void add_modules(cJSON *o, const LoraInfo *info)
{
    cJSON *modules = cJSON_AddArrayToObject(o, "modules");
    for (int i = 0; i < info->file.modules; i++) {
        const InfoModule     *m = &info->module[i];
        const LoraFileModule *f = m->file;
        cJSON                *row = add_row(modules);
        info_add_text(row, "module", "%s", f->place < 0 ? f->key : f->path.s);
        info_add_text(row, "kind", "%s", lora_kind_name(f).s);
        add_number(row, "rank", f->rank);
        add_number(row, "alpha", f->alpha);
        add_number(row, "norm", m->norm);
        add_number(row, "largest", m->largest);
    }
}

static void add_problems(cJSON *o, const LoraInfo *info)
{
    cJSON *problems = cJSON_AddArrayToObject(o, "problems");
    char   text[512];
    for (int i = 0; i < info->file.modules; i++) {
        const InfoModule *m = &info->module[i];
        if (m->bad) snprintf(text, sizeof text, "%s: %zu numbers are infinite or not a number", m->file->key, m->bad);
        else if (m->dead) snprintf(text, sizeof text, "%s: it adds 0, it does nothing", m->file->key);
        else continue;
        cJSON_AddItemToArray(problems, cJSON_CreateString(text));
    }
    if (!info->file.others) return;
    snprintf(text, sizeof text, "%d tensors belong to no module, the first is %s", info->file.others, info->file.other->name);
    cJSON_AddItemToArray(problems, cJSON_CreateString(text));
}

/* "value", and whether the file says the same of itself. */
static void add_hash(cJSON *hashes, const char *key, const char *value, const char *stored)
{
    char other[64];
    cJSON_AddStringToObject(hashes, key, value);
    if (!stored || strcmp(stored, value) == 0) return;
    snprintf(other, sizeof other, "%s_in_the_file", key);
    info_add_text(hashes, other, "%s, which differs", stored);
}

/* The hash that kohya's scripts once had, of the file as it was before sshs_* and modelspec.* were added to it; -1: it cannot be made again. */
static int legacy_hash(char hex[HASH_SIZE], const Safetensors *file)
{
    int              n = 0, status = 0;
    SafetensorsPair *ss = calloc((size_t)file->pairs + 1, sizeof *ss);
    for (int i = 0; i < file->count; i++)
        if (file->entry[i].type == T_COUNT) status = -1;
    for (int i = 0; ss && i < file->pairs; i++)
        if (strncmp(file->pair[i].key, "ss_", 3) == 0) ss[n++] = file->pair[i];
    if (!ss || status || safetensors_hash_range(hex, file->entry, file->count, ss, n, 0x100000, 0x10000)) status = -1;
    else hex[8] = 0;
    free(ss);
    return status;
}

/* Those of the whole file; of its tensors' bytes as well where they lie in it one behind the other. */
static int add_hashes(cJSON *o, const Safetensors *file)
{
    cJSON *hashes = cJSON_AddObjectToObject(o, "hashes");
    char   whole[HASH_SIZE], window[HASH_SIZE], model[HASH_SIZE], legacy[HASH_SIZE];
    if (hash_file(whole, file->path) || hash_file_range(window, file->path, 0x100000, 0x10000)) return -1;
    cJSON_AddStringToObject(hashes, "sha256", whole);
    info_add_text(hashes, "autov1", "%.8s", window);                        /* civitai's names */
    info_add_text(hashes, "autov2", "%.10s", whole);
    if (!file->data) return 0;
    hash_data(model, file->data, file->bytes);
    info_add_text(hashes, "autov3", "%.12s", model);
    add_hash(hashes, "model_hash", model, safetensors_meta(file, "sshs_model_hash"));
    if (legacy_hash(legacy, file) == 0) add_hash(hashes, "legacy_hash", legacy, safetensors_meta(file, "sshs_legacy_hash"));
    return 0;
}

/* What matters most of the metadata. */
static void add_training(cJSON *o, const Safetensors *file)
{
    static const SafetensorsPair facts[] = {
        { "modelspec.title", "title" },         { "modelspec.author", "author" },       { "modelspec.description", "description" },
        { "modelspec.usage_hint", "usage" },    { "modelspec.license", "license" },     { "modelspec.date", "date" },
        { "ss_sd_model_name", "base_model" },   { "ss_base_model_version", "version" }, { "modelspec.prediction_type", "prediction" },
        { "ss_resolution", "resolution" },      { "ss_num_train_images", "images" },    { "ss_total_batch_size", "batch" },
        { "ss_steps", "steps" },                { "ss_epoch", "epochs" },               { "ss_unet_lr", "unet_lr" },
        { "ss_text_encoder_lr", "text_encoder_lr" }, { "ss_lr_scheduler", "scheduler" }, { "ss_optimizer", "optimizer" },
        { "ss_seed", "seed" },                  { "ss_clip_skip", "clip_skip" },        { "ss_training_comment", "comment" },
    };
    cJSON *training = cJSON_AddObjectToObject(o, "training");
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const char *value = safetensors_meta(file, facts[i].key);
        if (value && *value && strcmp(value, "None")) cJSON_AddStringToObject(training, facts[i].value, value);
    }
}

typedef struct {
    const char *text;
    double      count;
} Tag;

static int by_text(const void *a, const void *b) { return strcmp(((const Tag *)a)->text, ((const Tag *)b)->text); }

static int by_count(const void *a, const void *b)
{
    const Tag *x = a, *y = b;
    return y->count > x->count ? 1 : y->count < x->count ? -1 : by_text(a, b);
}

/* {"folder": {"tag": count}} as rows, the folders' counts added up, the most frequent tag first. */
static void add_tags(cJSON *o, const Safetensors *file)
{
    const char  *text = safetensors_meta(file, "ss_tag_frequency");
    cJSON       *frequency = text ? cJSON_Parse(text) : NULL, *rows = cJSON_AddArrayToObject(o, "tags");
    const cJSON *folder, *item;
    size_t       room = 1, n = 0, kept = 0;
    cJSON_ArrayForEach(folder, frequency) room += (size_t)cJSON_GetArraySize(folder);
    Tag *tag = calloc(room, sizeof *tag);
    if (tag) cJSON_ArrayForEach(folder, frequency)
        cJSON_ArrayForEach(item, folder)
            if (item->string && cJSON_IsNumber(item)) tag[n++] = (Tag){ item->string, item->valuedouble };
    if (n) qsort(tag, n, sizeof *tag, by_text);
    for (size_t i = 0; i < n; i++) {
        if (kept && strcmp(tag[kept - 1].text, tag[i].text) == 0) tag[kept - 1].count += tag[i].count;
        else tag[kept++] = tag[i];
    }
    if (n) qsort(tag, kept, sizeof *tag, by_count);
    for (size_t i = 0; i < kept; i++) {
        cJSON *row = add_row(rows);
        add_number(row, "count", tag[i].count);
        info_add_text(row, "tag", "%s", tag[i].text);
    }
    free(tag);
    cJSON_Delete(frequency);
}

static void add_folders(cJSON *o, const Safetensors *file)
{
    const char  *text = safetensors_meta(file, "ss_dataset_dirs");
    cJSON       *dirs = text ? cJSON_Parse(text) : NULL, *folders = cJSON_AddArrayToObject(o, "folders");
    const cJSON *dir;
    cJSON_ArrayForEach(dir, dirs) {
        const cJSON *repeats = cJSON_GetObjectItemCaseSensitive(dir, "n_repeats"), *count = cJSON_GetObjectItemCaseSensitive(dir, "img_count");
        if (!dir->string || !cJSON_IsNumber(repeats) || !cJSON_IsNumber(count)) continue;
        cJSON *row = add_row(folders);
        info_add_text(row, "folder", "%s", dir->string);
        add_number(row, "pictures", count->valuedouble);
        add_number(row, "repeats", repeats->valuedouble);
    }
    cJSON_Delete(dirs);
}

/* "LoCon; LoRA": each kind of module that there is, once. */
static void add_algorithms(cJSON *o, const LoraFile *f)
{
    char text[256] = "";
    for (int i = 0; i < f->modules; i++) {
        Name kind = lora_kind_name(&f->module[i]);
        int  known = 0;
        for (int k = 0; k < i && !known; k++) known = strcmp(kind.s, lora_kind_name(&f->module[k]).s) == 0;
        if (!known && strlen(text) + strlen(kind.s) + 4 < sizeof text) strcat(strcat(text, *text ? "; " : ""), kind.s);
    }
    cJSON_AddStringToObject(o, "algorithm", text);
}

static void add_tokens(cJSON *o, const LoraFile *f)
{
    if (!f->tokens) return;
    cJSON *tokens = cJSON_AddArrayToObject(o, "learned_tokens");
    for (int i = 0; i < f->tokens; i++) cJSON_AddItemToArray(tokens, cJSON_CreateString(lora_token_name(f->token[i]).s));
}

/* Of PEFT's folder with two files metadata are the first one's, and hashes are not given: they would be of neither. */
static int add_lora(cJSON *o, const LoraInfo *info)
{
    const Safetensors *file = info->file.tensors[0];
    double             bytes = 0;
    cJSON_AddStringToObject(o, "kind", "LoRA");
    info_add_text(o, "layout", "%s", lora_layout_name(info->file.layout));
    add_algorithms(o, &info->file);
    add_tokens(o, &info->file);
    for (int f = 0; f < info->file.files; f++)
        for (int i = 0; i < info->file.tensors[f]->count; i++) bytes += (double)info->file.tensors[f]->entry[i].bytes;
    add_number(o, "bytes", bytes);
    add_dtypes_of(o, info->file.tensors, info->file.files);
    add_problems(o, info);
    add_kinds(o, info);
    add_training(o, file);
    add_folders(o, file);
    add_tags(o, file);
    if (info->file.files == 1 && add_hashes(o, file)) return -1;
    add_metadata(o, "metadata", file);
    add_modules(o, info);
    return 0;
}

/* ---- textual inversion ---- */

/* The word is the file's name, as in the web UI; what stands inside is told where it is another. The hash is what pictures say of the file. */
static int add_embedding(cJSON *o, const Safetensors *file, const Embedding *e)
{
    const char *name = path_name(file->path), *model = embedding_model_name(e);
    int         size = (int)(strlen(name) - strlen(path_extension(name)));
    char        hash[HASH_SIZE];
    cJSON_AddStringToObject(o, "kind", "textual inversion");
    cJSON_AddStringToObject(o, "layout", embedding_layout_name(e->layout));
    info_add_text(o, "word", "%.*s", size, name);
    if (e->word && (strncmp(e->word, name, (size_t)size) || e->word[size])) cJSON_AddStringToObject(o, "word_inside", e->word);
    add_number(o, "vectors", (double)e->n);
    add_number(o, "width", (double)e->c);
    cJSON_AddStringToObject(o, "for", model ? model : "no text encoder known");
    if (safetensors_meta(file, "step")) cJSON_AddStringToObject(o, "steps", safetensors_meta(file, "step"));
    add_dtypes(o, file);
    add_training(o, file);
    if (add_hashes(o, file) || hash_file(hash, file->path)) return -1;
    info_add_text(cJSON_GetObjectItemCaseSensitive(o, "hashes"), "ti_hash", "%.12s", hash);
    add_metadata(o, "metadata", file);
    return add_tensors(o, "tensors", file, -1);
}

/* ---- other files ---- */

static int add_other(cJSON *o, const Safetensors *file)
{
    const char *what = NULL;
    Embedding   e;
    if (embedding_find(&e, file) == 0) return add_embedding(o, file, &e);
    for (int i = 0; i < file->count && !what; i++) what = lora_foreign(file->entry[i].name);
    info_add_text(o, "kind", what ? "tensors, by their names of %s" : "tensors", what);
    add_dtypes(o, file);
    add_metadata(o, "metadata", file);
    return add_tensors(o, "tensors", file, -1);
}

static int add_state(cJSON *o, const Safetensors *file)
{
    cJSON_AddStringToObject(o, "kind", "state of a training run");
    add_dtypes(o, file);
    add_metadata(o, "settings", file);
    return add_tensors(o, "tensors", file, -1);
}

static int add_dump(cJSON *o, const Safetensors *file)
{
    cJSON_AddStringToObject(o, "kind", "dump");
    add_dtypes(o, file);
    add_metadata(o, "facts", file);
    return add_tensors(o, "values", file, 0) || add_tensors(o, "tensors", file, 1) ? -1 : 0;
}

static int add_safetensors(cJSON *o, const char *path)
{
    LoraInfo     info;
    Safetensors *file = safetensors_open(path);
    if (!file) return -1;
    const char *meta = safetensors_meta(file, "format"), *format = meta ? meta : "";
    int         status;
    if (info_is_model(file)) status = info_model(o, path);
    else if (strncmp(format, "sdlora-state", 12) == 0) status = add_state(o, file);
    else if (strncmp(format, "sdlora-dump", 11) == 0) status = add_dump(o, file);
    else if ((status = lora_info_open(&info, file)) == 0) {
        status = info.file.layout == LORA_NONE ? add_other(o, file) : add_lora(o, &info);
        lora_info_close(&info);
    }
    safetensors_close(file);
    return status;
}

/* A LoRA that is no single safetensors file: PEFT's folder, or what torch.save wrote. Its tensors, `file`, where they are no LoRA. */
static int add_lora_path(cJSON *o, const char *path, const Safetensors *file)
{
    LoraInfo info;
    if (lora_info_path(&info, path)) return file ? add_other(o, file) : -1;
    int status = file && info.file.layout == LORA_NONE ? add_other(o, file) : add_lora(o, &info);
    lora_info_close(&info);
    return status;
}

static int is_peft(const char *path)
{
    static const char *const inner[] = { "adapter_config.json", "unet/adapter_config.json", "text_encoder/adapter_config.json" };
    char                     file[PATH_SIZE];
    for (int i = 0; i < 3; i++)
        if (path_join(file, path, inner[i]) == 0 && is_file(file)) return 1;
    return 0;
}

static int add_folder(cJSON *o, const char *path)
{
    char  inner[PATH_SIZE];
    Names names;
    if (path_join(inner, path, "model_index.json")) return -1;
    if (is_file(inner)) return info_model(o, path);
    if (path_join(inner, path, "state.safetensors")) return -1;
    if (is_file(inner)) return add_safetensors(o, inner);
    if (is_peft(path)) return add_lora_path(o, path, NULL);
    if (dir_list(&names, path)) return -1;
    cJSON_AddStringToObject(o, "kind", "folder, neither of a model (model_index.json) nor of a state (state.safetensors)");
    add_number(o, "entries", names.count);
    names_free(&names);
    return 0;
}

static int add_png(cJSON *o, const char *path)
{
    enum { LIMIT = 1 << 30 };
    size_t   size;
    int      w, h;
    char    *text = NULL;
    uint8_t *png = file_read(path, LIMIT, &size);
    int      status = png ? image_size(&w, &h, path) : -1;
    if (!status && png_text_find(&text, png, size, "parameters")) {
        char why[256];
        snprintf(why, sizeof why, "%s", err_text());
        status = err("%s: %s", path, why);
    }
    if (!status) {
        cJSON_AddStringToObject(o, "kind", "picture");
        info_add_text(o, "size", "%dx%d", w, h);
        cJSON_AddStringToObject(o, "parameters", text ? text : "none");
    }
    free(text);
    free(png);
    return status ? -1 : 0;
}

/* What torch.save wrote: a model, a LoRA, or tensors. */
static int add_torch(cJSON *o, const char *path)
{
    TorchFile *t = torch_file_open(path);
    if (!t) return -1;
    const Safetensors *file = torch_file_tensors(t);
    int                status = info_is_model(file) ? info_model(o, path) : add_lora_path(o, path, file);
    torch_file_close(t);
    return status;
}

/* By how it begins: a PNG's signature; the length of a header and a brace. */
static int add_file(cJSON *o, const char *path)
{
    static const char signature[8] = { (char)0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    char              head[16] = "";
    FILE             *f = fopen(path, "rb");
    size_t            n = f ? fread(head, 1, sizeof head, f) : 0;
    if (!f) return err("%s: cannot be read", path);
    fclose(f);
    if (n >= sizeof signature && memcmp(head, signature, sizeof signature) == 0) return add_png(o, path);
    if ((n > 8 && head[8] == '{' && !head[7] && !head[6] && !head[5]) || strcmp(path_extension(path), ".safetensors") == 0)
        return add_safetensors(o, path);
    if (torch_file_is(head, n)) return add_torch(o, path);
    cJSON_AddStringToObject(o, "kind", "none that sdlora knows: neither a safetensors file, nor one of torch.save, nor a PNG");
    return 0;
}

cJSON *info_of(const char *path)
{
    cJSON *o = cJSON_CreateObject();
    if (!o) return err("out of memory"), NULL;
    cJSON_AddStringToObject(o, "file", path);
    int status = is_dir(path) ? add_folder(o, path) : is_file(path) ? add_file(o, path) : err("%s: no such file or folder", path);
    if (!status) return o;
    cJSON_Delete(o);
    return NULL;
}
