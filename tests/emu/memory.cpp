/* Device memory. Each allocation has pages of its own between two pages that nobody may touch, is filled with NaN, and is closed to everyone while no device
 * work runs: a host that follows a device pointer gets a fault, which report.cpp turns into a line. What is left of the last page is watched too: by
 * AddressSanitizer where that is on, else by looking after each kernel whether it still holds what it was filled with. */
#include "core.h"
#include <cerrno>
#include <map>
#include <sys/mman.h>
#include <unistd.h>
#if EMU_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace emu {

static std::map<const char *, Allocation> &allocations()
{
    static auto *map = new std::map<const char *, Allocation>;      /* lives as long as the program */
    return *map;
}
static size_t used, page = (size_t)sysconf(_SC_PAGESIZE);
static int    opened;

Allocation *allocation_at(const void *p)
{
    auto next = allocations().upper_bound((const char *)p);
    if (next == allocations().begin()) return nullptr;
    Allocation *a = &std::prev(next)->second;
    return (const char *)p < a->map + a->map_bytes ? a : nullptr;
}

static void protect(const Allocation *a, bool open)
{
    if (mprotect(a->p, a->map_bytes - 2 * page, open ? PROT_READ | PROT_WRITE : PROT_NONE)) fail(a->site, "mprotect: %s", strerror(errno));
}

void memory_open(bool open)
{
    opened += open ? 1 : -1;
    if (opened != (open ? 1 : 0)) return;
    for (auto &entry : allocations()) protect(&entry.second, open);
}

static const char *end_of(const Allocation *a) { return a->map + a->map_bytes - page; }

void memory_check(const char *after, Site site)
{
    if (EMU_ASAN) return;
    for (auto &entry : allocations()) {
        const Allocation *a = &entry.second;
        for (const char *p = a->p + a->bytes; p < end_of(a); p++)
            if (*p != (char)0xff)
                fail(site, "%s wrote past the end of device memory: byte %td of the %zu allocated at %s:%d", after, p - a->p, a->bytes, a->site.file,
                     a->site.line);
    }
}

/* Zeros for whole pages are pages that nobody has touched: they cost nothing, and memory_open() has less to go through. */
void memory_set(char *p, int value, size_t bytes)
{
    char *first = (char *)(((uintptr_t)p + page - 1) / page * page), *last = (char *)(((uintptr_t)p + bytes) / page * page);
    if (value || last - first < 1 << 20 || madvise(first, (size_t)(last - first), MADV_DONTNEED)) {
        memset(p, value, bytes);
        return;
    }
    memset(p, 0, (size_t)(first - p)), memset(last, 0, (size_t)(p + bytes - last));
}

static void allocate(Allocation *a, size_t bytes)
{
    size_t inside = (bytes + page - 1) / page * page + (bytes ? 0 : page);
    a->bytes = bytes, a->map_bytes = inside + 2 * page;
    a->map = (char *)mmap(nullptr, a->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->map == MAP_FAILED) fail(a->site, "no memory for %zu bytes", bytes);
    a->p = a->map + page;
    protect(a, true);
    memset(a->p, 0xff, inside);
#if EMU_ASAN
    ASAN_POISON_MEMORY_REGION(a->p + bytes, inside - bytes);
#endif
    if (!opened) protect(a, false);
}
}

using namespace emu;

cudaError_t cudaMalloc(void **p, size_t bytes, const char *file, int line)
{
    if (forbidden_in_capture()) return cudaErrorStreamCaptureUnsupported;
    if (bytes > settings().memory || used > settings().memory - bytes) return set_error(cudaErrorMemoryAllocation);
    watch_faults();
    Allocation a = {};
    a.site = { file, line };
    allocate(&a, bytes);
    used += bytes;
    *p = a.p;
    allocations()[a.map] = a;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p, const char *file, int line)
{
    if (!p) return cudaSuccess;
    if (forbidden_in_capture()) return cudaErrorStreamCaptureUnsupported;
    cudaDeviceSynchronize();
    Allocation *a = allocation_at(p);
    if (!a || a->p != p) fail({ file, line }, "cudaFree of %p, which cudaMalloc has not given", p);
    used -= a->bytes;
    race_freed(a);
#if EMU_ASAN
    ASAN_UNPOISON_MEMORY_REGION(a->p, a->map_bytes - 2 * page);
#endif
    char *map = a->map;
    munmap(map, a->map_bytes);
    allocations().erase(map);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    *total = settings().memory, *free = *total - used;
    return cudaSuccess;
}
