#include "io/zip.h"
#include "base/err.h"
#include "io/utf8.h"
#include <stdlib.h>
#include <string.h>

enum {
    LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50, END64 = 0x06064b50, LOCATOR64 = 0x07064b50,    /* signatures */
    LOCAL_SIZE = 30, CENTRAL_SIZE = 46, END_SIZE = 22, LOCATOR_SIZE = 20, END64_SIZE = 56, EXTRA64 = 1,
    MOST_COMMENT = 65535, MOST_MEMBERS = 1 << 20, MOST_NAME = 1024,
};

typedef struct {
    Zip            z;                                   /* first: the caller's pointer is ours */
    ZipMember     *member;
    const uint8_t *data;
    size_t         size;
    const char    *path;
} Archive;

/* Little-endian numbers, wherever they lie. */
static uint32_t u16(const uint8_t *p) { return (uint32_t)(p[0] | p[1] << 8); }
static uint32_t u32(const uint8_t *p) { return u16(p) | u16(p + 2) << 16; }
static uint64_t u64(const uint8_t *p) { return u32(p) | (uint64_t)u32(p + 4) << 32; }

/* ---- the directory ---- */

typedef struct {
    uint64_t offset, size, count;
} Directory;

/* The end record: the last place where a signature is followed by a comment that ends with the file. NULL: none. */
static const uint8_t *find_end(const Archive *a)
{
    if (a->size < END_SIZE) return NULL;
    for (size_t at = a->size - END_SIZE, k = 0; k <= MOST_COMMENT; at--, k++) {
        if (u32(a->data + at) == END && u16(a->data + at + 20) == k) return a->data + at;
        if (at == 0) break;
    }
    return NULL;
}

static int find_directory(const Archive *a, Directory *d)
{
    const uint8_t *end = find_end(a);
    if (!end) return err("%s: a ZIP archive without its end: cut short, or not one", a->path);
    size_t at = (size_t)(end - a->data);
    *d = (Directory){ u32(end + 16), u32(end + 12), u16(end + 10) };
    if (at >= LOCATOR_SIZE && u32(end - LOCATOR_SIZE) == LOCATOR64) {
        uint64_t where = u64(end - LOCATOR_SIZE + 8);
        if (at - LOCATOR_SIZE < END64_SIZE || where > at - LOCATOR_SIZE - END64_SIZE || u32(a->data + where) != END64)
            return err("%s: ZIP: the 64-bit end record is not where its locator says", a->path);
        *d = (Directory){ u64(a->data + where + 48), u64(a->data + where + 40), u64(a->data + where + 32) };
        at = where;
    }
    if (d->offset > at || d->size > at - d->offset) return err("%s: ZIP: the directory lies outside the archive", a->path);
    if (d->count > MOST_MEMBERS || d->count > d->size / CENTRAL_SIZE)
        return err("%s: ZIP: a directory of %llu bytes does not hold %llu members", a->path, (unsigned long long)d->size, (unsigned long long)d->count);
    return 0;
}

/* ---- members ---- */

typedef struct {
    uint64_t bytes, packed, offset;
} Extent;

/* Numbers that do not fit into 32 bits are all ones, and follow in an extra field, in this order. 0, or -1: they do not. */
static int read_extent(Extent *x, const uint8_t *central, const uint8_t *extra, const uint8_t *end)
{
    uint64_t *wide[3];
    int       n = 0;
    *x = (Extent){ u32(central + 24), u32(central + 20), u32(central + 42) };
    if (x->bytes == UINT32_MAX) wide[n++] = &x->bytes;
    if (x->packed == UINT32_MAX) wide[n++] = &x->packed;
    if (x->offset == UINT32_MAX) wide[n++] = &x->offset;
    for (const uint8_t *p = extra; n > 0 && end - p >= 4; p += 4 + u16(p + 2)) {
        if (u16(p) != EXTRA64) continue;
        if (u16(p + 2) < 8 * (unsigned)n || end - p - 4 < 8 * n) return -1;
        for (int i = 0; i < n; i++) *wide[i] = u64(p + 4 + 8 * i);
        return 0;
    }
    return n == 0 ? 0 : -1;
}

