/* The threads of a block: which runs next, barriers, what warps do together.
 *
 * A thread that has to wait picks the next one itself and switches to it; there is no scheduler in between. Plain order: the lowest lane of the warp at work,
 * else of the lowest warp that can go on; reversed: the highest of each; random: any. */
#include "core.h"
#include <mutex>
#include <omp.h>
#include <vector>

namespace emu {

__thread Thread *self __attribute__((tls_model("initial-exec")));
__thread Block  *block;

/* ---- who is next ---- */

static unsigned draw(Block *b, unsigned n)              /* xorshift32 (Marsaglia 2003) */
{
    unsigned x = b->random;
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    b->random = x;
    return (unsigned)((uint64_t)x * n >> 32);
}

static unsigned choose(Block *b, unsigned set)          /* a bit of a set that has one */
{
    switch (settings().order) {
    case ORDER_PLAIN: return (unsigned)__builtin_ctz(set);
    case ORDER_REVERSED: return 31 - (unsigned)__builtin_clz(set);
    default: break;
    }
    for (unsigned skip = draw(b, (unsigned)__builtin_popcount(set)); skip; skip--) set &= set - 1;
    return (unsigned)__builtin_ctz(set);
}

static void make_ready(Block *b, unsigned warp, unsigned lanes) { b->warp[warp].ready |= lanes, b->warps_ready |= 1u << warp; }

static void make_wait(Block *b, Fiber *f)
{
    Warp *w = &b->warp[f->warp];
    w->ready &= ~(1u << f->lane);
    if (!w->ready) b->warps_ready &= ~(1u << f->warp);
}

/* All that can be said of threads of which none can go on: a line for each place where some wait. */
[[noreturn]] static void deadlock(Block *b)
{
    Site first = b->call->site;
    for (unsigned i = b->threads; i-- > 0;)
        if (!b->fiber[i].done) first = b->fiber[i].site;
    for (unsigned i = 0; i < b->threads; i++) {
        Fiber *f = &b->fiber[i];
        bool   told = f->done;
        for (unsigned j = 0; !told && j < i; j++) {
            Fiber *g = &b->fiber[j];
            told = !g->done && g->site.line == f->site.line && g->at_barrier == f->at_barrier && !strcmp(g->site.file, f->site.file);
        }
        if (told) continue;
        unsigned same = 0;
        for (unsigned j = i; j < b->threads; j++) same += !b->fiber[j].done && b->fiber[j].site.line == f->site.line && b->fiber[j].at_barrier == f->at_barrier;
        warn(f->site, "%u threads wait here for %s, thread %u the first of them", same, f->at_barrier ? "their block" : "their warp", i);
    }
    fail(first, "deadlock: the threads of the block wait for each other");
}

/* To whoever is next; `ends`: and never back. */
static void leave(Block *b, Fiber *f, bool ends)
{
    if (!b->warps_ready) {
        if (b->alive) deadlock(b);
        self = nullptr;
        context_switch(&f->context, &b->host, true);
    }
    bool     stay = settings().order != ORDER_RANDOM && b->warps_ready >> f->warp & 1;
    unsigned w = stay ? f->warp : choose(b, b->warps_ready);
    Fiber   *g = &b->fiber[w * 32 + choose(b, b->warp[w].ready)];
    if (g == f) return;
    b->running = g, self = g;
    context_switch(&f->context, &g->context, ends);
}

/* ---- together ---- */

static bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file)); }

void warp_step(unsigned mask, void *arg, Combine *combine, Site site)
{
    Block *b = block;
    Fiber *f = b->running;
    Warp  *w = &b->warp[f->warp];
    if (!(mask >> f->lane & 1)) fail(site, "lane %u calls with mask %08x, which leaves it out", f->lane, mask);
    if (w->exited & mask) fail(site, "mask %08x names lanes that have exited: %08x", mask, w->exited & mask);
    Step *s = &w->step[__builtin_ctz(mask)];
    if (!s->arrived) s->mask = mask, s->combine = combine, s->site = site;
    else if (s->mask != mask || s->combine != combine || !same(s->site, site)) {
        warn(s->site, "lanes %08x wait here, with mask %08x", s->arrived, s->mask);
        fail(site, "warp diverged: lane %u is here, with mask %08x", f->lane, mask);
    }
    s->arg[f->lane] = arg, s->arrived |= 1u << f->lane, f->site = site;
    if (s->arrived == mask) {
        if (combine) combine(s->arg, mask);
        else {
            w->epoch++;
            for (unsigned m = mask; m; m &= m - 1) b->fiber[f->warp * 32 + (unsigned)__builtin_ctz(m)].warp_epoch = w->epoch;
        }
        s->arrived = 0;
        make_ready(b, f->warp, mask);
    } else make_wait(b, f);
    leave(b, f, false);
}

/* The last thread counts the votes and lets all go on. */
static void release(Block *b, Fiber *last)
{
    int count = 0;
    for (unsigned i = 0; i < b->threads; i++) {
        Fiber *f = &b->fiber[i];
        if (!same(f->site, last->site)) {
            warn(f->site, "thread %u waits here", i);
            fail(last->site, "barrier diverged: thread %u is here", last->index);
        }
        count += f->vote != 0, f->at_barrier = false, f->warp_epoch = 0;
    }
    b->result[VOTE_COUNT] = count, b->result[VOTE_AND] = count == (int)b->threads, b->result[VOTE_OR] = count > 0;
    b->at_barrier = 0, b->epoch++;
    for (unsigned w = 0; w * 32 < b->threads; w++) b->warp[w].epoch = 0, make_ready(b, w, ~b->warp[w].exited);
}

