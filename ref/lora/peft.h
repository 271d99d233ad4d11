/* peft.h - what a PEFT configuration says of one module: its alpha, by lora_alpha or the first key of alpha_pattern that fits, and how the scale follows.
 *
 * A key of a pattern is a regular expression that has to fit a path's end, from a dot on (peft's get_pattern_key). They are read as POSIX extended ones; a
 * key that is written in another dialect, with (? or a backslash before a letter, is refused. */
#ifndef LORA_PEFT_H
#define LORA_PEFT_H
#include "io/json.h"

/* The scale of a module: alpha / rank, with use_rslora alpha / sqrt(rank). *alpha: what is noted, else the rank. rank: that of its tensors, 0 where they have
 * none: then the one that is noted. front: "" or "unet.", before the names. Failures latch in j. */
double peft_scale(double *alpha, int rank, Json *j, const char *front, const char *path);
#endif
