#include "io/pickle.h"
#include "base/err.h"
#include "io/utf8.h"
#include <stdlib.h>
#include <string.h>

enum { SIZE_LIMIT = 64 << 20, VALUE_LIMIT = 1 << 22, CHUNK = 1024 };

/* Values live in chunks, so that they keep their places. */
typedef struct Chunk {
    struct Chunk *next;
    int           used;
    PickleValue   value[CHUNK];
} Chunk;

struct Pickle {
    Chunk             *chunk;
    const PickleValue *root;
    const PickleValue **persistent;
    size_t             persistents, persistent_room, values;
};

typedef struct {
    Pickle            *p;
    const char        *path;
    const char *const *allowed;
    const uint8_t     *data, *at, *end;
    PickleValue      **stack, **memo;
    size_t             depth, stack_room, memo_room, memoized;
} Machine;

/* ---- memory ---- */

/* Room for one more pointer; doubled when full. 0, or -1 and err(). */
static int grow(Machine *m, void **array, size_t count, size_t *room)
{
    if (count < *room) return 0;
    size_t more = *room ? 2 * *room : 64;
    void  *wider = realloc(*array, more * sizeof(void *));
    if (!wider) return err("%s: pickle: no memory", m->path);
    *array = wider, *room = more;
    return 0;
}

static PickleValue *new_value(Machine *m, PickleKind kind)
{
    Pickle *p = m->p;
    if (++p->values > VALUE_LIMIT) return err("%s: refused: its pickle has more than %d values", m->path, VALUE_LIMIT), NULL;
    if (!p->chunk || p->chunk->used == CHUNK) {
        Chunk *c = calloc(1, sizeof *c);
        if (!c) return err("%s: pickle: no memory", m->path), NULL;
        c->next = p->chunk, p->chunk = c;
    }
    PickleValue *v = &p->chunk->value[p->chunk->used++];
    v->kind = kind;
    return v;
}

static int push(Machine *m, PickleValue *v)
{
    if (!v || grow(m, (void **)&m->stack, m->depth, &m->stack_room)) return -1;
    m->stack[m->depth++] = v;
    return 0;
}

static int damaged(const Machine *m) { return err("%s: pickle: damaged at byte %zu", m->path, (size_t)(m->at - m->data)); }

static PickleValue *pop(Machine *m)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == PICKLE_MARK) return damaged(m), NULL;
    return m->stack[--m->depth];
}

static PickleValue *top(Machine *m)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == PICKLE_MARK) return damaged(m), NULL;
    return m->stack[m->depth - 1];
}

/* The place behind the last mark; SIZE_MAX: there is none. */
static size_t marked(Machine *m)
{
    size_t i = m->depth;
    while (i > 0 && m->stack[i - 1]->kind != PICKLE_MARK) i--;
    if (i == 0) damaged(m);
    return i ? i : SIZE_MAX;
}

/* Room grows by powers of two, so how much there is follows from how much is used. */
static size_t room_of(size_t used)
{
    size_t room = used > 0;
    while (room < used) room *= 2;
    return room;
}

/* v's items get those of the stack from `first` on, which leave it. */
static int take_items(Machine *m, PickleValue *v, size_t first)
{
    size_t n = m->depth - first, room = room_of(v->size + n);
    if (n == 0) return 0;
    if (room > room_of(v->size)) {
        void *more = realloc((void *)v->item, room * sizeof *v->item);
        if (!more) return err("%s: pickle: no memory", m->path);
        v->item = more;
    }
    memcpy((void *)(v->item + v->size), m->stack + first, n * sizeof *v->item);
    v->size += n, m->depth = first;
    return 0;
}

/* ---- operands ---- */

static int operand(Machine *m, size_t bytes, uint64_t *value)
{
    *value = 0;
    if ((size_t)(m->end - m->at) < bytes) return damaged(m);
    for (size_t i = 0; i < bytes; i++) *value |= (uint64_t)m->at[i] << (8 * i);
    m->at += bytes;
    return 0;
}

