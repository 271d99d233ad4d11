/* caption.h - the caption of a picture: its file, and what training does to it.
 *
 * The order and meaning of the rules are kohya's. A caption is a list of tags between commas. With no rule on tags active the text is used as it stands;
 * otherwise tags are stripped of blanks, and joined by ", ". */
#ifndef TEXT_CAPTION_H
#define TEXT_CAPTION_H
#include "base/rng.h"
#include <stddef.h>

enum { CAPTION_SIZE = 8192 };                           /* a buffer that holds any caption read here, and what the rules make of it */

typedef struct {
    int    shuffle;                                     /* tags in random order */
    int    keep_tokens;                                 /* this many first tags stay first and are never dropped */
    double dropout;                                     /* probability of an empty caption */
    double tag_dropout;                                 /* probability, for each tag that is not kept, of being left out */
} CaptionRules;

/* out = the caption under the rules. The length, or -1 and err() when it does not fit. Draws: one uniform if dropout > 0; the shuffle; one uniform a tag. */
int caption_apply(char *out, size_t size, const char *caption, const CaptionRules *rules, Rng *rng);

typedef enum { CAPTION_OK, CAPTION_MISSING, CAPTION_EMPTY, CAPTION_BAD } CaptionResult;

/* out = the first line of the file, without a byte order mark and without blanks at its ends; lines = how many lines hold more than blanks. A line ends with
 * LF, CR or both. All results but CAPTION_OK leave err() and an empty text: no such file; nothing but blanks in the line; unreadable, not UTF-8 (the message
 * has the place), or as long as CAPTION_SIZE / 2. */
CaptionResult caption_read(char out[CAPTION_SIZE], int *lines, const char *path);
#endif