static void check_exits(Block *b, Site barrier)
{
    if (b->alive != b->threads) fail(barrier, "barrier that %u of %u threads never reach: they have returned", b->threads - b->alive, b->threads);
}

int block_step(Vote vote, int value, Site site)
{
    Block *b = block;
    Fiber *f = b->running;
    f->site = site, f->vote = value, f->at_barrier = true;
    check_exits(b, site);
    if (++b->at_barrier == b->threads) release(b, f);
    else make_wait(b, f);
    leave(b, f, false);
    return b->result[vote];
}

void *shared_memory(size_t bytes, Site site)
{
    if (bytes > block->call->shared) fail(site, "%zu bytes of shared memory, but the launch gives %zu", bytes, block->call->shared);
    return block->shared;
}

/* ---- one block ---- */

static void thread_main()
{
    Block *b = block;
    context_entered(&b->host);
    b->call->run();
    Fiber *f = b->running;
    Warp  *w = &b->warp[f->warp];
    for (Step &s : w->step)
        if (s.arrived && s.mask >> f->lane & 1) fail(s.site, "lanes %08x wait here for lane %u, which returns", s.arrived, f->lane);
    f->done = true, w->exited |= 1u << f->lane, b->alive--;
    make_wait(b, f);
    for (unsigned i = 0; b->at_barrier && i < b->threads; i++)
        if (b->fiber[i].at_barrier) check_exits(b, b->fiber[i].site);
    leave(b, f, true);
    abort();
}

static void *shared_new(size_t bytes)                   /* exactly so many: the sanitizer watches the end */
{
    void *p = nullptr;
    if (posix_memalign(&p, 128, bytes ? bytes : 1)) fail({ __FILE__, __LINE__ }, "no memory for %zu shared bytes", bytes);
    memset(p, 0xff, bytes);                             /* NaN */
    return p;
}

static void run_block(Block *b, Call *call, uint32_t index)
{
    const dim3     t = call->threads, g = call->blocks;
    const size_t   each = b->stacks.size / MAX_THREADS;
    const unsigned warps = (t.x * t.y * t.z + 31) / 32;
    b->call = call, b->index = index, b->threads = b->alive = t.x * t.y * t.z, b->at_barrier = b->warps_ready = 0;
    b->random = (settings().seed * 2654435761u + index * 40503u) | 1;
    b->shared = (char *)shared_new(call->shared), b->shared_size = call->shared;
    memset(b->warp, 0, warps * sizeof *b->warp);
    for (unsigned i = 0; i < b->threads; i++) {
        Fiber *f = &b->fiber[i];
        f->index = i, f->lane = i % 32, f->warp = i / 32, f->threads = t, f->blocks = g;
        f->thread = { i % t.x, i / t.x % t.y, i / (t.x * t.y) }, f->block = { index % g.x, index / g.x % g.y, index / (g.x * g.y) };
        f->at_barrier = f->done = false, f->warp_epoch = 0, f->site = call->site;
        context_new(&f->context, { b->stacks.low + i * each, each }, thread_main);
        make_ready(b, f->warp, 1u << f->lane);
    }
    if (b->threads % 32) b->warp[warps - 1].exited = ~0u << b->threads % 32;
    race_block();
    unsigned w = choose(b, b->warps_ready);
    b->running = &b->fiber[w * 32 + choose(b, b->warp[w].ready)], self = b->running;
    context_switch(&b->host, &b->running->context, false);
    free(b->shared);
    b->shared = nullptr;
}

/* Blocks, with their stacks, are kept for the next launch: OpenMP's threads come and go. */
static std::mutex  idle_lock;
static auto *const idle = new std::vector<Block *>;

static void take_block(uint32_t launch)
{
    std::lock_guard<std::mutex> hold(idle_lock);
    if (!idle->empty()) block = idle->back(), idle->pop_back();
    else {
        block = (Block *)calloc(1, sizeof *block);
        if (!block) fail({ __FILE__, __LINE__ }, "no memory for a block");
        block->stacks = stacks_new(MAX_THREADS);
    }
    block->host = {}, block->launch = launch;
}

static void give_block()
{
    std::lock_guard<std::mutex> hold(idle_lock);
    idle->push_back(block);
    block = nullptr;
}

void run_blocks(Call *call)
{
    static uint32_t launches;
    const uint32_t  launch = ++launches, count = call->blocks.x * call->blocks.y * call->blocks.z;
    const int       most = race_watches() ? 1 : omp_get_max_threads(), threads = count < (uint32_t)most ? (int)count : most;
#pragma omp parallel num_threads(threads)
    {
        take_block(launch);
#pragma omp for schedule(dynamic)
        for (uint32_t i = 0; i < count; i++) run_block(block, call, settings().order == ORDER_REVERSED ? count - 1 - i : i);
        give_block();
    }
}
}
