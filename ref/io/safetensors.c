#include "io/safetensors.h"
#include "base/err.h"
#include "base/text.h"
#include "io/file.h"
#include "io/utf8.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and used in place");

enum { HEADER_LIMIT = 100000000 };

/* The reference writer's order: first the first line. */
static const struct {
    const char *dtype;
    Type        type;
    size_t      size;
} dtypes[] = {
    { "U64", T_COUNT, 8 }, { "I64", T_I64, 8 },     { "F64", T_F64, 8 },     { "C64", T_COUNT, 8 },     { "F32", T_F32, 4 },     { "U32", T_COUNT, 4 },
    { "I32", T_I32, 4 },   { "BF16", T_BF16, 2 },   { "F16", T_F16, 2 },     { "U16", T_COUNT, 2 },     { "I16", T_COUNT, 2 },   { "F8_E8M0", T_COUNT, 1 },
    { "F8_E4M3", T_COUNT, 1 }, { "F8_E5M2", T_COUNT, 1 }, { "I8", T_COUNT, 1 }, { "U8", T_U8, 1 },      { "BOOL", T_COUNT, 1 },
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

typedef struct {
    Safetensors       s;                                /* first: the caller's pointer is ours */
    SafetensorsEntry *entry;
    SafetensorsPair  *pair;
    cJSON            *json;                             /* owns names, keys and values */
    char             *map, *path;
    size_t            size;
} Mapped;

/* ---- reading ---- */

static int is_printable(const char *name) { return utf8_printable(name, strlen(name)); }

/* A whole number that a double holds exactly. */
static int as_int64(const cJSON *item, int64_t *value)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 0x1p53)) return -1;
    *value = (int64_t)item->valuedouble;
    return (double)*value == item->valuedouble ? 0 : -1;
}

static int parse_shape(Mapped *m, SafetensorsEntry *e, const cJSON *shape)
{
    const cJSON *dim;
    if (!cJSON_IsArray(shape)) return err("%s: %s: shape: expected an array", m->path, e->name);
    e->count = 1;
    cJSON_ArrayForEach(dim, shape) {
        if (e->rank == SAFETENSORS_MAX_RANK) return err("%s: %s: shape: more than %d dimensions", m->path, e->name, SAFETENSORS_MAX_RANK);
        int64_t *n = &e->shape[e->rank++];
        if (as_int64(dim, n) < 0) return err("%s: %s: shape: dimension %d is not a size", m->path, e->name, e->rank - 1);
        if (__builtin_mul_overflow(e->count, (size_t)*n, &e->count)) return err("%s: %s: shape: the product overflows", m->path, e->name);
    }
    return 0;
}

static int parse_entry(Mapped *m, SafetensorsEntry *e, const cJSON *item)
{
    int64_t begin, end;
    size_t bytes;
    int k = 0;
    *e = (SafetensorsEntry){ .name = item->string };
    if (!is_printable(e->name)) return err("%s: the name of a tensor holds a control character", m->path);
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype"), *range = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    if (!cJSON_IsString(dtype)) return err("%s: %s: dtype: expected a string", m->path, e->name);
    while (k < DTYPES && strcmp(dtypes[k].dtype, dtype->valuestring) != 0) k++;
    if (k == DTYPES) return err("%s: %s: dtype: unknown type \"%.20s\"", m->path, e->name, is_printable(dtype->valuestring) ? dtype->valuestring : "?");
    e->type = dtypes[k].type, e->dtype = dtypes[k].dtype;
    if (parse_shape(m, e, cJSON_GetObjectItemCaseSensitive(item, "shape")) < 0) return -1;
    if (cJSON_GetArraySize(range) != 2 || as_int64(cJSON_GetArrayItem(range, 0), &begin) < 0 || as_int64(cJSON_GetArrayItem(range, 1), &end) < 0)
        return err("%s: %s: data_offsets: expected two positions", m->path, e->name);
    if (begin > end) return err("%s: %s: data_offsets: %lld lies after %lld", m->path, e->name, (long long)begin, (long long)end);
    if ((uint64_t)end > m->s.bytes) return err("%s: %s: ends %llu bytes past the file", m->path, e->name, (unsigned long long)((uint64_t)end - m->s.bytes));
    e->bytes = (size_t)(end - begin);
    if (__builtin_mul_overflow(e->count, dtypes[k].size, &bytes) || bytes != e->bytes)
        return err("%s: %s: the shape makes %zu %s, the range has %zu bytes", m->path, e->name, e->count, e->dtype, e->bytes);
    e->data = (const char *)m->s.data + begin;
    return 0;
}

