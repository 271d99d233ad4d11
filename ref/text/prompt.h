/* prompt.h - all that a prompt says, as the web UI reads it: the prompts that it is made of, and of each the texts by step.
 *
 *   a AND b:0.7         two prompts for one picture, the second 0.7 times (Liu et al. 2022); not of a negative prompt
 *   [a:b:0.5] [a|b]     text/edit.h
 *   (a:1.3) [a] BREAK   text/emphasis.h
 *
 * What belongs elsewhere is told, before any work, rather than drawn as text. A number behind the last colon is a weight only where there is an AND: in the
 * web UI "at 16:9" is "at 16", nine times. */
#ifndef TEXT_PROMPT_H
#define TEXT_PROMPT_H
#include "text/edit.h"
#include "text/emphasis.h"

typedef struct {
    Edit   edit;
    double weight;
} PromptPart;

typedef struct {
    PromptPart *part;                                   /* (count), at least one */
    int         count;
} Prompt;

/* With EMPHASIS_NONE all is text, one part. 0, or -1 and err(). To be freed either way. */
int  prompt_read(Prompt *prompt, const char *text, int negative, Emphasis emphasis, int steps);
void prompt_free(Prompt *prompt);

/* Refuses, with the piece and what to do instead: <lora:NAME:1> and its like; the whole text that the web UI writes into a picture; what prompt_read and
 * emphasis_read refuse. With EMPHASIS_NONE nothing. 0, or -1 and err(). */
int prompt_check(const char *text, int negative, Emphasis emphasis, int steps);
#endif
