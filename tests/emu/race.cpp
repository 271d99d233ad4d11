/* Every access of a kernel looked at. The .cu files are compiled with g++ -fsanitize=thread, which puts a call of __tsan_read4(address) and the like before
 * each access to memory; they are not linked with its library but with the functions below. For every byte of shared memory, and every two of device memory,
 * a cell remembers who wrote it last and who read it since.
 *
 * Two accesses of which one writes are ordered when they belong to different launches, to one thread, to threads of one block with a barrier between them, or
 * to lanes of one warp with a __syncwarp between them. Otherwise they are a race, whatever order they ran in here; two atomics are none. */
#include "core.h"
#include <map>
#include <sys/mman.h>

namespace emu {

struct Who {
    uint32_t launch, block, epoch;                      /* epoch: barriers before it */
    uint16_t warp_epoch, thread : 15, atomic : 1;
    int32_t  code;                                      /* distance of its code from race_block's */
};
struct Cell {
    Who write, read[3];                                 /* the last reader; the last of another thread; the last of another warp */
};
enum { FROM_HOST = 0xffffffff };                        /* as a launch: written by a copy or memset */

static bool watches;
bool        race_watches() { return watches; }

static Cell  *shared_cells;                             /* one a byte */
static size_t shared_count;

void race_block()
{
    Block *b = block;
    if (!watches) return;
    b->first_epoch = ++b->epoch;
    if (b->shared_size <= shared_count) return;
    free(shared_cells);
    shared_count = b->shared_size, shared_cells = (Cell *)calloc(shared_count, sizeof *shared_cells);
    if (!shared_cells) fail(b->call->site, "no memory for %zu cells", shared_count);
}

static Allocation *last;                                /* that an access was found in */

/* Pages that are not touched cost nothing. */
static size_t cells_bytes(const Allocation *a) { return (a->bytes + 1) / 2 * sizeof(Cell) + 1; }
static Cell  *cells_of(Allocation *a)
{
    if (a->cells) return a->cells;
    void *p = mmap(nullptr, cells_bytes(a), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) fail(a->site, "no memory to watch %zu bytes of device memory", a->bytes);
    return a->cells = (Cell *)p;
}

void race_freed(Allocation *a)
{
    if (a->cells) munmap(a->cells, cells_bytes(a));
    a->cells = nullptr, last = nullptr;
}

void race_device_write(const void *p, size_t bytes)
{
    Allocation *a = watches ? allocation_at(p) : nullptr;
    if (!a || a->written) return;
    if (p == a->p && bytes == a->bytes) {
        a->written = true;
        return;
    }
    Cell  *cells = cells_of(a);
    size_t first = (size_t)((const char *)p - a->p);
    for (size_t i = first / 2; i < (first + bytes + 1) / 2; i++)
        if (!cells[i].write.launch) cells[i].write.launch = FROM_HOST;
}

/* ---- what is wrong ---- */

static int32_t     distance_of(const char *pc) { return (int32_t)(pc - (const char *)(void *)race_block); }
static const char *code_of(int32_t distance) { return (const char *)(void *)race_block + distance; }

static const char *place(const char *pc)                /* told once, kept */
{
    static auto *known = new std::map<const char *, char *>;
    char         text[400];
    char       *&kept = (*known)[pc];
    if (!kept) place_of(text, sizeof text, pc), kept = strdup(text);
    return kept;
}

/* Once for each pair of places. */
static bool is_new(const char *what, const void *pc, const void *other)
{
    static auto *seen = new std::map<std::tuple<const char *, const void *, const void *>, int>;
    return !(*seen)[std::make_tuple(what, pc, other)]++;
}

static void tell_race(const char *verb, const char *other_verb, const char *space, size_t offset, const Who &other, const char *pc)
{
    const char *from = code_of(other.code);
    if (!is_new(verb, pc, from)) return;
    report(place(pc), "race: %s byte %zu of %s memory, which thread %u of block %u %s at %s with nothing in between", verb, offset, space,
           (unsigned)other.thread, other.block, other_verb, place(from));
}

static bool unordered(const Who &a, const Who &now)
{
    if (a.launch != now.launch) return false;
    if (a.block != now.block) return true;
    if (a.epoch != now.epoch || a.thread == now.thread) return false;
    return a.thread / 32 != now.thread / 32 || a.warp_epoch >= now.warp_epoch;
}

static void remember_read(Cell *c, const Who &now)
{
    Who *r = c->read;
    if (r[0].thread == now.thread && r[0].block == now.block && r[0].launch == now.launch) {
        r[0] = now;
        return;
    }
    if (r[0].thread / 32 != now.thread / 32 || r[0].block != now.block) r[2] = r[0];
    r[1] = r[0], r[0] = now;
}

static void look_at(Cell *c, const Who &now, Touch kind, const char *space, size_t offset, const char *pc)
{
    bool reads = kind == TOUCH_READ;
    if (unordered(c->write, now) && !(now.atomic && c->write.atomic)) tell_race(reads ? "reads" : "writes", "wrote", space, offset, c->write, pc);
    for (int k = 0; !reads && k < 3; k++) {
        if (!unordered(c->read[k], now)) continue;
        tell_race("writes", "read", space, offset, c->read[k], pc);
        break;
    }
    if (reads) remember_read(c, now);
    else c->write = now;
}

static void touch_shared(size_t at, size_t bytes, Touch kind, const Who &now, const char *pc)
{
    for (size_t i = at; i < at + bytes; i++) {
        Cell *c = &shared_cells[i];
        /* What other blocks left here counts as nothing. */
        if (c->write.epoch < block->first_epoch) memset(c, 0, sizeof *c);
        if (kind != TOUCH_WRITE && !c->write.launch && is_new("unwritten", pc, nullptr))
            report(place(pc), "uninitialised: reads byte %zu of shared memory, which no thread of the block has written", i);
        look_at(c, now, kind, "shared", i, pc);
    }
}

static void touch_device(Allocation *a, const char *p, size_t bytes, Touch kind, const Who &now, const char *pc)
{
    if (p < a->p || p + bytes > a->p + a->bytes) {
        if (is_new("outside", pc, nullptr))
            report(place(pc), "out of bounds: %s byte %td of the %zu allocated at %s:%d", kind == TOUCH_READ ? "reads" : "writes", p - a->p, a->bytes,
                   a->site.file, a->site.line);
        return;
    }
    Cell  *cells = cells_of(a);
    size_t at = (size_t)(p - a->p);
    for (size_t i = at / 2; i < (at + bytes + 1) / 2; i++) {
        if (kind != TOUCH_WRITE && !cells[i].write.launch && !a->written && is_new("unwritten", pc, nullptr))
            report(place(pc), "uninitialised: reads byte %zu of the %zu allocated at %s:%d, which nothing has written", i * 2, a->bytes, a->site.file,
                   a->site.line);
        look_at(&cells[i], now, kind, "device", i * 2, pc);
    }
}

/* On the host: what a copy will still write there. */
static void touch_host(const char *p, const char *pc)
{
    const Pending *w = pending_at(p);
    if (w && is_new("pending", pc, nullptr)) report(place(pc), "the host touches what the copy at %s:%d may not have written yet", w->site.file, w->site.line);
}

void touch(const void *address, size_t bytes, Touch kind, void *code)
{
    const char *p = (const char *)address, *pc = (const char *)code;
    if (!watches) return;
    if (!self) {
        touch_host(p, pc);
        return;
    }
    const Block *b = block;
    const Fiber *f = b->running;
    if (p >= b->stacks.low && p < b->stacks.low + b->stacks.size) return;
    Who now = { b->launch, b->index, b->epoch, (uint16_t)f->warp_epoch, (uint16_t)(f->index & 0x7fff), kind == TOUCH_ATOMIC, distance_of(pc) };
    if (p >= b->shared && p < b->shared + b->shared_size) {
        touch_shared((size_t)(p - b->shared), bytes, kind, now, pc);
        return;
    }
    if (!last || p < last->map || p >= last->map + last->map_bytes) last = allocation_at(p);
    if (last) touch_device(last, p, bytes, kind, now, pc);
}

/* What lies on a fiber's stack the host's compiler has placed and copies as it likes, 16 bytes of a struct of two pointers at once. */
static bool is_on_stack(const void *p) { return block && (char *)p >= (char *)block->stacks.low && (char *)p < (char *)block->stacks.low + block->stacks.size; }

static void aligned(const void *p, size_t bytes, Touch kind, void *pc)
{
    if (self && (uintptr_t)p % bytes && !is_on_stack(p) && is_new("misaligned", pc, nullptr))
        report(place((const char *)pc), "misaligned: %zu bytes at once from %p, which is not a multiple of that", bytes, p);
    touch(p, bytes, kind, pc);
}
}

/* ---- what the compiler calls ---- */

using namespace emu;
#define HOOKS(bytes)                                                                                                                                           \
    void __tsan_read##bytes(void *p) { aligned(p, bytes, TOUCH_READ, __builtin_return_address(0)); }                                                           \
    void __tsan_write##bytes(void *p) { aligned(p, bytes, TOUCH_WRITE, __builtin_return_address(0)); }                                                         \
    void __tsan_unaligned_read##bytes(void *p) { touch(p, bytes, TOUCH_READ, __builtin_return_address(0)); }                                                   \
    void __tsan_unaligned_write##bytes(void *p) { touch(p, bytes, TOUCH_WRITE, __builtin_return_address(0)); }
extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void *p, unsigned long bytes) { touch(p, bytes, TOUCH_READ, __builtin_return_address(0)); }
void __tsan_write_range(void *p, unsigned long bytes) { touch(p, bytes, TOUCH_WRITE, __builtin_return_address(0)); }
void __tsan_init() { watches = true; }
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
unsigned char __tsan_atomic8_load(const volatile unsigned char *p, int) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }      /* of a static's guard */
}
