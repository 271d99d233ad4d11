/* outline.h - facts for people: a JSON object as aligned text.
 *
 *     layout       kohya                      names and values in two columns
 *     parameters   575,744                    whole numbers in groups of three, others in four digits
 *
 *     hashes                                  an object within: its name, and its members indented
 *       sha256       6b1f...
 *     kinds                                   an array of objects: a table, a row each, under the names of the first one's members
 *
 * Control characters in texts, which come from files, are shown as '?', line breaks as lines. */
#ifndef CLI_OUTLINE_H
#define CLI_OUTLINE_H
#include <cjson/cJSON.h>
#include <stdio.h>

/* width: longer values are cut to it, with a mark; 0: never. */
void outline_print(FILE *out, const cJSON *object, int width);
#endif
