/* problems.h - everything that is wrong with a job, told at once instead of one at a time. */
#ifndef BASE_PROBLEMS_H
#define BASE_PROBLEMS_H
#include <stdio.h>

typedef struct {
    char **text;
    int    count;
} Problems;                                             /* begins as { 0 } */

/* The message of the last err() becomes one more problem, and the job goes on: 0. -1 and err(): no memory; or p is NULL, and the first problem ends the job. */
int  problems_take(Problems *p);
void problems_print(const Problems *p, FILE *out);      /* a line each */
void problems_close(Problems *p);
#endif