static int push_text(Machine *m, PickleKind kind, size_t length_bytes)
{
    uint64_t size;
    if (operand(m, length_bytes, &size)) return -1;
    if (size > (uint64_t)(m->end - m->at)) return damaged(m);
    PickleValue *v = new_value(m, kind);
    if (!v) return -1;
    char *copy = malloc((size_t)size + 1);
    if (!copy) return err("%s: pickle: no memory", m->path);
    memcpy(copy, m->at, (size_t)size), copy[size] = 0;
    v->text = copy, v->size = (size_t)size, m->at += size;
    return push(m, v);
}

/* bytes: 1, 2 unsigned; 4 and a long's 0 to 8 in two's complement. */
static int push_int(Machine *m, size_t bytes, int is_signed)
{
    uint64_t     x;
    PickleValue *v;
    if (bytes > 8) return err("%s: pickle: a number of %zu bytes", m->path, bytes);
    if (operand(m, bytes, &x) || !(v = new_value(m, PICKLE_INT))) return -1;
    if (is_signed && bytes > 0 && bytes < 8 && x >> (8 * bytes - 1)) x |= UINT64_MAX << (8 * bytes);
    v->number = (int64_t)x;
    return push(m, v);
}

static int push_long(Machine *m, size_t length_bytes)
{
    uint64_t size;
    return operand(m, length_bytes, &size) ? -1 : push_int(m, (size_t)size, 1);
}

/* Eight bytes, big-endian. */
static int push_float(Machine *m)
{
    uint64_t     x;
    PickleValue *v;
    if (operand(m, 8, &x) || !(v = new_value(m, PICKLE_FLOAT))) return -1;
    x = __builtin_bswap64(x);
    memcpy(&v->real, &x, sizeof x);
    return push(m, v);
}

static int push_bool(Machine *m, int value)
{
    PickleValue *v = new_value(m, PICKLE_BOOL);
    if (v) v->number = value;
    return push(m, v);
}

/* ---- names ---- */

static int push_global(Machine *m, const char *module, size_t module_size, const char *text, size_t text_size)
{
    char full[256];
    if (module_size + text_size + 2 > sizeof full || !utf8_printable(module, module_size) || !utf8_printable(text, text_size)) return damaged(m);
    memcpy(full, module, module_size), full[module_size] = '.';
    memcpy(full + module_size + 1, text, text_size), full[module_size + 1 + text_size] = 0;
    for (const char *const *a = m->allowed; *a; a++) {
        if (strcmp(*a, full)) continue;
        PickleValue *v = new_value(m, PICKLE_GLOBAL);
        if (v) v->text = *a;
        return push(m, v);
    }
    return err("%s: refused: its pickle asks for %s, which no tensor needs; a file that does so can run programs of its maker's choice", m->path, full);
}

/* "module\nname\n" */
static int read_global(Machine *m)
{
    const uint8_t *module = m->at, *line = memchr(module, '\n', (size_t)(m->end - module));
    const uint8_t *text = line ? line + 1 : NULL, *stop = text ? memchr(text, '\n', (size_t)(m->end - text)) : NULL;
    if (!stop) return damaged(m);
    m->at = stop + 1;
    return push_global(m, (const char *)module, (size_t)(line - module), (const char *)text, (size_t)(stop - text));
}

static int stack_global(Machine *m)
{
    PickleValue *text = pop(m), *module = text ? pop(m) : NULL;
    if (!module) return -1;
    if (text->kind != PICKLE_TEXT || module->kind != PICKLE_TEXT) return damaged(m);
    return push_global(m, module->text, module->size, text->text, text->size);
}

/* ---- values made of values ---- */

static int make(Machine *m, PickleKind kind, size_t first)
{
    PickleValue *v = new_value(m, kind);
    return !v || take_items(m, v, first) ? -1 : push(m, v);
}

/* With the mark below its items. */
static int make_marked(Machine *m, PickleKind kind)
{
    size_t       first = marked(m);
    PickleValue *v = first == SIZE_MAX ? NULL : new_value(m, kind);
    if (!v || take_items(m, v, first)) return -1;
    if (kind == PICKLE_DICT && v->size % 2) return damaged(m);
    m->depth--;
    return push(m, v);
}

