/* foreign.h - options that kohya's scripts, the web UI and diffusers have and this program has not: what becomes of a command line that was written for them.
 *
 * A table's row (foreign_table.c) is about an option, or about some values of one, which may be an option here, too. The first row that fits counts:
 *   passed over    what it asks for is done here anyway, or cannot change what is learned or drawn: one line on stderr says why, and the run goes on;
 *   refused        the result would be another one: one line says what to give instead. All that a command line holds of these are told at once. */
#ifndef CLI_FOREIGN_H
#define CLI_FOREIGN_H
#include <stdbool.h>
#include <stddef.h>

enum { SEVERAL_WORDS = 2 };

typedef struct Foreign {
    const char *name;                                   /* small letters and '_'; a '*' at its end stands for any letters */
    int         words;                                  /* that follow it: 0, 1 or SEVERAL_WORDS, all up to the next --option */
    bool        passed;
    const char *values;                                 /* those that the row is about, parted by blanks, their own left out; in any case; NULL: any */
    const char *why;                                    /* or what to give instead; NULL: nothing is asked for and nothing is said */
} Foreign;

extern const Foreign training_elsewhere[], sampling_elsewhere[];        /* ended by a NULL name */

/* The first row about name[0..length) and the value, or, with value NULL, about the name alone; NULL: there is none. rows may be NULL. */
const Foreign *foreign_find(const Foreign *rows, const char *name, size_t length, const char *value);
#endif
