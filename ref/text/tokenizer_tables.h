/* tokenizer_tables.h - what tokenizer_open.c makes of a tokenizer's files and tokenizer.c encodes with; for these two alone. */
#ifndef TEXT_TOKENIZER_TABLES_H
#define TEXT_TOKENIZER_TABLES_H
#include <stddef.h>
#include <stdint.h>

enum { SPECIAL_SIZE = 1024 };

typedef struct {
    uint64_t pair;                                      /* ids of the two symbols, left one high; NO_PAIR: a free place */
    int      rank, id;                                  /* line of merges.txt; the symbol they make */
} Merge;
#define NO_PAIR UINT64_MAX

/* A text that is no word of vocab.json's own, but cut out before words are looked for; it stands for the ids from `id` on. */
typedef struct {
    char text[SPECIAL_SIZE];
    int  size, id, count;
    int  normalized;                                    /* looked for in the normalised text, so in any case, and not in the text as it came */
    int  whole;                                         /* not within a run of letters and digits */
    int32_t *piece;                                     /* (pieces), not NULL: found by these ids, which the text has alone, and not cut out */
    int      pieces;
} Special;

struct TokenizerTables {
    int     byte[2][256];                               /* id of a byte's symbol; [1]: at the end of a word. -1: none */
    Merge  *merge;
    size_t  mask;                                       /* places of the table, a power of two, minus 1 */
    Special *special;
    int     specials;
};

/* Where the pair is, or the free place where it would be. */
static inline Merge *merge_place(const struct TokenizerTables *t, uint64_t pair)
{
    size_t at = (size_t)((pair * 0x9e3779b97f4a7c15u) >> 32) & t->mask;     /* Fibonacci hashing (Knuth, vol. 3, 6.4) */
    while (t->merge[at].pair != pair && t->merge[at].pair != NO_PAIR) at = (at + 1) & t->mask;
    return &t->merge[at];
}

static inline uint64_t pair_of(int left, int right) { return (uint64_t)left << 32 | (uint64_t)right; }
#endif