/* One entry of the directory, and the local header that it points to. The bytes of the entry, or 0 and err(). */
static size_t read_member(Archive *a, ZipMember *m, const uint8_t *central, size_t left, uint64_t directory)
{
    Extent x;
    if (left < CENTRAL_SIZE || u32(central) != CENTRAL) return err("%s: ZIP: the directory is damaged", a->path), 0;
    size_t name_size = u16(central + 28), extra = u16(central + 30), whole = CENTRAL_SIZE + name_size + extra + u16(central + 32);
    if (whole > left || name_size == 0 || name_size > MOST_NAME) return err("%s: ZIP: the directory is damaged", a->path), 0;
    const uint8_t *text = central + CENTRAL_SIZE;
    if (!utf8_printable((const char *)text, name_size)) return err("%s: ZIP: the name of a member holds a control character", a->path), 0;
    char *name = malloc(name_size + 1);
    if (!name) return err("%s: no memory", a->path), 0;
    memcpy(name, text, name_size), name[name_size] = 0;
    m->name = name;
    if (u16(central + 8) & 1) return err("%s: %s: is encrypted", a->path, name), 0;
    if (u16(central + 10)) return err("%s: %s: is compressed (method %u): expected what torch.save writes, members stored as they are", a->path, name,
                                      u16(central + 10)), 0;
    if (read_extent(&x, central, text + name_size, text + name_size + extra) || x.bytes != x.packed)
        return err("%s: %s: ZIP: the sizes of a stored member differ", a->path, name), 0;
    if (x.offset > directory || directory - x.offset < LOCAL_SIZE || u32(a->data + x.offset) != LOCAL)
        return err("%s: %s: ZIP: is not where the directory says", a->path, name), 0;
    const uint8_t *local = a->data + x.offset;
    uint64_t       begin = x.offset + LOCAL_SIZE + u16(local + 26) + u16(local + 28);
    if (begin > directory || x.bytes > directory - begin) return err("%s: %s: ZIP: ends outside the archive", a->path, name), 0;
    if (u16(local + 26) != name_size || memcmp(local + LOCAL_SIZE, text, name_size)) return err("%s: %s: ZIP: has two names", a->path, name), 0;
    m->data = a->data + begin, m->bytes = x.bytes, m->crc = u32(central + 16);
    return whole;
}

static int by_name(const void *a, const void *b) { return strcmp(((const ZipMember *)a)->name, ((const ZipMember *)b)->name); }

static int by_place(const void *a, const void *b)
{
    const ZipMember *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;                  /* an empty one before what begins at the same place */
}

static int check_members(Archive *a)
{
    size_t n = (size_t)a->z.count;
    if (n) qsort(a->member, n, sizeof *a->member, by_place);
    for (size_t i = 1; i < n; i++)
        if ((const char *)a->member[i - 1].data + a->member[i - 1].bytes > (const char *)a->member[i].data)
            return err("%s: %s: ZIP: overlaps %s", a->path, a->member[i].name, a->member[i - 1].name);
    if (n) qsort(a->member, n, sizeof *a->member, by_name);
    for (size_t i = 1; i < n; i++)
        if (strcmp(a->member[i - 1].name, a->member[i].name) == 0) return err("%s: %s: ZIP: there twice", a->path, a->member[i].name);
    return 0;
}

static int read_all(Archive *a)
{
    Directory d = { 0 };
    if (find_directory(a, &d)) return -1;
    a->member = calloc((size_t)d.count + 1, sizeof *a->member);
    if (!a->member) return err("%s: no memory for %llu members", a->path, (unsigned long long)d.count);
    a->z.member = a->member;
    size_t at = 0;
    for (uint64_t i = 0; i < d.count; i++) {
        ZipMember *m = &a->member[a->z.count++];
        size_t     used = read_member(a, m, a->data + d.offset + at, (size_t)(d.size - at), d.offset);
        if (!used) return -1;
        at += used;
    }
    return check_members(a);
}

Zip *zip_open(const void *data, size_t size, const char *path)
{
    Archive *a = calloc(1, sizeof *a);
    if (!a) return err("%s: no memory", path), NULL;
    a->data = data, a->size = size, a->path = path;
    if (read_all(a)) return zip_close(&a->z), NULL;
    return &a->z;
}

void zip_close(Zip *z)
{
    Archive *a = (Archive *)z;
    if (!a) return;
    for (int i = 0; i < a->z.count; i++) free((char *)a->member[i].name);
    free(a->member);
    free(a);
}

const ZipMember *zip_find(const Zip *z, const char *name)
{
    const ZipMember key = { .name = name };
    return z->count ? bsearch(&key, z->member, (size_t)z->count, sizeof key, by_name) : NULL;
}
