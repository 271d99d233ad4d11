#include "io/torch_file.h"
#include "base/err.h"
#include "io/crc32.h"
#include "io/file.h"
#include "io/pickle.h"
#include "io/utf8.h"
#include "io/zip.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DEPTH_LIMIT = 16, VISIT_LIMIT = 1 << 20, NAME_LIMIT = 512, MOST_STORAGES = 1 << 20, NUMBER_SIZE = 24 };

/* ---- what a pickle may ask for ---- */

#define REBUILD "torch._utils._rebuild_tensor_v2"
#define PARAMETER "torch._utils._rebuild_parameter"
#define PARAMETER_DICT "torch.nn.modules.container.ParameterDict"

static const char *const allowed[] = {
    REBUILD, PARAMETER, PARAMETER_DICT, "collections.OrderedDict",
    "torch.FloatStorage", "torch.DoubleStorage", "torch.HalfStorage", "torch.BFloat16Storage", "torch.LongStorage", "torch.IntStorage",
    "torch.ShortStorage", "torch.CharStorage", "torch.ByteStorage", "torch.BoolStorage",
    "torch.Size", "torch.device", "__builtin__.set", "builtins.set",    /* from here on: written down, never looked at */
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint", NULL,
};

static const struct {
    const char *name, *dtype;
    Type        type;
    size_t      size;
} storages[] = {
    { "torch.FloatStorage", "F32", T_F32, 4 },   { "torch.DoubleStorage", "F64", T_F64, 8 }, { "torch.HalfStorage", "F16", T_F16, 2 },
    { "torch.BFloat16Storage", "BF16", T_BF16, 2 }, { "torch.LongStorage", "I64", T_I64, 8 }, { "torch.IntStorage", "I32", T_I32, 4 },
    { "torch.ByteStorage", "U8", T_U8, 1 },      { "torch.ShortStorage", "I16", T_COUNT, 2 }, { "torch.CharStorage", "I8", T_COUNT, 1 },
    { "torch.BoolStorage", "BOOL", T_COUNT, 1 },
};
enum { STORAGES = sizeof storages / sizeof *storages };

/* Of the form before ZIP: where a storage's numbers lie. */
typedef struct {
    const char *key;
    int         kind;                                   /* row of storages */
    uint64_t    count;
    const void *data;
} Storage;

struct TorchFile {
    Safetensors       s;
    SafetensorsEntry *entry;
    int               room, visits;
    char             *path;
    void             *map;
    size_t            size;
    const uint8_t    *data;
    SafetensorsPair  *pair;
    char            (*number)[NUMBER_SIZE];             /* whole numbers of the metadata, as texts */
    Pickle           *pickle;
    Zip              *zip;
    char              root[NAME_LIMIT];                 /* of the archive's names, with its slash */
    Storage          *storage;
    size_t            storage_count;
    void            **copy;                             /* tensors that were not contiguous */
    size_t            copies, copied;                   /* how many; their bytes */
};

/* ---- storages ---- */

/* ('storage', class, key, device, count) as a row, and what else it says. 0, or -1 and err(). */
static int parse_storage(const TorchFile *t, const PickleValue *v, Storage *out)
{
    static const PickleKind kinds[] = { PICKLE_TEXT, PICKLE_GLOBAL, PICKLE_TEXT, PICKLE_TEXT, PICKLE_INT };
    const PickleValue      *id = v->kind == PICKLE_PERSISTENT ? v->part[0] : NULL;
    int                     ok = id && id->kind == PICKLE_TUPLE && id->size >= 5;
    for (int i = 0; ok && i < 5; i++) ok = id->item[i]->kind == kinds[i];
    if (!ok || strcmp(id->item[0]->text, "storage") || id->item[4]->number < 0)
        return err("%s: pickle: a storage is not described as torch describes it", t->path);
    *out = (Storage){ .key = id->item[2]->text, .count = (uint64_t)id->item[4]->number };
    while (out->kind < STORAGES && strcmp(storages[out->kind].name, id->item[1]->text)) out->kind++;
    return out->kind < STORAGES ? 0 : err("%s: %s: numbers of this type are not read", t->path, id->item[1]->text);
}

static int by_key(const void *a, const void *b) { return strcmp(((const Storage *)a)->key, ((const Storage *)b)->key); }

