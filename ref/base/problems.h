/* problems.h - everything that is wrong with a job, told at once instead of one at a time. */
#ifndef BASE_PROBLEMS_H
#define BASE_PROBLEMS_H
#include <stdio.h>

typedef struct {
    char **text;
    int    count;
} Problems;                                             /* begins as { 0 } */

/* Notes the message of the last err() and returns 0: the job goes on looking. -1, which ends the job: p is NULL, and err() stays; or no memory, and err(). */
int  problems_take(Problems *p);
void problems_print(const Problems *p, FILE *out);      /* a line each */
void problems_close(Problems *p);
#endif
