#include "ops/host.h"
#include "base/err.h"
#include <sys/mman.h>

/* A block of this many bytes is an arena, filled from its ends without holes: it may have pages of 2 MB, where the system has them. */
enum { LARGE = 256 << 20 };

void *host_alloc(size_t bytes)
{
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return err("no memory: %zu bytes", bytes), NULL;
    if (bytes >= LARGE) madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void host_release(void *p, size_t bytes)
{
    if (p) munmap(p, bytes ? bytes : 1);
}

static int is_dense(Tensor t) { return t.ld == (size_t)t.c && tensor_is_matrix(t); }

static void *row_at(Tensor t, size_t row)
{
    size_t area = (size_t)t.h * (size_t)t.w;
    return tensor_at(t, row / area * t.img + row % area * t.ld);
}

int host_move(Tensor to, Tensor from)
{
    if (to.n != from.n || to.h != from.h || to.w != from.w || to.c != from.c)
        return err("copy between memories: expected (%d,%d,%d,%d), found (%d,%d,%d,%d)", to.n, to.h, to.w, to.c, from.n, from.h, from.w, from.c);
    if (is_dense(to) && is_dense(from)) return type_convert(to.type, to.p, from.type, from.p, tensor_count(to)), 0;
    for (size_t r = 0; r < (size_t)to.n * (size_t)to.h * (size_t)to.w; r++) type_convert(to.type, row_at(to, r), from.type, row_at(from, r), (size_t)to.c);
    return 0;
}
