#include "text/tokenizer.h"
#include "base/err.h"
#include "io/utf8.h"
#include "text/tokenizer_tables.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- text ---- */

/* White_Space of the Unicode Standard, which a regular expression's \s means. */
static int is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

typedef enum { SPACE, LETTER, DIGIT, OTHER } Class;

static Class class_of(int32_t c)
{
    if (is_space(c)) return SPACE;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO: return LETTER;
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO: return DIGIT;
    default: return OTHER;
    }
}

/* Well-formed UTF-8; malloc'd. One byte may become the three of U+FFFD. */
static char *repair(const char *text)
{
    size_t size = strlen(text);
    char *out = malloc(3 * size + 1), *p = out;
    if (!out) return err("no memory for a text of %zu bytes", size), NULL;
    for (const char *end = text + size; text < end;) {
        int32_t code = utf8_next(&text, end);
        p += utf8_put(p, code < 0 ? UTF8_REPLACEMENT : code);
    }
    *p = 0;
    return out;
}

/* NFC, white space, lower case; malloc'd. Lower-casing makes two bytes into three at worst. Of all code points only U+0130 has a lower case of two. */
static char *normalize(const char *text, size_t size)
{
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    char *out = length < 0 ? NULL : malloc(2 * (size_t)length + 1), *p = out;
    const char *why = length < 0 && length != UTF8PROC_ERROR_NOMEM ? utf8proc_errmsg(length) : "no memory";
    if (!out) return err("a text of %zu bytes cannot be normalised: %s", size, why), free(composed), NULL;
    const char *s = (const char *)composed, *end = s + length;
    while (s < end) {
        int32_t code = utf8_next(&s, end);
        if (is_space(code)) {
            if (p == out || p[-1] != ' ') *p++ = ' ';
        } else if (code == 0x130) memcpy(p, "i\xcc\x87", 3), p += 3;
        else p += utf8_put(p, utf8proc_tolower(code));
    }
    *p = 0;
    free(composed);
    return out;
}

/* ---- encoding ---- */

typedef struct {
    const struct TokenizerTables *t;
    int32_t *ids;
    int      max, count, unk;
    int32_t *symbol;                                    /* scratch, as long as the text */
} Encoder;

static void emit(Encoder *e, int id)
{
    if (e->count < e->max) e->ids[e->count] = id;
    e->count++;
}

/* Joins the pair of the lowest rank wherever it occurs, from the left, until no two neighbours are a pair. A merge only ever makes pairs of higher rank, so
 * this is the order in which they would go one by one. */
static void encode_piece(Encoder *e, const char *piece, size_t size)
{
    int32_t *s = e->symbol;
    size_t   n = size;
    for (size_t i = 0; i < n; i++) s[i] = e->t->byte[i == n - 1][(uint8_t)piece[i]];
    for (;;) {
        const Merge *best = NULL;
        for (size_t i = 0; i + 1 < n; i++) {
            const Merge *m = s[i] < 0 || s[i + 1] < 0 ? NULL : merge_place(e->t, pair_of(s[i], s[i + 1]));
            if (m && m->pair != NO_PAIR && (!best || m->rank < best->rank)) best = m;
        }
        if (!best) break;
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
            int joins = i + 1 < n && s[i] >= 0 && s[i + 1] >= 0 && pair_of(s[i], s[i + 1]) == best->pair;
            s[kept++] = joins ? best->id : s[i];
            i += (size_t)joins;
        }
        n = kept;
    }
    for (size_t i = 0; i < n; i++) emit(e, s[i] < 0 ? e->unk : s[i]);
}

