/* tags.h - how often each tag occurs in the captions of a concept: what a LoRA file says of its pictures (ss_tag_frequency).
 *
 * Kohya's rules: a caption is cut at commas, blanks are stripped, letters are made lower case, empty tags are left out; repeats of a picture do not count. */
#ifndef TRAIN_TAGS_H
#define TRAIN_TAGS_H
#include "data/concepts.h"

/* Writes {"10_face": {"mochi": 96, ...}, ...} as Python's json.dumps spells it, tags in the order in which they first occur. 0, or -1 and err(). */
int tags_write(FILE *out, const Concepts *concepts);

/* A string of JSON as Python's json.dumps spells it: everything but ASCII as \uXXXX. Ill-formed UTF-8 becomes U+FFFD. */
void python_string(FILE *out, const char *text);
#endif
