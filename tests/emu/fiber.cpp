/* Stacks, and switching between them. On x86-64 and aarch64 a switch stores the registers that a call keeps and takes up the other stack; elsewhere ucontext
 * does it, thirty times slower, because it also asks the kernel for the signal mask. */
#include "core.h"
#include <cerrno>
#include <sys/mman.h>
#include <unistd.h>
#if !(defined(__x86_64__) || defined(__aarch64__)) && !defined(EMU_UCONTEXT)
#define EMU_UCONTEXT
#endif
#ifdef EMU_UCONTEXT
#include <ucontext.h>
#endif
#if EMU_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emu {

Stack stacks_new(int count)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (EMU_ASAN ? 512 : 128) << 10;
    void *p = mmap(nullptr, size * (size_t)count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int   failed = p == MAP_FAILED;
    for (int i = 0; !failed && i < count; i++) failed = mprotect((char *)p + (size_t)i * size, page, PROT_NONE);
    if (failed) fail({ __FILE__, __LINE__ }, "no memory for %d stacks: %s", count, strerror(errno));
    return { (char *)p, size * (size_t)count };
}

#ifndef EMU_UCONTEXT
/* emu_switch(void **from, void *to): everything else a call may spoil, so the compiler has put it away. */
extern "C" void emu_switch(void **from, void *to);
#if defined(__x86_64__)
asm(R"(
    .text
    .globl emu_switch
    .type emu_switch, @function
emu_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size emu_switch, . - emu_switch
)");
enum { RETURN = 6, WORDS = 8 };                         /* the return address above six registers, and a word so that the stack is aligned as after a call */
#else
asm(R"(
    .text
    .globl emu_switch
    .type emu_switch, %function
emu_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x2, sp
    str x2, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size emu_switch, . - emu_switch
)");
enum { RETURN = 11, WORDS = 20 };                       /* x30 is the twelfth word */
#endif

void context_new(Context *c, Stack stack, void (*entry)())
{
    void **top = (void **)(stack.low + stack.size - 64) - WORDS;
    for (int i = 0; i < WORDS; i++) top[i] = nullptr;
    top[RETURN] = (void *)entry;
    *c = { top, stack, nullptr };
#if EMU_ASAN
    ASAN_UNPOISON_MEMORY_REGION(stack.low + 4096, stack.size - 4096);
#endif
}
static void swap_stacks(Context *from, Context *to) { emu_switch(&from->at, to->at); }
#else
static ucontext_t *ucontext_of(Context *c)
{
    if (!c->at) c->at = calloc(1, sizeof(ucontext_t));
    if (!c->at) abort();
    return (ucontext_t *)c->at;
}
void context_new(Context *c, Stack stack, void (*entry)())
{
    c->stack = stack, c->fake = nullptr;
    getcontext(ucontext_of(c));
    ucontext_of(c)->uc_stack = { stack.low + 4096, 0, stack.size - 4096 };
    makecontext(ucontext_of(c), entry, 0);
#if EMU_ASAN
    ASAN_UNPOISON_MEMORY_REGION(stack.low + 4096, stack.size - 4096);
#endif
}
static void swap_stacks(Context *from, Context *to) { swapcontext(ucontext_of(from), ucontext_of(to)); }
#endif

void context_switch(Context *from, Context *to, bool ends)
{
#if EMU_ASAN
    __sanitizer_start_switch_fiber(ends ? nullptr : &from->fake, to->stack.low, to->stack.size);
#endif
    (void)ends;
    swap_stacks(from, to);
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
#endif
}

void context_entered(Context *from)
{
#if EMU_ASAN
    const void *low;
    size_t      size;
    __sanitizer_finish_switch_fiber(nullptr, &low, &size);
    if (from && !from->stack.low) from->stack = { (char *)low, size };
#endif
    (void)from;
}
}
