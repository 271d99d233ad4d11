#define _GNU_SOURCE
#include "fault.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define STATIC_SANITIZER
#endif
#endif

static Fault kind;
static int   count, (*hook)(int n);

void fault_arm(Fault what, int (*ask)(int n)) { count = 0, hook = ask, kind = what; }

/* Is this call to fail? */
static int hits(Fault what)
{
    if (kind != what) return 0;
    kind = FAULT_NONE;
    int bad = hook(++count);
    kind = what;
    errno = bad ? bad : errno;
    return bad != 0;
}

/* ---- disk: straight to the system ---- */

static int is_written(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    int mode = flags & O_CREAT ? va_arg(rest, int) : 0;
    va_end(rest);
    if (hits(is_written(flags) ? FAULT_WRITE : FAULT_READ)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t read(int fd, void *data, size_t size) { return hits(FAULT_READ) ? -1 : syscall(SYS_read, fd, data, size); }

ssize_t write(int fd, const void *data, size_t size)
{
    if (fd > 2 && hits(FAULT_WRITE)) return -1;
    return syscall(SYS_write, fd, data, size);
}

int fsync(int fd) { return hits(FAULT_WRITE) ? -1 : (int)syscall(SYS_fsync, fd); }
int mkdir(const char *path, mode_t mode) { return hits(FAULT_WRITE) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode); }
int rename(const char *from, const char *to) { return hits(FAULT_WRITE) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0); }

DIR *opendir(const char *path)
{
    static DIR *(*next)(const char *);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "opendir");
    return hits(FAULT_READ) ? NULL : next(path);
}

/* What was written late may fail only now; the descriptor is closed all the same. */
int close(int fd)
{
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL), bad = flags >= 0 && is_written(flags) && fd > 2 && hits(FAULT_WRITE);
    int number = errno, result = (int)syscall(SYS_close, fd);
    return bad ? (errno = number, -1) : result;
}

/* stdio has calls of its own below these. */
int fflush(FILE *f)
{
    static int (*next)(FILE *);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "fflush");
    return f && fileno(f) > 2 && hits(FAULT_WRITE) ? EOF : next(f);
}

int fclose(FILE *f)
{
    static int (*next)(FILE *);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "fclose");
    int fd = fileno(f), flags = fd > 2 ? (int)syscall(SYS_fcntl, fd, F_GETFL) : -1, bad = flags >= 0 && is_written(flags) && hits(FAULT_WRITE);
    int number = errno, result = next(f);
    return bad ? (errno = number, EOF) : result;
}

/* ---- memory ---- */

#ifdef STATIC_SANITIZER
int fault_works(Fault what) { return what != FAULT_MEMORY; }
#else
int fault_works(Fault what) { return what != FAULT_NONE; }

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (hits(FAULT_MEMORY) || (fd >= 0 && hits(FAULT_READ))) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

/* dlsym allocates before it has found who does. */
static char   early[1 << 16];
static size_t early_used;
static int    is_early(const void *p) { return (const char *)p >= early && (const char *)p < early + sizeof early; }

static void *take_early(size_t size)
{
    size_t at = (early_used + 15) / 16 * 16;
    early_used = at + size;
    return early_used <= sizeof early ? early + at : NULL;
}

static struct {
    void *(*malloc)(size_t), *(*calloc)(size_t, size_t), *(*realloc)(void *, size_t);
    void (*free)(void *);
    int state;                                          /* 0: not looked for yet, 1: being looked for, 2: found */
} next;

static int found(void)
{
    if (next.state) return next.state == 2;
    next.state = 1;
    *(void **)&next.malloc = dlsym(RTLD_NEXT, "malloc");
    *(void **)&next.calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&next.realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&next.free = dlsym(RTLD_NEXT, "free");
    next.state = 2;
    return 1;
}

/* OpenBLAS takes memory for some small products, and does not look whether it got it: not ours to put right. */
static int see_library(struct dl_phdr_info *library, size_t size, void *ctx)
{
    uintptr_t from = UINTPTR_MAX, to = 0, *range = ctx;
    (void)size;
    if (!strstr(library->dlpi_name, "openblas")) return 0;
    for (int i = 0; i < library->dlpi_phnum; i++) {
        uintptr_t begin = library->dlpi_addr + library->dlpi_phdr[i].p_vaddr, end = begin + library->dlpi_phdr[i].p_memsz;
        if (library->dlpi_phdr[i].p_type == PT_LOAD) from = begin < from ? begin : from, to = end > to ? end : to;
    }
    return range[0] = from, range[1] = to, 1;
}

static int is_blas(const void *caller)
{
    static uintptr_t range[2];
    static int       known;
    if (!known++) dl_iterate_phdr(see_library, range);
    return (uintptr_t)caller >= range[0] && (uintptr_t)caller < range[1];
}

void *malloc(size_t size)
{
    if (!found()) return take_early(size);
    if (kind == FAULT_MEMORY && is_blas(__builtin_return_address(0))) return next.malloc(size);
    return hits(FAULT_MEMORY) ? NULL : next.malloc(size);
}

void *calloc(size_t n, size_t size)
{
    if (!found()) return take_early(n * size);          /* still 0, as all that is static */
    return hits(FAULT_MEMORY) ? NULL : next.calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    if (!found() || is_early(p)) {
        void *more = malloc(size);
        return more && p ? memcpy(more, p, size) : more;
    }
    return hits(FAULT_MEMORY) ? NULL : next.realloc(p, size);
}

void free(void *p)
{
    if (p && !is_early(p) && found()) next.free(p);
}

char *strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char  *copy = malloc(size);
    return copy ? memcpy(copy, s, size) : NULL;
}

char *strndup(const char *s, size_t n)
{
    size_t size = strnlen(s, n);
    char  *copy = malloc(size + 1);
    if (!copy) return NULL;
    copy[size] = 0;
    return memcpy(copy, s, size);
}
#endif
