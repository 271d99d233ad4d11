/* emphasis.h - a prompt as the web UI reads it: words that count more or less than others, and where a new chunk of 75 tokens begins.
 *
 *   (x) [x] (x:1.3)     x counts 1.1, 1/1.1, 1.3 times; nested brackets multiply; what is never closed closes at the end, what was never opened is text
 *   \( \) \[ \] \\      the character itself; any other \ is left out
 *   BREAK               as a word of its own: what follows begins a new chunk
 *
 * Neighbours of equal weight are one text before anybody looks for tokens: a weight that ends within a word makes two words of it. One thing is otherwise
 * than in the web UI, where a BREAK between brackets is the word "BREAK" of a negative weight: here it is a BREAK. */
#ifndef TEXT_EMPHASIS_H
#define TEXT_EMPHASIS_H

typedef enum {
    EMPHASIS_ORIGINAL,                                  /* weighted text states get back the mean that they had */
    EMPHASIS_NO_NORM,                                   /* they do not */
    EMPHASIS_IGNORE,                                    /* read so, but everything counts alike */
    EMPHASIS_NONE,                                      /* all of it is text */
    EMPHASIS_COUNT
} Emphasis;

enum { MAX_EMPHASIS = 100 };                            /* weights are from minus this to this */

typedef struct {
    char  *text;
    double weight;
    int    breaks;                                      /* BREAKs before it */
} EmphasisPart;

typedef struct {
    EmphasisPart *part;                                 /* (count), at least one */
    int           count;
    char         *texts;
} EmphasisParts;

/* The parts of a prompt, to be freed also after -1 and err(): a weight that is no number, or out of range; no memory. */
int  emphasis_read(EmphasisParts *parts, const char *prompt, Emphasis emphasis);
void emphasis_free(EmphasisParts *parts);

/* The first place in [p, end) where `word` is a word of its own, not within letters, numbers and _; NULL: none. */
const char *emphasis_word(const char *p, const char *end, const char *word);

/* "Original", "No norm", ...: as the web UI's setting "Emphasis mode" and its pictures have it. */
const char *emphasis_label(Emphasis emphasis);
#endif