/* Finds the numbers of a storage, as many as it says. */
static int find_storage(const TorchFile *t, Storage *s)
{
    char             text[2 * NAME_LIMIT];
    const ZipMember *m;
    if (!t->zip) {
        const Storage *found = t->storage_count ? bsearch(s, t->storage, t->storage_count, sizeof *s, by_key) : NULL;
        if (!found || !found->data || found->kind != s->kind || found->count < s->count)
            return err("%s: the numbers of storage %.40s are missing", t->path, s->key);
        s->data = found->data;
        return 0;
    }
    snprintf(text, sizeof text, "%sdata/%.400s", t->root, s->key);
    if (!(m = zip_find(t->zip, text))) return err("%s: %.300s: this member of the archive is missing", t->path, text);
    if (s->count > m->bytes / storages[s->kind].size)
        return err("%s: %.300s: %llu numbers of %zu bytes were expected, %zu bytes are there", t->path, text, (unsigned long long)s->count,
                   storages[s->kind].size, m->bytes);
    s->data = m->data;
    return 0;
}

/* ---- tensors ---- */

typedef struct {
    Storage  storage;
    uint64_t offset, stride[SAFETENSORS_MAX_RANK];
} Strided;

static int bad_tensor(const TorchFile *t, const char *name, const char *what) { return err("%s: %s: %s", t->path, name, what); }

/* The last element that a view reaches lies in its storage; no view is larger than that. */
static int check_extent(const TorchFile *t, const SafetensorsEntry *e, const Strided *s)
{
    uint64_t last = s->offset, far;
    if (e->count == 0) return 0;
    for (int d = 0; d < e->rank; d++)
        if (__builtin_mul_overflow((uint64_t)e->shape[d] - 1, s->stride[d], &far) || __builtin_add_overflow(last, far, &last))
            return bad_tensor(t, e->name, "its strides overflow");
    if (last >= s->storage.count) return bad_tensor(t, e->name, "it reaches beyond its storage");
    return e->count <= s->storage.count ? 0 : bad_tensor(t, e->name, "it repeats its storage");
}

static int is_contiguous(const SafetensorsEntry *e, const Strided *s)
{
    uint64_t want = 1;
    for (int d = e->rank - 1; d >= 0; d--) {
        if (e->shape[d] != 1 && s->stride[d] != want) return 0;
        want *= (uint64_t)e->shape[d];
    }
    return 1;
}

/* In the order of its shape. All copies together stay within the file's size. */
static int copy_strided(TorchFile *t, SafetensorsEntry *e, const Strided *s, size_t size)
{
    t->copied += e->bytes;
    if (t->copied > t->size) return bad_tensor(t, e->name, "copies of strided tensors would take more than the file");
    char  *to = malloc(e->bytes + 1);
    void **more = realloc(t->copy, (t->copies + 1) * sizeof *more);
    if (more) t->copy = more;
    if (!to || !more) return free(to), bad_tensor(t, e->name, "no memory");
    t->copy[t->copies++] = to;
    int64_t  at[SAFETENSORS_MAX_RANK] = { 0 };
    uint64_t from = s->offset;
    for (size_t i = 0; i < e->count; i++) {
        memcpy(to + i * size, (const char *)s->storage.data + from * size, size);
        for (int d = e->rank - 1; d >= 0; d--) {        /* the next place, as an odometer turns */
            from += s->stride[d];
            if (++at[d] < e->shape[d]) break;
            from -= s->stride[d] * (uint64_t)e->shape[d];
            at[d] = 0;
        }
    }
    e->data = to, e->in_memory = 1;
    return 0;
}