static int parse_metadata(Mapped *m, const cJSON *item)
{
    const cJSON *pair;
    if (!cJSON_IsObject(item)) return err("%s: __metadata__: expected an object", m->path);
    if (m->pair) return err("%s: __metadata__: there twice", m->path);
    m->pair = calloc((size_t)cJSON_GetArraySize(item) + 1, sizeof *m->pair);
    if (!m->pair) return err("%s: no memory", m->path);
    cJSON_ArrayForEach(pair, item) {
        if (!cJSON_IsString(pair)) return err("%s: __metadata__: %s: expected a string", m->path, is_printable(pair->string) ? pair->string : "?");
        m->pair[m->s.pairs++] = (SafetensorsPair){ pair->string, pair->valuestring };
    }
    return 0;
}

static int by_name(const void *a, const void *b) { return strcmp(((const SafetensorsEntry *)a)->name, ((const SafetensorsEntry *)b)->name); }

const char *safetensors_sort(SafetensorsEntry *entry, int count)
{
    if (count) qsort(entry, (size_t)count, sizeof *entry, by_name);
    for (int i = 1; i < count; i++)
        if (strcmp(entry[i].name, entry[i - 1].name) == 0) return entry[i].name;
    return NULL;
}

static int by_place(const void *a, const void *b)
{
    const SafetensorsEntry *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;                  /* an empty tensor before what begins at the same place */
}

/* Sorted by place, each tensor begins where the last one ended, and the last ends with the file. No name is there twice. */
static int check_entries(Mapped *m)
{
    const char *at = m->s.data, *end = at + m->s.bytes;
    qsort(m->entry, (size_t)m->s.count, sizeof *m->entry, by_place);
    for (int i = 0; i < m->s.count; i++) {
        const SafetensorsEntry *e = &m->entry[i];
        if ((const char *)e->data < at) return err("%s: %s: overlaps %s", m->path, e->name, m->entry[i - 1].name);
        if ((const char *)e->data > at) return err("%s: %s: %zu bytes before it belong to no tensor", m->path, e->name, (size_t)((const char *)e->data - at));
        at += e->bytes;
    }
    if (at != end) return err("%s: %zu bytes at the end belong to no tensor", m->path, (size_t)(end - at));
    const char *twice = safetensors_sort(m->entry, m->s.count);
    return twice ? err("%s: %s: there twice", m->path, twice) : 0;
}

/* What a download may leave under the name: the page that asked for a login, or the place holder of a clone without its large files. */
static const char *mistaken(const Mapped *m)
{
    static const char pointer[] = "version https://git-lfs.";
    if (*m->map == '<') return "this is a web page, not what was to be downloaded";
    if (m->size >= sizeof pointer - 1 && !memcmp(m->map, pointer, sizeof pointer - 1)) return "this stands for the file until `git lfs pull` fetches it";
    return "this is not a safetensors file";
}

static int parse_header(Mapped *m)
{
    uint64_t length;
    const char *text = m->map + 8, *end;
    if (m->size < 8) return err("%s: %zu bytes are too few for a safetensors file", m->path, m->size);
    memcpy(&length, m->map, 8);
    if (length > HEADER_LIMIT) return err("%s: a header of %llu bytes: %s", m->path, (unsigned long long)length, mistaken(m));
    if (length > m->size - 8) return err("%s: cut short: a header of %llu bytes in a file of %zu", m->path, (unsigned long long)length, m->size);
    if (length == 0 || *text != '{') return err("%s: the header does not begin with {", m->path);
    if (!utf8_valid(text, length)) return err("%s: the header is not UTF-8", m->path);
    m->s.data = text + length, m->s.bytes = m->size - 8 - length;
    errno = 0;
    m->json = cJSON_ParseWithLengthOpts(text, length, &end, 0);
    if (!m->json && errno == ENOMEM) return err("%s: no memory for the header", m->path);
    if (!m->json) return err("%s: the header is not JSON at byte %zu", m->path, (size_t)(end - m->map));
    while (end < text + length && *end == ' ') end++;
    if (end < text + length) return err("%s: the header goes on after its JSON at byte %zu", m->path, (size_t)(end - m->map));

    const cJSON *item;
    m->entry = calloc((size_t)cJSON_GetArraySize(m->json) + 1, sizeof *m->entry);
    if (!m->entry) return err("%s: no memory", m->path);
    cJSON_ArrayForEach(item, m->json) {
        int bad = strcmp(item->string, "__metadata__") == 0 ? parse_metadata(m, item) : parse_entry(m, &m->entry[m->s.count++], item);
        if (bad) return -1;
    }
    m->s.entry = m->entry, m->s.pair = m->pair;
    return check_entries(m);
}

Safetensors *safetensors_open(const char *path)
{
    Mapped *m = calloc(1, sizeof *m);
    if (!m || !(m->path = strdup(path))) return err("%s: no memory", path), free(m), NULL;
    m->s.path = m->path;
    if (!(m->map = file_map(path, &m->size)) || parse_header(m) < 0) return safetensors_close(&m->s), NULL;
    return &m->s;
}

