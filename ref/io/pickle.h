/* pickle.h - Python's pickles (protocols 2 to 5) as plain values, and nothing but values: no code runs, no object is made.
 *
 * What a pickle would import must be on the caller's list of names; a call of it is only written down, with its arguments. Anything else is refused with the
 * name of what was asked for. A pickle has at most 64 MB and 4 million values. Values may share parts, and a list may hold itself: whoever walks them bounds
 * depth and number. */
#ifndef IO_PICKLE_H
#define IO_PICKLE_H
#include <stddef.h>
#include <stdint.h>

typedef enum {
    PICKLE_NONE, PICKLE_BOOL, PICKLE_INT, PICKLE_FLOAT, PICKLE_TEXT, PICKLE_BYTES, PICKLE_TUPLE, PICKLE_LIST, PICKLE_DICT,
    PICKLE_GLOBAL,                                      /* text: "module.name" */
    PICKLE_CALL,                                        /* part[0], a global, of part[1], a tuple; item: what was put into the result, as into a list or dict */
    PICKLE_PERSISTENT,                                  /* part[0]: how the caller is to find it */
    PICKLE_MARK,                                        /* never in what is read */
} PickleKind;

typedef struct PickleValue {
    PickleKind                kind;
    int64_t                   number;                   /* of a bool or int */
    double                    real;
    const char               *text;                     /* of text and bytes, too; 0 behind it */
    size_t                    size;                     /* bytes of text; items, of a dict twice as many as keys: key, value, key, value */
    const struct PickleValue **item;
    const struct PickleValue *part[2];
    const struct PickleValue *state;                    /* of a call: what its result was told to be (BUILD), as a dict of its members; NULL: nothing */
} PickleValue;

typedef struct Pickle Pickle;

/* Reads one pickle; *used = its bytes. allowed: names "module.name", the last NULL. path is for messages. NULL and err(). */
Pickle            *pickle_open(const void *data, size_t size, size_t *used, const char *const *allowed, const char *path);
const PickleValue *pickle_root(const Pickle *p);
void               pickle_close(Pickle *p);             /* p may be NULL */

/* The value of a key of a dict, or of a call's result that was filled like one; NULL: none. */
const PickleValue *pickle_get(const PickleValue *dict, const char *key);

/* Every persistent value that was read, in order: i = 0, 1, ...; NULL: no more. */
const PickleValue *pickle_persistent(const Pickle *p, size_t i);
#endif