/* A tuple of numbers from 0 up; how many, or -1 and err(). */
static int sizes(const TorchFile *t, const char *name, const PickleValue *v, int64_t out[SAFETENSORS_MAX_RANK])
{
    if (v->kind != PICKLE_TUPLE || v->size > SAFETENSORS_MAX_RANK) return bad_tensor(t, name, "its shape is not one of at most 8 dimensions");
    for (size_t i = 0; i < v->size; i++) {
        if (v->item[i]->kind != PICKLE_INT || v->item[i]->number < 0) return bad_tensor(t, name, "a size of its shape is not a number from 0 up");
        out[i] = v->item[i]->number;
    }
    return (int)v->size;
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, ...) */
static int add_tensor(TorchFile *t, const char *name, const PickleValue *args)
{
    SafetensorsEntry e = { .name = name, .count = 1 };
    Strided          s = { .offset = 0 };
    int64_t          stride[SAFETENSORS_MAX_RANK] = { 0 };
    if (args->size < 4 || args->item[1]->kind != PICKLE_INT || args->item[1]->number < 0)
        return bad_tensor(t, name, "it is not described as torch describes it");
    if (parse_storage(t, args->item[0], &s.storage) || find_storage(t, &s.storage)) return -1;
    if ((e.rank = sizes(t, name, args->item[2], e.shape)) < 0) return -1;
    int strides = sizes(t, name, args->item[3], stride);
    if (strides < 0) return -1;
    if (strides != e.rank) return bad_tensor(t, name, "it does not have as many strides as dimensions");
    size_t size = storages[s.storage.kind].size;
    e.type = storages[s.storage.kind].type, e.dtype = storages[s.storage.kind].dtype, s.offset = (uint64_t)args->item[1]->number;
    for (int d = 0; d < e.rank; d++) {
        s.stride[d] = (uint64_t)stride[d];
        if (__builtin_mul_overflow(e.count, (size_t)e.shape[d], &e.count)) return bad_tensor(t, name, "its shape overflows");
    }
    if (__builtin_mul_overflow(e.count, size, &e.bytes)) return bad_tensor(t, name, "its shape overflows");
    if (check_extent(t, &e, &s)) return -1;
    e.data = (const char *)s.storage.data + (e.count ? s.offset * size : 0);
    if (e.count && !is_contiguous(&e, &s) && copy_strided(t, &e, &s, size)) return -1;

    if (t->s.count == t->room) {
        int               room = t->room ? 2 * t->room : 256;
        SafetensorsEntry *more = realloc(t->entry, (size_t)room * sizeof *more);
        if (!more) return bad_tensor(t, name, "no memory");
        t->entry = more, t->room = room;
    }
    if (!(e.name = strdup(name))) return bad_tensor(t, name, "no memory");
    t->entry[t->s.count++] = e;
    return 0;
}

/* ---- the way through the values ---- */

static int is_call(const PickleValue *v, const char *function) { return v->kind == PICKLE_CALL && strcmp(v->part[0]->text, function) == 0; }

/* name: room for NAME_LIMIT, of which `used` are the keys that lead here. */
static int walk(TorchFile *t, const PickleValue *v, char *name, size_t used, int depth)
{
    if (++t->visits > VISIT_LIMIT) return err("%s: refused: more than %d values", t->path, VISIT_LIMIT);
    if (depth > DEPTH_LIMIT) return err("%s: refused: values are nested more than %d deep, or hold themselves", t->path, DEPTH_LIMIT);
    if (is_call(v, PARAMETER) && v->part[1]->size > 0) return walk(t, v->part[1]->item[0], name, used, depth + 1);
    if (is_call(v, REBUILD)) return add_tensor(t, name, v->part[1]);
    if (is_call(v, PARAMETER_DICT)) {                   /* a module: what it holds is one of its members */
        const PickleValue *held = v->state ? pickle_get(v->state, "_parameters") : NULL;
        return held ? walk(t, held, name, used, depth + 1) : 0;
    }
    int is_dict = v->kind == PICKLE_DICT || v->kind == PICKLE_CALL, step = is_dict ? 2 : 1;
    if (!is_dict && v->kind != PICKLE_LIST && v->kind != PICKLE_TUPLE) return 0;
    for (size_t i = 0; i + (size_t)is_dict < v->size; i += (size_t)step) {
        const PickleValue *key = v->item[i], *value = v->item[i + (size_t)is_dict];
        int                n;
        if (is_dict && key->kind == PICKLE_TEXT) n = snprintf(name + used, NAME_LIMIT - used, "%s%s", used ? "." : "", key->text);
        else if (is_dict && key->kind != PICKLE_INT) continue;
        else n = snprintf(name + used, NAME_LIMIT - used, "%s%lld", used ? "." : "", is_dict ? (long long)key->number : (long long)i);
        if (n < 0 || (size_t)n >= NAME_LIMIT - used) return err("%s: the name of a tensor is longer than %d bytes", t->path, NAME_LIMIT);
        if (!utf8_printable(name + used, (size_t)n)) return err("%s: the name of a tensor holds a control character", t->path);
        if (walk(t, value, name, used + (size_t)n, depth + 1)) return -1;
    }
    name[used] = 0;
    return 0;
}

