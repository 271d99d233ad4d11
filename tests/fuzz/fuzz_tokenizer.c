/* covers ref/text/tokenizer.c ref/text/tokenizer_open.c
 * A text, and after bytes 0xff: vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json. A text alone is for CLIP's rules and the tables of
 * golden/bpe. */
#include "fuzz.h"
#include "io/file.h"
#include "text/tokenizer.h"
#include <stdlib.h>
#include <string.h>

enum { PARTS = 5, MOST = 1 << 14, LONGEST = 1 << 16 };

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

int fuzz_one(const uint8_t *data, size_t size)
{
    static const char *const name[PARTS] = { NULL, "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json" };
    static Tokenizer         golden;
    FuzzPart                 part[PARTS];
    int                      parts = size <= 2 * MOST ? fuzz_parts(part, PARTS, data, size) : 0;
    if (!golden.tables) CHECK(tokenizer_open(&golden, "golden/bpe") == 0, "%s", err_text());
    if (!parts) return 0;
    char *text = fuzz_text(part[0]);
    if (parts == 1) check_text(&golden, text);
    else {
        Tokenizer tok;
        for (int i = 1; i < PARTS; i++) fuzz_file(name[i], part[i].data ? part[i].data : (const uint8_t *)"{}", part[i].data ? part[i].size : 2);
        if (tokenizer_open(&tok, fuzz_dir()) < 0) fuzz_refused(fuzz_dir());
        else {
            check_text(&tok, text);
            tokenizer_close(&tok);
        }
    }
    free(text);
    return 0;
}
