/* prompt.h - what people paste into prompts and this program does not do: to be told, before any work, rather than drawn as text. */
#ifndef TEXT_PROMPT_H
#define TEXT_PROMPT_H
#include "text/emphasis.h"

/* Refuses, with the piece and what to do instead: a AND b, of a positive prompt; [a:b:0.5], [a|b]; <lora:NAME:1> and its like; the whole text that the web UI
 * writes into a picture; weights that emphasis_read refuses. With EMPHASIS_NONE nothing, since all is text. 0, or -1 and err(). */
int prompt_check(const char *prompt, int negative, Emphasis emphasis);
#endif