/* The texts and whole numbers of the outermost dict are the metadata. */
static int collect_metadata(TorchFile *t, const PickleValue *root)
{
    if (root->kind != PICKLE_DICT || root->size == 0) return 0;
    t->pair = calloc(root->size / 2, sizeof *t->pair), t->number = calloc(root->size / 2, sizeof *t->number);
    if (!t->pair || !t->number) return err("%s: no memory", t->path);
    for (size_t i = 0; i + 1 < root->size; i += 2) {
        const PickleValue *value = root->item[i + 1];
        const char        *text = value->kind == PICKLE_TEXT ? value->text : value->kind == PICKLE_INT ? t->number[i / 2] : NULL;
        if (root->item[i]->kind != PICKLE_TEXT || !text) continue;
        if (value->kind == PICKLE_INT) snprintf(t->number[i / 2], NUMBER_SIZE, "%lld", (long long)value->number);
        t->pair[t->s.pairs++] = (SafetensorsPair){ root->item[i]->text, text };
    }
    t->s.pair = t->pair;
    return 0;
}

static int collect_tensors(TorchFile *t)
{
    char               name[NAME_LIMIT] = "";
    const PickleValue *root = pickle_root(t->pickle), *inner = pickle_get(root, "state_dict");
    if (inner && inner->kind != PICKLE_DICT && inner->kind != PICKLE_CALL) inner = NULL;
    if (walk(t, inner ? inner : root, name, 0, 0)) return -1;
    const char *twice = safetensors_sort(t->entry, t->s.count);
    if (twice) return err("%s: %s: there twice", t->path, twice);
    t->s.entry = t->entry;
    return collect_metadata(t, root);
}

/* ---- the two forms ---- */

/* The root is whatever stands before data.pkl. */
static int read_zip(TorchFile *t)
{
    static const char tail[] = "data.pkl", order[] = "byteorder";
    const ZipMember  *pickle = NULL;
    size_t            used;
    if (!(t->zip = zip_open(t->data, t->size, t->path))) return -1;
    for (int i = 0; i < t->zip->count && !pickle; i++) {
        const char *text = t->zip->member[i].name, *slash = strchr(text, '/');
        if (!slash || strcmp(slash + 1, tail) || slash - text > 255) continue;
        pickle = &t->zip->member[i];
        snprintf(t->root, sizeof t->root, "%.*s", (int)(slash + 1 - text), text);
    }
    if (!pickle) return err("%s: a ZIP archive, but not one of torch.save: it has no data.pkl", t->path);
    char text[NAME_LIMIT + 16];
    snprintf(text, sizeof text, "%s%s", t->root, order);
    const ZipMember *byteorder = zip_find(t->zip, text);
    if (byteorder && (byteorder->bytes != 6 || memcmp(byteorder->data, "little", 6))) return err("%s: its numbers are not little-endian", t->path);
    return (t->pickle = pickle_open(pickle->data, pickle->bytes, &used, allowed, t->path)) ? 0 : -1;
}

/* The magic number as a pickle of its own: PROTO 2, LONG1 of 10 bytes, STOP. */
static const uint8_t magic[] = { 0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.' };

/* Another pickle of the sequence; *at moves behind it. */
static Pickle *next_pickle(const TorchFile *t, size_t *at)
{
    size_t  used = 0;
    Pickle *p = pickle_open(t->data + *at, t->size - *at, &used, allowed, t->path);
    *at += used;
    return p;
}

/* What storages the tensors speak of, by key. */
static int list_storages(TorchFile *t)
{
    size_t n = 0, kept = 0;
    while (pickle_persistent(t->pickle, n)) n++;
    if (n > MOST_STORAGES || !(t->storage = calloc(n + 1, sizeof *t->storage))) return err("%s: no memory for %zu storages", t->path, n);
    for (size_t i = 0; i < n; i++)
        if (parse_storage(t, pickle_persistent(t->pickle, i), &t->storage[i])) return -1;
    if (n) qsort(t->storage, n, sizeof *t->storage, by_key);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(t->storage[i].key, t->storage[kept - 1].key)) t->storage[kept++] = t->storage[i];
    t->storage_count = kept;
    return 0;
}

/* Behind the pickles, for each key of the list: a number of elements (8 bytes), then the elements. */
static int place_storages(TorchFile *t, const PickleValue *keys, size_t at)
{
    if (keys->kind != PICKLE_LIST) return err("%s: the list of its storages is missing", t->path);
    for (size_t i = 0; i < keys->size; i++) {
        Storage *s = keys->item[i]->kind == PICKLE_TEXT && t->storage_count
                         ? bsearch(&(Storage){ .key = keys->item[i]->text }, t->storage, t->storage_count, sizeof *s, by_key)
                         : NULL;
        uint64_t count;
        if (!s) return err("%s: it holds a storage that no tensor uses", t->path);
        if (t->size - at < 8) return err("%s: cut short", t->path);
        memcpy(&count, t->data + at, 8), at += 8;
        size_t size = storages[s->kind].size;
        if (count > (t->size - at) / size) return err("%s: cut short: storage %.40s has %llu numbers", t->path, s->key, (unsigned long long)count);
        if (s->data) return err("%s: storage %.40s is there twice", t->path, s->key);
        s->data = t->data + at, s->count = count, at += (size_t)count * size;
    }
    return 0;
}