static int make_tuple(Machine *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->depth <= i || m->stack[m->depth - 1 - i]->kind == PICKLE_MARK) return damaged(m);
    return make(m, PICKLE_TUPLE, m->depth - n);
}

/* Items from `first` on go into the value below them: `pairs` or singles. */
static int fill(Machine *m, size_t first, size_t skip, int pairs)
{
    if (first == SIZE_MAX || first < 1 + skip) return first == SIZE_MAX ? -1 : damaged(m);
    PickleValue *v = m->stack[first - 1 - skip];
    if (v->kind != (pairs ? PICKLE_DICT : PICKLE_LIST) && v->kind != PICKLE_CALL) return damaged(m);
    if (pairs && (m->depth - first) % 2) return damaged(m);
    if (take_items(m, v, first)) return -1;
    m->depth -= skip;
    return 0;
}

static int fill_marked(Machine *m, int pairs) { return fill(m, marked(m), 1, pairs); }

static int fill_few(Machine *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->depth <= i || m->stack[m->depth - 1 - i]->kind == PICKLE_MARK) return damaged(m);
    return fill(m, m->depth - n, 0, n == 2);
}

static int call(Machine *m)
{
    PickleValue *args = pop(m), *function = args ? pop(m) : NULL, *v;
    if (!function) return -1;
    if (function->kind != PICKLE_GLOBAL || args->kind != PICKLE_TUPLE) return damaged(m);
    if (!(v = new_value(m, PICKLE_CALL))) return -1;
    v->part[0] = function, v->part[1] = args;
    return push(m, v);
}

/* Only of what is a call it is written down: nothing else has a state. */
static int build(Machine *m)
{
    PickleValue *state = pop(m), *v = state ? top(m) : NULL;
    if (!v) return -1;
    if (v->kind == PICKLE_CALL) v->state = state;
    return 0;
}

static int persistent(Machine *m)
{
    PickleValue *id = pop(m), *v = id ? new_value(m, PICKLE_PERSISTENT) : NULL;
    if (!v || grow(m, (void **)&m->p->persistent, m->p->persistents, &m->p->persistent_room)) return -1;
    v->part[0] = id;
    m->p->persistent[m->p->persistents++] = v;
    return push(m, v);
}

/* ---- memo ---- */

/* Each place has cost an opcode of two bytes or more. */
static int put(Machine *m, uint64_t place)
{
    PickleValue *v = top(m);
    if (!v) return -1;
    if (place >= (uint64_t)(m->end - m->data)) return damaged(m);
    if (place >= m->memo_room) {
        size_t more = m->memo_room ? m->memo_room : 256;
        while (more <= place) more *= 2;
        PickleValue **wider = realloc(m->memo, more * sizeof *wider);
        if (!wider) return err("%s: pickle: no memory", m->path);
        memset(wider + m->memo_room, 0, (more - m->memo_room) * sizeof *wider);
        m->memo = wider, m->memo_room = more;
    }
    m->memo[place] = v, m->memoized++;
    return 0;
}

static int put_at(Machine *m, size_t bytes)
{
    uint64_t place;
    return operand(m, bytes, &place) ? -1 : put(m, place);
}

static int get(Machine *m, size_t bytes)
{
    uint64_t place;
    if (operand(m, bytes, &place)) return -1;
    if (place >= m->memo_room || !m->memo[place]) return damaged(m);
    return push(m, m->memo[place]);
}

/* ---- running ---- */

