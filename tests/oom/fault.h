/* fault.h - calls of the system that fail when a test says so.
 *
 * A symbol of the executable comes before those of its libraries, so that the calls of libraries, also of most of libc, are counted and failed like ours. */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

typedef enum {
    FAULT_NONE,
    FAULT_MEMORY,                                       /* malloc, calloc, realloc, strdup, mmap, and what uses them */
    FAULT_WRITE,                                        /* open for writing, write, fflush, fsync, rename, mkdir, close and fclose of what was written */
    FAULT_READ                                          /* open for reading, read, opendir, mmap of a file */
} Fault;

/* From here on `hook` is asked at each call of that kind, n = 1, 2, ...: what errno is the call to fail with? 0: it goes through. Calls that the hook itself
 * makes are not counted. */
void fault_arm(Fault kind, int (*hook)(int n));

int fault_works(Fault kind);                            /* 0: not for memory under a sanitizer that is linked into the program */
int sdlora_main(int argc, char **argv);                 /* program.c: the program itself */
#endif