void safetensors_close(Safetensors *s)
{
    Mapped *m = (Mapped *)s;
    if (!m) return;
    file_unmap(m->map, m->size);
    cJSON_Delete(m->json);
    free(m->entry);
    free(m->pair);
    free(m->path);
    free(m);
}

const SafetensorsEntry *safetensors_find(const Safetensors *s, const char *name)
{
    const SafetensorsEntry key = { .name = name };
    return s->count ? bsearch(&key, s->entry, (size_t)s->count, sizeof key, by_name) : NULL;
}

const char *safetensors_meta(const Safetensors *s, const char *key)
{
    for (int i = 0; i < s->pairs; i++)
        if (strcmp(s->pair[i].key, key) == 0) return s->pair[i].value;
    return NULL;
}

int safetensors_read(const Safetensors *s, const SafetensorsEntry *e, Type type, void *dst)
{
    enum { CHUNK = 1024 };
    double aligned[CHUNK];                              /* any element fits */
    if (e->type == T_COUNT) return err("%s: %s: elements of type %s cannot be used", s->path, e->name, e->dtype);
    size_t size = type_size(e->type), page = (size_t)sysconf(_SC_PAGESIZE);
    if (type == e->type) memcpy(dst, e->data, e->bytes);
    else
        for (size_t i = 0; i < e->count; i += CHUNK) {
            size_t n = e->count - i < CHUNK ? e->count - i : CHUNK;
            memcpy(aligned, (const char *)e->data + i * size, n * size);
            type_convert(type, (char *)dst + i * type_size(type), e->type, aligned, n);
        }

    /* Only pages that are wholly this tensor's. Should the advice not be taken, nothing is lost. */
    uintptr_t begin = ((uintptr_t)e->data + page - 1) / page * page, end = ((uintptr_t)e->data + e->bytes) / page * page;
    if (begin < end && !e->in_memory) madvise((void *)begin, end - begin, MADV_DONTNEED);
    return 0;
}

/* ---- writing ---- */

static int dtype_of(Type type)
{
    int k = 0;
    while (k < DTYPES && dtypes[k].type != type) k++;
    CHECK(k < DTYPES && type != T_COUNT, "type %d cannot be written", (int)type);
    return k;
}

/* The row of an entry's dtype: the type that it is stored as. */
static int row_of(const SafetensorsEntry *e)
{
    int k = 0;
    while (dtypes[k].dtype != e->dtype) k++;
    return k;
}

static int by_layout(const void *a, const void *b)
{
    const SafetensorsEntry *x = a, *y = b;
    int order = row_of(x) - row_of(y);
    return order ? order : strcmp(x->name, y->name);
}

static int is_float(Type type) { return type == T_F64 || type == T_F32 || type == T_F16 || type == T_BF16; }

/* The entries in the order of the file, floating-point tensors stored as `as`; count filled in, and, as stored, dtype and bytes; malloc'd. */
static SafetensorsEntry *layout(const SafetensorsEntry *entry, int count, Type as)
{
    SafetensorsEntry *e = calloc((size_t)count + 1, sizeof *e);
    if (!e) return err("no memory for a table of %d tensors", count), NULL;
    for (int i = 0; i < count; i++) {
        int k = dtype_of(as != T_COUNT && is_float(entry[i].type) ? as : entry[i].type);
        e[i] = entry[i];
        e[i].dtype = dtypes[k].dtype, e[i].count = 1;
        for (int d = 0; d < e[i].rank; d++) e[i].count *= (size_t)e[i].shape[d];
        e[i].bytes = e[i].count * dtypes[k].size;
    }
    const char *twice = safetensors_sort(e, count);
    CHECK(!twice, "tensor %s is there twice", twice);
    qsort(e, (size_t)count, sizeof *e, by_layout);
    return e;
}

