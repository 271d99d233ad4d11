#include "train/events.h"
#include "base/err.h"
#include "io/file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* CRC-32C: polynomial 0x1edc6f41, bits reversed, a bit at a time; a record is a hundred bytes. */
uint32_t crc32c(const void *data, size_t size)
{
    const uint8_t *byte = data;
    uint32_t       crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= byte[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1));
    }
    return ~crc;
}

static uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

/* ---- protocol buffers: a field is a key, number * 8 + wire type, and its value ---- */

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { MAX_SCALARS = 16, MAX_TAG = 64, VALUE_SIZE = MAX_TAG + 16, RECORD_SIZE = MAX_SCALARS * (VALUE_SIZE + 4) + 64 };

typedef struct {
    uint8_t byte[RECORD_SIZE];
    size_t  size;
} Message;

static void put_bytes(Message *m, const void *data, size_t size)
{
    CHECK(size <= sizeof m->byte - m->size, "a record of more than %zu bytes", sizeof m->byte);
    memcpy(m->byte + m->size, data, size);
    m->size += size;
}

static void put_varint(Message *m, uint64_t x)
{
    for (; x >= 128; x >>= 7) put_bytes(m, &(uint8_t){ (uint8_t)(x | 128) }, 1);
    put_bytes(m, &(uint8_t){ (uint8_t)x }, 1);
}

/* The low `size` bytes of x, the lowest first. */
static void put_fixed(Message *m, uint64_t x, size_t size)
{
    for (size_t i = 0; i < size; i++) put_bytes(m, &(uint8_t){ (uint8_t)(x >> 8 * i) }, 1);
}

static void put_key(Message *m, int field, int wire) { put_varint(m, (uint64_t)(field * 8 + wire)); }

static void put_field(Message *m, int field, const void *data, size_t size)
{
    put_key(m, field, BYTES);
    put_varint(m, size);
    put_bytes(m, data, size);
}

static void put_double(Message *m, int field, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(m, field, FIXED64);
    put_fixed(m, bits, 8);
}

static void put_float(Message *m, int field, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(m, field, FIXED32);
    put_fixed(m, bits, 4);
}

/* What every Event begins with; as always in version 3 of the language, a 0 is left out. */
static Message event(double wall, int64_t step)
{
    Message m = { .size = 0 };
    put_double(&m, 1, wall);
    if (step) put_key(&m, 2, VARINT), put_varint(&m, (uint64_t)step);
    return m;
}

/* ---- the file ---- */

static int put_record(Events *e, const Message *data)
{
    Message head = { .size = 0 }, tail = { .size = 0 };
    put_fixed(&head, data->size, 8);
    put_fixed(&head, masked(crc32c(head.byte, 8)), 4);
    put_fixed(&tail, masked(crc32c(data->byte, data->size)), 4);
    fwrite(head.byte, 1, head.size, e->file);
    fwrite(data->byte, 1, data->size, e->file);
    fwrite(tail.byte, 1, tail.size, e->file);
    return fflush(e->file) ? err("%s: %s", e->path, strerror(errno)) : 0;
}

int events_open(Events *e, const char *dir, double wall, int64_t step)
{
    enum { START = 1 };
    static const char version[] = "brain.Event:2";
    char              file[64], path[PATH_SIZE];
    *e = (Events){ 0 };
    snprintf(file, sizeof file, "events.out.tfevents.%010lld.sdlora", (long long)wall);
    if (dir_make(dir) || path_join(path, dir, file)) return -1;
    if (!(e->path = strdup(path)) || !(e->file = fopen(path, "ab"))) {
        err("%s: %s", path, strerror(errno));
        events_close(e);
        return -1;
    }
    Message first = event(wall, 0), start = event(wall, step), log = { .size = 0 };
    put_field(&first, 3, version, sizeof version - 1);
    put_key(&log, 1, VARINT);
    put_varint(&log, START);
    put_field(&start, 7, log.byte, log.size);
    if (put_record(e, &first) == 0 && put_record(e, &start) == 0) return 0;
    events_close(e);
    return -1;
}

int events_put(Events *e, double wall, int64_t step, const EventScalar *scalar, int count)
{
    Message out = event(wall, step), summary = { .size = 0 };
    CHECK(count <= MAX_SCALARS, "%d scalars", count);
    for (int i = 0; i < count; i++) {
        Message value = { .size = 0 };
        CHECK(strlen(scalar[i].tag) <= MAX_TAG, "tag %s", scalar[i].tag);
        put_field(&value, 1, scalar[i].tag, strlen(scalar[i].tag));
        put_float(&value, 2, (float)scalar[i].value);   /* in a oneof: a 0 is there, too */
        put_field(&summary, 1, value.byte, value.size);
    }
    put_field(&out, 5, summary.byte, summary.size);
    return put_record(e, &out);
}

int events_close(Events *e)
{
    int status = e->file && fclose(e->file) ? err("%s: %s", e->path, strerror(errno)) : 0;
    free(e->path);
    *e = (Events){ 0 };
    return status;
}
