/* covers ref/text/tokenizer.c ref/text/tokenizer_open.c
 * A text, and after bytes 0xff: vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json, a word to learn. Where all files are empty it is
 * CLIP's rules and the tables of golden/bpe that read the text. */
#include "fuzz.h"
#include "io/file.h"
#include "text/tokenizer.h"
#include <stdlib.h>
#include <string.h>

enum { FILES = 5, PARTS, MOST = 1 << 14, LONGEST = 1 << 16 };

static void check_text(const Tokenizer *tok, const char *text)
{
    static int32_t ids[LONGEST + 2], few[4];
    int            count = tokenizer_encode(tok, text, ids, LONGEST);
    CHECK(count >= 0, "%s", err_text());
    CHECK(tokenizer_encode(tok, text, few, 4) == count, "another number of tokens where fewer are kept");
    for (int i = 0; i < count && i < LONGEST; i++) CHECK(ids[i] >= 0 && ids[i] < tok->vocab && (i > 3 || ids[i] == few[i]), "token %d is %d", i, ids[i]);
    int cut = tokenizer_pad(tok, text, ids);
    CHECK(cut == (count > tok->length - 2 ? count - (tok->length - 2) : 0), "%d tokens cut off of %d", cut, count);
    CHECK(ids[0] == tok->bos && ids[(count < tok->length - 2 ? count : tok->length - 2) + 1] == tok->eos, "a text without its ends");
}

static int count_of(const Tokenizer *tok, const char *text, int32_t *ids)
{
    int count = tokenizer_encode(tok, text, ids, LONGEST);
    CHECK(count >= 0, "%s", err_text());
    return count < LONGEST ? count : LONGEST;
}

/* A word stands for three ids that the vocabulary has not: they come in a row each time the word is met, and all is as before when it is forgotten. */
static void check_word(Tokenizer *tok, const char *text, const char *word)
{
    static int32_t before[LONGEST], ids[LONGEST];
    int (*const learn[])(Tokenizer *, const char *, int, int) = { tokenizer_learn, tokenizer_learn_ids };
    const int count = count_of(tok, text, before), first = tok->vocab;
    for (int l = 0; l < 2; l++) {
        int result = learn[l](tok, word, first, 3), met = 0;
        if (result < 0) fuzz_refused("");
        int n = count_of(tok, text, ids);
        for (int i = 0; i < n; i++) {
            CHECK(ids[i] < first || !result, "token %d is %d, of a word that was not learned", i, ids[i]);
            CHECK(ids[i] < first || ids[i] == first + met % 3, "token %d is %d, place %d of the word", i, ids[i], met % 3);
            CHECK(ids[i] >= first || met % 3 == 0, "token %d is %d, within the word", i, ids[i]);
            met += ids[i] >= first;
        }
        CHECK(n == LONGEST || met % 3 == 0, "a word without its end");
        if (!result) CHECK(learn[l](tok, word, first + 3, 1) == 1, "a word is learned twice");
        tokenizer_forget(tok, first);
        CHECK(count_of(tok, text, ids) == count && !memcmp(ids, before, (size_t)count * sizeof *ids), "a word that was forgotten is met");
    }
}

static void check(Tokenizer *tok, const char *text, FuzzPart word)
{
    check_text(tok, text);
    if (!word.size) return;
    char *learned = fuzz_text(word);
    check_word(tok, text, learned);
    free(learned);
}

int fuzz_one(const uint8_t *data, size_t size)
{
    static const char *const name[FILES] = { NULL, "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json" };
    static Tokenizer         golden;
    FuzzPart                 part[PARTS];
    size_t                   bytes = 0;
    if (size > 2 * MOST || !fuzz_parts(part, PARTS, data, size)) return 0;
    if (!golden.tables) CHECK(tokenizer_open(&golden, "golden/bpe") == 0, "%s", err_text());
    char *text = fuzz_text(part[0]);
    for (int i = 1; i < FILES; i++) bytes += part[i].size;
    for (int i = 1; i < FILES && bytes; i++) fuzz_file(name[i], part[i].data ? part[i].data : (const uint8_t *)"{}", part[i].data ? part[i].size : 2);
    Tokenizer own;
    if (!bytes) check(&golden, text, part[FILES]);
    else if (tokenizer_open(&own, fuzz_dir()) < 0) fuzz_refused(fuzz_dir());
    else {
        check(&own, text, part[FILES]);
        tokenizer_close(&own);
    }
    free(text);
    return 0;
}
