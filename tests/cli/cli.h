/* cli.h - runs the built program as a user would, in a folder of the test's own, and says what came of it. */
#ifndef TESTS_CLI_H
#define TESTS_CLI_H

enum { SAID_SIZE = 1 << 17, SIGNALLED = 128 };

typedef struct {
    int  status;                                        /* of exit, or SIGNALLED + the signal's number */
    char out[SAID_SIZE], err[SAID_SIZE];
} Said;

void cli_open(const char *argv0);                       /* the program lies beside the test */
int  cli_close(void);                                   /* prints the plan, removes the folder; the test's exit status */

/* sdlora with these words, apart by blanks; '@' stands for the folder. What it said is valid until the next call. */
const Said *sdlora(const char *words);
int         sdlora_begin(const char *words);            /* the same, without waiting: its process */
int         sdlora_status(int process);                 /* waits for it: as Said.status */

extern long cli_file_limit;                             /* bytes that a file of the program may have; 0: no limit */

/* One line of TAP. What the program said last follows where it is not ok. */
void check(int good, const char *format, ...) __attribute__((format(printf, 2, 3)));
int  lines_of(const char *text);                        /* how many, all of them ended */

const char *at(const char *name);                       /* its path in the folder; valid until the fourth call after it */
void        put_text(const char *name, const char *text);
void        put_picture(const char *folder, int number, int w, int h);
void        put_demo(const char *folder, int count);    /* pictures of the demo and their captions */

/* Of two safetensors files: are the tensors the same to the byte? 0 also where one cannot be read. */
int same_tensors(const char *a, const char *b);
int same_bytes(const char *a, const char *b);
int same_picture(const char *a, const char *b);         /* whatever text they hold */
int file_count(const char *folder);                     /* entries of a folder; -1: there is none */
int has_type(const char *file, const char *dtype);      /* are all tensors of this type: "F16"? */

void tools(void);                                       /* tools.c: convert, merge, resize, extract */
#endif
