/* Settings, messages, and where in the source a piece of code is. */
#include "core.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

namespace emu {

const Settings &settings()
{
    static const Settings s = [] {
        const char *order = getenv("EMU_ORDER"), *seed = getenv("EMU_SEED"), *async = getenv("EMU_ASYNC"), *memory = getenv("EMU_VRAM_MB"),
                   *devices = getenv("EMU_DEVICES");
        Settings    r = { ORDER_PLAIN, seed ? (unsigned)strtoul(seed, nullptr, 10) : 1, async && strcmp(async, "0"),
                          (size_t)(memory ? strtoull(memory, nullptr, 10) : 8192) << 20, devices ? atoi(devices) : 1 };
        if (!order || !strcmp(order, "plain")) return r;
        r.order = !strcmp(order, "reversed") ? ORDER_REVERSED : ORDER_RANDOM;
        if (r.order == ORDER_RANDOM && strcmp(order, "random")) {
            fprintf(stderr, "EMU_ORDER: expected plain, reversed or random, found %s\n", order);
            exit(2);
        }
        return r;
    }();
    return s;
}

static void print_message(const char *where, const char *format, va_list list)
{
    char text[512];
    vsnprintf(text, sizeof text, format, list);
    fprintf(stderr, "%s: emu: %s", where, text);
    if (self) {
        fprintf(stderr, " (%s, block (%u,%u,%u), thread (%u,%u,%u))", block->call->name, self->block.x, self->block.y, self->block.z, self->thread.x,
                self->thread.y, self->thread.z);
    }
    fputc('\n', stderr);
}

void fail(Site site, const char *format, ...)
{
    char    where[512];
    va_list list;
    snprintf(where, sizeof where, "%s:%d", site.file, site.line);
    va_start(list, format);
    print_message(where, format, list);
    va_end(list);
    fflush(nullptr);
    _exit(3);
}

void warn(Site site, const char *format, ...)
{
    char    where[512];
    va_list list;
    snprintf(where, sizeof where, "%s:%d", site.file, site.line);
    va_start(list, format);
    print_message(where, format, list);
    va_end(list);
}

static int  reports;
static void tell_reports()
{
    fprintf(stderr, "emu: %d reports\n", reports);
    fflush(nullptr);
    _exit(66);
}

void report(const char *where, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print_message(where, format, list);
    va_end(list);
    if (!reports++) atexit(tell_reports);
}

/* ---- lines ---- */

/* addr2line takes addresses as they stand in the file: those of a position-independent one start at 0. */
static FILE *ask_lines(const void *pc, const char *options)
{
    Dl_info info;
    char    command[1024], path[512];
    if (!dladdr(pc, &info) || !info.dli_fname) return nullptr;
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)info.dli_fbase;
    uintptr_t base = header->e_type == ET_DYN ? (uintptr_t)info.dli_fbase : 0;
    ssize_t   length = readlink("/proc/self/exe", path, sizeof path - 1);
    bool      own = !strchr(info.dli_fname, '/') || !strncmp(info.dli_fname, "./", 2) || info.dli_fname[0] != '/';
    if (own && length > 0) path[length] = 0;
    else snprintf(path, sizeof path, "%s", info.dli_fname);
    snprintf(command, sizeof command, "addr2line %s -e '%s' 0x%zx 2>/dev/null", options, path, (size_t)((uintptr_t)pc - base));
    return popen(command, "r");
}

bool symbol_of(char *text, size_t size, const void *function)
{
    FILE *lines = ask_lines(function, "-f");
    bool  found = lines && fgets(text, (int)size, lines) && *text != '?';
    text[found ? strcspn(text, "\n") : 0] = 0;
    if (lines) pclose(lines);
    return found;
}

/* The innermost line that is not the emulator's own, then the lines it was inlined at. */
void place_of(char *text, size_t size, const void *pc)
{
    char   line[600], folder[512];
    size_t used = 0;
    FILE  *lines = ask_lines((const char *)pc - 1, "-i");
    if (!getcwd(folder, sizeof folder)) folder[0] = 0;
    *text = 0;
    while (lines && fgets(line, sizeof line, lines)) {
        char *name = line;
        line[strcspn(line, " \n")] = 0;
        if (*folder && !strncmp(line, folder, strlen(folder)) && line[strlen(folder)] == '/') name += strlen(folder) + 1;
        if (*name == '?' || strstr(name, "/emu/emu.h") || strstr(name, "/usr/include/") || strstr(name, "/c++/")) continue;
        if (used + strlen(name) + 16 < size) used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", inlined at " : "", name);
    }
    if (lines) pclose(lines);
    if (!used) snprintf(text, size, "%p", pc);
}

/* ---- faults ---- */

static struct sigaction before;
static void on_fault(int, siginfo_t *info, void *context)
{
    const Allocation *a = allocation_at(info->si_addr);
    if (!a) {                                           /* not ours */
        sigaction(SIGSEGV, &before, nullptr);
        return;
    }
    const ucontext_t *u = (const ucontext_t *)context;
#if defined(__x86_64__)
    const char *pc = (const char *)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    const char *pc = (const char *)u->uc_mcontext.pc;
#else
    const char *pc = nullptr;
    (void)u;
#endif
    char      where[512], made[300];
    ptrdiff_t at = (const char *)info->si_addr - a->p;
    place_of(where, sizeof where, pc + 1);
    snprintf(made, sizeof made, "byte %td of the %zu allocated at %s:%d", at, a->bytes, a->site.file, a->site.line);
    if (self) report(where, "a kernel goes outside of device memory: %s", made);
    else report(where, "the host touches device memory: %s", made);
    fflush(nullptr);
    _exit(3);
}

void watch_faults()
{
    static bool watched;
    if (watched) return;
    watched = true;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, &before);
}
}
