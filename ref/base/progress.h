/* progress.h - one line on stderr that says how far a long job is.
 *
 *     train  120/5000   2%  3.41 steps/s  23:51 left  loss 0.1234
 *
 * On a terminal the line is rewritten in place, at most ten times a second; elsewhere it is printed on a line of its own every few seconds. Rate and time left
 * count from the step at which the line was opened, so a resumed run shows its own speed. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H
#include <stddef.h>

typedef struct {
    const char *label, *unit;                           /* unit: what a step is called, one of them */
    int         start, step, total;
    int         terminal;
    double      opened, shown;                          /* seconds of the monotonic clock; shown: when a line last went out, 0 for never */
    char        note[128];
} Progress;

Progress progress_open(const char *label, const char *unit, int start, int total);
void     progress_update(Progress *p, int step, const char *note, ...) __attribute__((format(printf, 3, 4)));
void     progress_close(Progress *p);                   /* shows the last state and ends the line; nothing if nothing was ever updated */

/* The line as text, `seconds` after opening. */
void progress_line(char *out, size_t size, const Progress *p, double seconds);
#endif