static int read_legacy(TorchFile *t)
{
    size_t at = sizeof magic;
    for (int i = 0; i < 2; i++) {                       /* the protocol's number; sizes of C types, byte order */
        Pickle            *p = next_pickle(t, &at);
        const PickleValue *little = p ? pickle_get(pickle_root(p), "little_endian") : NULL;
        int                big = little && little->kind == PICKLE_BOOL && !little->number;
        pickle_close(p);
        if (!p) return -1;
        if (big) return err("%s: its numbers are not little-endian", t->path);
    }
    if (!(t->pickle = next_pickle(t, &at)) || list_storages(t)) return -1;
    Pickle *keys = next_pickle(t, &at);
    int     status = keys ? place_storages(t, pickle_root(keys), at) : -1;
    pickle_close(keys);
    return status;
}

/* ---- checksums ---- */

/* The CRC-32 of a member; of a mapped file, pages are given back as they are read. */
static uint32_t checksum(const TorchFile *t, const Crc32 *c, const ZipMember *m)
{
    const size_t chunk = 4 << 20, page = (size_t)sysconf(_SC_PAGESIZE);
    uint32_t     crc = 0;
    for (size_t at = 0, n; at < m->bytes; at += n) {
        const char *p = (const char *)m->data + at;
        n = m->bytes - at < chunk ? m->bytes - at : chunk;
        crc = crc32_add(c, crc, p, n);
        uintptr_t begin = (uintptr_t)p / page * page;
        if (t->map) madvise((void *)begin, (uintptr_t)p + n - begin, MADV_DONTNEED);
    }
    return crc;
}

/* Are the members what they were when torch wrote them? 0 stands for none: torch can be told to leave it out (set_crc32_options). */
static int check_members(const TorchFile *t)
{
    Crc32 c;
    int   n = t->zip ? t->zip->count : 0, bad = n;
    crc32_open(&c);
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < n; i++) {
        const ZipMember *m = &t->zip->member[i];
        if (!m->crc || checksum(t, &c, m) == m->crc) continue;
#pragma omp critical
        if (i < bad) bad = i;
    }
    return bad == n ? 0 : err("%s: %.300s: damaged: its bytes are not those of its checksum", t->path, t->zip->member[bad].name);
}

/* ---- opening ---- */

int torch_file_is(const void *head, size_t size)
{
    return (size >= 4 && memcmp(head, "PK\3\4", 4) == 0) || (size >= sizeof magic && memcmp(head, magic, sizeof magic) == 0);
}

static TorchFile *new_file(const char *path)
{
    TorchFile *t = calloc(1, sizeof *t);
    if (!t || !(t->path = strdup(path))) return err("%s: no memory", path), free(t), NULL;
    t->s.path = t->path;
    return t;
}

static TorchFile *finish(TorchFile *t)
{
    int legacy = t->size >= sizeof magic && memcmp(t->data, magic, sizeof magic) == 0;
    if ((legacy ? read_legacy(t) : read_zip(t)) || collect_tensors(t) || check_members(t)) return torch_file_close(t), NULL;
    return t;
}

TorchFile *torch_file_read(const void *data, size_t size, const char *path)
{
    TorchFile *t = new_file(path);
    if (!t) return NULL;
    t->data = data, t->size = size;
    return finish(t);
}

TorchFile *torch_file_open(const char *path)
{
    TorchFile *t = new_file(path);
    if (!t) return NULL;
    if (!(t->map = file_map(path, &t->size))) return torch_file_close(t), NULL;
    t->data = t->map;
    return finish(t);
}

const Safetensors *torch_file_tensors(const TorchFile *t) { return &t->s; }

void torch_file_close(TorchFile *t)
{
    if (!t) return;
    for (int i = 0; i < t->s.count; i++) free((char *)t->entry[i].name);
    for (size_t i = 0; i < t->copies; i++) free(t->copy[i]);
    free(t->copy);
    free(t->entry);
    free(t->pair);
    free(t->number);
    free(t->storage);
    pickle_close(t->pickle);
    zip_close(t->zip);
    file_unmap(t->map, t->size);
    free(t->path);
    free(t);
}