/* Bytes of the piece at p: a contraction, one digit, or a run of one class. 0: white space. */
static size_t piece_size(const char *p, const char *end, const char **next)
{
    static const char *const contractions[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" };
    for (size_t i = 0; i < sizeof contractions / sizeof *contractions; i++) {
        size_t size = strlen(contractions[i]);
        if ((size_t)(end - p) >= size && memcmp(p, contractions[i], size) == 0) return *next = p + size, size;
    }
    *next = p;
    Class class = class_of(utf8_next(next, end));
    if (class == SPACE) return 0;
    while (class != DIGIT && *next < end) {
        const char *after = *next;
        if (class_of(utf8_next(&after, end)) != class) break;
        *next = after;
    }
    return (size_t)(*next - p);
}

/* CLIP's expression knows its two special texts as pieces of their own, also where they are no special tokens; GPT-2's then cuts them up, so that all they do
 * is to end a run. */
static size_t literal_size(const char *p)
{
    static const char *const literal[] = { "<|startoftext|>", "<|endoftext|>" };
    for (int i = 0; i < 2; i++)
        if (strncmp(p, literal[i], strlen(literal[i])) == 0) return strlen(literal[i]);
    return 0;
}

static void encode_normalized(Encoder *e, const char *text, const char *end)
{
    const char *next, *literal = text;                  /* where the literal that text is in ends */
    for (; text < end; text = next) {
        if (text >= literal && literal_size(text) <= (size_t)(end - text)) literal = text + literal_size(text);
        size_t size = piece_size(text, text < literal ? literal : end, &next);
        if (size) encode_piece(e, text, size);
    }
}

static int is_letter_or_digit(const char *p, const char *end)
{
    Class class = class_of(utf8_next(&p, end));
    return class == LETTER || class == DIGIT;
}

/* Is this place of the text within a run of letters and digits? */
static int is_within_run(const char *text, const char *at)
{
    const char *before = at, *end = at + strlen(at);
    if (at == text || at == end) return 0;
    do before--;
    while (before > text && ((uint8_t)*before & 0xc0) == 0x80);
    return is_letter_or_digit(before, end) && is_letter_or_digit(at, end);
}

/* The first special text of one kind in the text from p on, the longest where several begin; NULL: none. */
static const char *find_special(const struct TokenizerTables *t, const char *text, const char *p, int normalized, const Special **found)
{
    const char *first = NULL;
    *found = NULL;
    for (int i = 0; i < t->specials; i++) {
        const Special *s = &t->special[i];
        const char *at = s->normalized == normalized && !s->piece ? strstr(p, s->text) : NULL;
        while (at && s->whole && (is_within_run(text, at) || is_within_run(text, at + s->size))) at = strstr(at + 1, s->text);
        if (at && (!first || at < first || (at == first && s->size > (*found)->size))) first = at, *found = s;
    }
    return first;
}

static void emit_special(Encoder *e, const Special *s)
{
    for (int i = 0; i < s->count; i++) emit(e, s->id + i);
}

static int encode_plain(Encoder *e, const char *text, size_t size)
{
    const Special *s;
    const char *at;
    char *low = normalize(text, size);
    if (!low) return -1;
    e->symbol = malloc((strlen(low) + 1) * sizeof *e->symbol);
    if (!e->symbol) return err("no memory for a text of %zu bytes", size), free(low), -1;
    const char *p = low;
    for (; (at = find_special(e->t, low, p, 1, &s)); p = at + s->size) {
        encode_normalized(e, p, at);
        emit_special(e, s);
    }
    encode_normalized(e, p, p + strlen(p));
    free(e->symbol);
    free(low);
    return 0;
}

/* The text's own ids, and those of words that are cut out. */
static int encode_text(const Tokenizer *tok, const char *text, int32_t *ids, int max)
{
    Encoder e = { .t = tok->tables, .ids = ids, .max = max, .unk = tok->unk };
    const Special *s;
    const char *at;
    char *clean = repair(text);
    if (!clean) return -1;
    const char *p = clean;
    int result = 0;
    for (; result == 0 && (at = find_special(e.t, clean, p, 0, &s)); p = at + s->size) {
        result = encode_plain(&e, p, (size_t)(at - p));
        emit_special(&e, s);
    }
    if (result == 0) result = encode_plain(&e, p, strlen(p));
    free(clean);
    return result < 0 ? -1 : e.count;
}

/* The word whose ids begin at ids[0], the longest where there are several; NULL: none. */
static const Special *find_ids(const struct TokenizerTables *t, const int32_t *ids, int count)
{
    const Special *found = NULL;
    for (int i = 0; i < t->specials; i++) {
        const Special *s = &t->special[i];
        if (s->piece && s->pieces <= count && (!found || s->pieces > found->pieces) && memcmp(s->piece, ids, (size_t)s->pieces * sizeof *ids) == 0) found = s;
    }
    return found;
}

int tokenizer_encode(const Tokenizer *tok, const char *text, int32_t *ids, int max)
{
    const struct TokenizerTables *t = tok->tables;
    int words = 0;
    for (int i = 0; i < t->specials; i++) words += t->special[i].piece != NULL;
    if (!words) return encode_text(tok, text, ids, max);
    int all = encode_text(tok, text, NULL, 0);
    if (all <= 0) return all;
    int32_t *own = malloc((size_t)all * sizeof *own);
    if (!own) return err("no memory for %d tokens", all);
    if (encode_text(tok, text, own, all) < 0) return free(own), -1;
    Encoder e = { .ids = ids, .max = max };
    for (int i = 0; i < all;) {
        const Special *s = find_ids(t, own + i, all - i);
        if (s) emit_special(&e, s), i += s->pieces;
        else emit(&e, own[i++]);
    }
    free(own);
    return e.count;
}

/* The tokens begin behind 2 chunks places, so that each chunk, from the first on, moves to the front and over none that has yet to move. */
int tokenizer_pad_chunks(const Tokenizer *tok, const char *text, int32_t *ids, int chunks)
{
    int      each = tok->length - 2, room = chunks * each;
    int32_t *from = ids + 2 * chunks;
    int      count = tokenizer_encode(tok, text, from, room), left = count < room ? count : room;
    if (count < 0) return -1;
    for (int k = 0; k < chunks; k++, ids += tok->length, from += each) {
        int own = left < each ? left : each;
        memmove(ids + 1, from, (size_t)own * sizeof *ids);
        ids[0] = tok->bos, ids[own + 1] = tok->eos;
        for (int i = own + 2; i < tok->length; i++) ids[i] = tok->pad;
        left -= own;
    }
    return count < room ? 0 : count - room;
}

int tokenizer_pad(const Tokenizer *tok, const char *text, int32_t *ids) { return tokenizer_pad_chunks(tok, text, ids, 1); }

/* What tokenizer_learn does, of a word that is found by `pieces` ids; 0: by its text. */
static int learn(Tokenizer *tok, const char *word, int id, int count, const int32_t *piece, int pieces)
{
    struct TokenizerTables *t = tok->tables;
    char *clean = repair(word), *low = clean ? normalize(clean, strlen(clean)) : NULL;
    Special *more = low ? realloc(t->special, ((size_t)t->specials + 1) * sizeof *more) : NULL;
    int32_t *own = more && pieces ? malloc((size_t)pieces * sizeof *own) : NULL;
    if (more) t->special = more;
    int result = more && (own || !pieces) ? 0 : err("%s: no memory for this word", word);
    if (!result) {
        Special *s = &more[t->specials];
        size_t   blank = *low == ' ', size = strlen(low) - blank;
        size -= size && low[blank + size - 1] == ' ';
        *s = (Special){ .size = (int)size, .id = id, .count = count, .normalized = 1, .whole = 1, .piece = own, .pieces = pieces };
        if (own) memcpy(own, piece, (size_t)pieces * sizeof *own);
        if (size < 1 || size >= SPECIAL_SIZE) result = err("\"%s\": a word of 1..%d bytes was expected", word, SPECIAL_SIZE - 1);
        else memcpy(s->text, low + blank, size);
        for (int i = 0; i < t->specials && result == 0; i++) result = strcmp(t->special[i].text, s->text) == 0;
        t->specials += result == 0;
    }
    if (result) free(own);
    free(clean);
    free(low);
    return result;
}

int tokenizer_learn(Tokenizer *tok, const char *word, int id, int count) { return learn(tok, word, id, count, NULL, 0); }

/* Does the text begin and end with a letter or a digit? */
static int is_bounded(const char *text)
{
    const char *end = text + strlen(text), *last = end;
    while (last > text && ((uint8_t)*--last & 0xc0) == 0x80) continue;
    return *text && is_letter_or_digit(text, end) && is_letter_or_digit(last, end);
}

int tokenizer_learn_ids(Tokenizer *tok, const char *word, int id, int count)
{
    int n = is_bounded(word) ? encode_text(tok, word, NULL, 0) : 0;
    if (n <= 0) return n < 0 ? -1 : learn(tok, word, id, count, NULL, 0);
    int32_t *piece = malloc((size_t)n * sizeof *piece);
    int      result = piece ? encode_text(tok, word, piece, n) : err("%s: no memory for this word", word);
    if (result >= 0) result = learn(tok, word, id, count, piece, n);
    free(piece);
    return result;
}

int tokenizer_word(const Tokenizer *tok, int32_t id)
{
    const struct TokenizerTables *t = tok->tables;
    int i = 0;
    while (i < t->specials && t->special[i].id != id) i++;
    return i < t->specials ? t->special[i].count : 1;
}

void tokenizer_forget(Tokenizer *tok, int id)
{
    struct TokenizerTables *t = tok->tables;
    int kept = 0;
    for (int i = 0; i < t->specials; i++) {
        if (t->special[i].id < id) t->special[kept++] = t->special[i];
        else free(t->special[i].piece);
    }
    t->specials = kept;
}
