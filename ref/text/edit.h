/* edit.h - a prompt that changes from step to step, as the web UI reads it.
 *
 *   [a:b:n]   a up to n, then b          [b:n]   nothing, then b          [a::n]   a, then nothing
 *   [a|b|c]   by turns
 *
 * Steps count from 0, and step n is the last of a; n with a point is a share of the steps, without one a step. At steps 0 and 1 it is the first one's turn.
 * Edits stand within each other and within brackets that weigh (text/emphasis.h); \[ is a bracket of the text. A bracket that is never closed, or holds
 * something else, is left to those that weigh. */
#ifndef TEXT_EDIT_H
#define TEXT_EDIT_H

typedef struct {
    char *text;
    int   times;                                        /* how often the web UI has it among the texts that it encodes together */
} EditText;

typedef struct {
    EditText *text;                                     /* (count), each another one */
    int       count, *at;                               /* at (steps): the text of each step */
} Edit;

/* 0, or -1 and err(): a share above 1, no memory. To be freed either way. */
int  edit_read(Edit *edit, const char *prompt, int steps);
int  edit_plain(Edit *edit, const char *prompt, int steps);     /* the same of a prompt that is all text */
void edit_free(Edit *edit);
#endif