/* Operands of one opcode are skipped or made values of; 0, or -1 and err(). */
static int run(Machine *m, uint8_t op)
{
    uint64_t skipped;
    switch (op) {
    case 0x80: return operand(m, 1, &skipped);                          /* PROTO */
    case 0x95: return operand(m, 8, &skipped);                          /* FRAME */
    case 'N': return push(m, new_value(m, PICKLE_NONE));
    case 0x88: return push_bool(m, 1);
    case 0x89: return push_bool(m, 0);
    case 'J': return push_int(m, 4, 1);
    case 'K': return push_int(m, 1, 0);
    case 'M': return push_int(m, 2, 0);
    case 0x8a: return push_long(m, 1);
    case 0x8b: return push_long(m, 4);
    case 'G': return push_float(m);
    case 'X': return push_text(m, PICKLE_TEXT, 4);
    case 0x8c: return push_text(m, PICKLE_TEXT, 1);
    case 0x8d: return push_text(m, PICKLE_TEXT, 8);
    case 'T': return push_text(m, PICKLE_TEXT, 4);                      /* a string of Python 2 */
    case 'U': return push_text(m, PICKLE_TEXT, 1);
    case 'B': return push_text(m, PICKLE_BYTES, 4);
    case 'C': return push_text(m, PICKLE_BYTES, 1);
    case 0x8e: return push_text(m, PICKLE_BYTES, 8);
    case '(': return push(m, new_value(m, PICKLE_MARK));
    case ')': return push(m, new_value(m, PICKLE_TUPLE));
    case ']': return push(m, new_value(m, PICKLE_LIST));
    case '}': return push(m, new_value(m, PICKLE_DICT));
    case 't': return make_marked(m, PICKLE_TUPLE);
    case 'l': return make_marked(m, PICKLE_LIST);
    case 'd': return make_marked(m, PICKLE_DICT);
    case 0x85: return make_tuple(m, 1);
    case 0x86: return make_tuple(m, 2);
    case 0x87: return make_tuple(m, 3);
    case 'a': return fill_few(m, 1);
    case 's': return fill_few(m, 2);
    case 'e': return fill_marked(m, 0);
    case 'u': return fill_marked(m, 1);
    case 'c': return read_global(m);
    case 0x93: return stack_global(m);
    case 'R': case 0x81: return call(m);                                /* REDUCE, NEWOBJ */
    case 'b': return build(m);
    case 'Q': return persistent(m);
    case 'q': return put_at(m, 1);
    case 'r': return put_at(m, 4);
    case 0x94: return put(m, m->memoized);
    case 'h': return get(m, 1);
    case 'j': return get(m, 4);
    case '0': return pop(m) ? 0 : -1;
    }
    return err("%s: refused: its pickle has an instruction (0x%02x at byte %zu) that no tensor needs", m->path, op, (size_t)(m->at - 1 - m->data));
}

static int run_all(Machine *m)
{
    while (m->at < m->end) {
        uint8_t op = *m->at++;
        if (op != '.') {
            if (run(m, op)) return -1;
            continue;
        }
        if (m->depth != 1 || !(m->p->root = pop(m))) return damaged(m);
        return 0;
    }
    return err("%s: pickle: cut short", m->path);
}

Pickle *pickle_open(const void *data, size_t size, size_t *used, const char *const *allowed, const char *path)
{
    Machine m = { .path = path, .allowed = allowed, .data = data, .at = data, .end = (const uint8_t *)data + (size < SIZE_LIMIT ? size : SIZE_LIMIT) };
    if (!(m.p = calloc(1, sizeof *m.p))) return err("%s: pickle: no memory", path), NULL;
    int status = run_all(&m);
    free(m.stack);
    free(m.memo);
    *used = (size_t)(m.at - m.data);
    if (!status) return m.p;
    pickle_close(m.p);
    return NULL;
}

const PickleValue *pickle_root(const Pickle *p) { return p->root; }

void pickle_close(Pickle *p)
{
    if (!p) return;
    for (Chunk *c = p->chunk, *next; c; c = next) {
        next = c->next;
        for (int i = 0; i < c->used; i++) {
            free((void *)c->value[i].item);
            if (c->value[i].kind == PICKLE_TEXT || c->value[i].kind == PICKLE_BYTES) free((char *)c->value[i].text);
        }
        free(c);
    }
    free(p->persistent);
    free(p);
}

const PickleValue *pickle_get(const PickleValue *dict, const char *key)
{
    if (dict->kind != PICKLE_DICT && dict->kind != PICKLE_CALL) return NULL;
    for (size_t i = 0; i + 1 < dict->size; i += 2)
        if (dict->item[i]->kind == PICKLE_TEXT && strcmp(dict->item[i]->text, key) == 0) return dict->item[i + 1];
    return NULL;
}

const PickleValue *pickle_persistent(const Pickle *p, size_t i) { return i < p->persistents ? p->persistent[i] : NULL; }