/* Readers refuse a header that is not UTF-8, and a value may hold a path: what is ill-formed becomes U+FFFD. */
static void print_string(FILE *out, const char *s)
{
    static const char special[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    char bytes[4];
    fputc('"', out);
    for (const char *end = s + strlen(s); s < end;) {
        int32_t code = utf8_next(&s, end);
        const char *at = code > 0 && code < 128 ? strchr(special, code) : NULL;
        if (at) fprintf(out, "\\%c", letter[at - special]);
        else if (code >= 0 && code < ' ') fprintf(out, "\\u%04x", (unsigned)code);
        else fprintf(out, "%.*s", utf8_put(bytes, code < 0 ? UTF8_REPLACEMENT : code), bytes);
    }
    fputc('"', out);
}

static void print_header(FILE *out, const SafetensorsEntry *e, int count, const SafetensorsPair *pair, int pairs)
{
    size_t at = 0;
    const char *comma = "";
    fputc('{', out);
    if (pairs > 0) {
        fputs("\"__metadata__\":{", out);
        for (int i = 0; i < pairs; i++) {
            fputs(i ? "," : "", out);
            print_string(out, pair[i].key);
            fputc(':', out);
            print_string(out, pair[i].value);
        }
        fputc('}', out);
        comma = ",";
    }
    for (int i = 0; i < count; i++, comma = ",") {
        fputs(comma, out);
        print_string(out, e[i].name);
        fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", e[i].dtype);
        for (int d = 0; d < e[i].rank; d++) fprintf(out, "%s%lld", d ? "," : "", (long long)e[i].shape[d]);
        fprintf(out, "],\"data_offsets\":[%zu,%zu]}", at, at + e[i].bytes);
        at += e[i].bytes;
    }
    fputc('}', out);
}

/* malloc'd; its length is a multiple of 8. */
static char *header_of(size_t *length, const SafetensorsEntry *e, int count, const SafetensorsPair *pair, int pairs)
{
    Text header;
    if (text_open(&header)) {
        print_header(header.out, e, count, pair, pairs);
        fflush(header.out);
        fprintf(header.out, "%*s", (int)(-header.length % 8), "");
    }
    if (!text_close(&header)) err("no memory for the header of %d tensors", count);
    *length = header.length;
    return header.s;
}

/* Data of one type as another, a piece at a time. */
static void put_converted(FileOut *f, Type type, Type from, const void *data, size_t count)
{
    enum { CHUNK = 4096 };
    double aligned[CHUNK], converted[CHUNK];            /* any element fits */
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t n = count - i < CHUNK ? count - i : CHUNK;
        memcpy(aligned, (const char *)data + i * type_size(from), n * type_size(from));
        type_convert(type, converted, from, aligned, n);
        file_put(f, converted, n * type_size(type));
    }
}

int safetensors_write_as(const char *path, Type type, const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs)
{
    size_t length = 0;
    SafetensorsEntry *e = layout(entry, count, type);
    char *header = e ? header_of(&length, e, count, pair, pairs) : NULL;
    FileOut *f = header ? file_create(path) : NULL;
    if (f) {
        uint64_t size = length;
        file_put(f, &size, 8);
        file_put(f, header, length);
        for (int i = 0; i < count; i++) {
            Type stored = dtypes[row_of(&e[i])].type;
            if (stored == e[i].type) file_put(f, e[i].data, e[i].bytes);
            else put_converted(f, stored, e[i].type, e[i].data, e[i].count);
        }
    }
    free(header);
    free(e);
    return f ? file_commit(f) : -1;
}

int safetensors_write(const char *path, const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs)
{
    return safetensors_write_as(path, T_COUNT, entry, count, pair, pairs);
}

int safetensors_hash(char hex[HASH_SIZE], const SafetensorsEntry *entry, int count)
{
    SHA2_CTX ctx;
    SafetensorsEntry *e = layout(entry, count, T_COUNT);
    if (!e) return -1;
    SHA256Init(&ctx);
    for (int i = 0; i < count; i++) SHA256Update(&ctx, e[i].data, e[i].bytes);
    SHA256End(&ctx, hex);
    free(e);
    return 0;
}

/* Hashes what of these bytes, which begin at *at of a file, lies in [from, to). */
static void hash_part(SHA2_CTX *ctx, uint64_t *at, const void *data, size_t bytes, uint64_t from, uint64_t to)
{
    uint64_t begin = *at > from ? *at : from, end = *at + bytes < to ? *at + bytes : to;
    if (begin < end) SHA256Update(ctx, (const uint8_t *)data + (begin - *at), (size_t)(end - begin));
    *at += bytes;
}

int safetensors_hash_range(char hex[HASH_SIZE], const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs, uint64_t offset,
                           uint64_t size)
{
    SHA2_CTX ctx;
    size_t length = 0;
    uint64_t at = 0, end = size < UINT64_MAX - offset ? offset + size : UINT64_MAX;
    SafetensorsEntry *e = layout(entry, count, T_COUNT);
    char *header = e ? header_of(&length, e, count, pair, pairs) : NULL;
    uint64_t stored = length;
    if (header) {
        SHA256Init(&ctx);
        hash_part(&ctx, &at, &stored, sizeof stored, offset, end);
        hash_part(&ctx, &at, header, length, offset, end);
        for (int i = 0; i < count; i++) hash_part(&ctx, &at, e[i].data, e[i].bytes, offset, end);
        SHA256End(&ctx, hex);
    }
    free(e);
    if (!header) return -1;
    free(header);
    return 0;
}
