#include "text/tokenizer.h"
#include "base/err.h"
#include "io/file.h"
#include "io/json.h"
#include "io/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { ROLES = 4, SPECIAL_SIZE = 1024, MAX_LENGTH = 1 << 16, MAX_ID = 1 << 24 };

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

/* ---- hash tables: open addressing, at most half full ---- */

static size_t table_size(size_t count)
{
    size_t size = 16;
    while (size < 2 * count) size *= 2;
    return size;
}

/* Where the pair is, or the free place where it would be. */
static Merge *merge_place(const struct TokenizerTables *t, uint64_t pair)
{
    size_t at = (size_t)((pair * 0x9e3779b97f4a7c15u) >> 32) & t->mask;     /* Fibonacci hashing (Knuth, vol. 3, 6.4) */
    while (t->merge[at].pair != pair && t->merge[at].pair != NO_PAIR) at = (at + 1) & t->mask;
    return &t->merge[at];
}

static uint64_t pair_of(int left, int right) { return (uint64_t)left << 32 | (uint64_t)right; }

/* vocab.json while it is open: text -> id. */
typedef struct {
    const char **text;
    int         *id;
    size_t       mask;
    int          count, top;                            /* top: the largest id */
    const char  *bad;                                   /* a word whose id, bad_id, cannot be one; NULL: none */
    int          bad_id;
} Vocab;

/* FNV-1a. */
static size_t vocab_place(const Vocab *v, const char *text, size_t size)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (uint8_t)text[i]) * 16777619u;
    size_t at = hash & v->mask;
    while (v->text[at] && (strncmp(v->text[at], text, size) != 0 || v->text[at][size])) at = (at + 1) & v->mask;
    return at;
}

static int vocab_find(const Vocab *v, const char *text, size_t size)
{
    size_t at = vocab_place(v, text, size);
    return v->text[at] ? v->id[at] : -1;
}

/* ---- opening ---- */

static int count_word(void *ctx, const char *text, int id)
{
    Vocab *v = ctx;
    v->count++;
    if (id > v->top) v->top = id;
    if (id >= 0 && id <= MAX_ID) return 0;
    v->bad = text, v->bad_id = id;
    return -1;
}

static int add_word(void *ctx, const char *text, int id)
{
    Vocab *v = ctx;
    size_t at = vocab_place(v, text, strlen(text));
    v->text[at] = text, v->id[at] = id;
    return 0;
}

static int vocab_open(Vocab *v, Json *j)
{
    *v = (Vocab){ .top = -1 };
    int status = json_each_int(j, count_word, v);
    if (v->bad) json_fail(j, v->bad, "expected an id from 0 to %d, found %d", MAX_ID, v->bad_id);
    if (status < 0) return -1;
    size_t size = table_size((size_t)v->count);
    v->mask = size - 1;
    v->text = calloc(size, sizeof *v->text), v->id = calloc(size, sizeof *v->id);
    if (!v->text || !v->id) return json_fail(j, "words", "no memory for %d", v->count), -1;
    return json_each_int(j, add_word, v);
}

/* GPT-2's byte map: printable Latin-1 stands for itself, the 68 others for U+0100 and on, in order. */
static void find_bytes(struct TokenizerTables *t, const Vocab *v)
{
    char text[16];
    int  others = 0;
    for (int b = 0; b < 256; b++) {
        int printable = (b > ' ' && b < 127) || (b > 160 && b != 173);
        int size = utf8_put(text, printable ? b : 256 + others++);
        t->byte[0][b] = vocab_find(v, text, (size_t)size);
        memcpy(text + size, "</w>", 4);
        t->byte[1][b] = vocab_find(v, text, (size_t)size + 4);
    }
}

/* A line "left right": the pair becomes the symbol leftright. */
static int add_merge(struct TokenizerTables *t, const Vocab *v, const char *line, size_t size, int rank)
{
    char joined[512];
    const char *space = memchr(line, ' ', size);
    if (!space || size > sizeof joined) return -1;
    size_t left = (size_t)(space - line), right = size - left - 1;
    memcpy(joined, line, left);
    memcpy(joined + left, space + 1, right);
    int a = vocab_find(v, line, left), b = vocab_find(v, space + 1, right), id = vocab_find(v, joined, left + right);
    if (a < 0 || b < 0 || id < 0) return -1;
    Merge *m = merge_place(t, pair_of(a, b));
    if (m->pair == NO_PAIR) *m = (Merge){ pair_of(a, b), rank, id };
    return 0;
}

static int read_merges(struct TokenizerTables *t, const Vocab *v, const char *path)
{
    size_t size, lines = 1, line = 0, length;
    char *text = file_read(path, 64 << 20, &size);
    if (!text) return -1;
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    t->mask = table_size(lines) - 1;
    t->merge = malloc((t->mask + 1) * sizeof *t->merge);
    int result = t->merge ? 0 : err("%s: no memory for %zu merges", path, lines);
    for (size_t i = 0; result == 0 && i <= t->mask; i++) t->merge[i].pair = NO_PAIR;
    for (char *p = text; result == 0 && p < text + size; p += length + 1, line++) {
        length = strcspn(p, "\n");
        size_t used = length > 0 && p[length - 1] == '\r' ? length - 1 : length;
        if (used == 0 || (line == 0 && strncmp(p, "#version", 8) == 0)) continue;
        if (add_merge(t, v, p, used, (int)line) < 0)
            result = err("%s:%zu: expected two symbols of vocab.json that join to a third, found \"%.*s\"", path, line + 1, used < 40 ? (int)used : 40, p);
    }
    free(text);
    return result;
}

/* What a config says of the special texts, as a string or as {"content": ..., "normalized": ...}. */
static const char *const roles[ROLES] = { "bos_token", "eos_token", "unk_token", "pad_token" };

static int read_config(Special role[ROLES], int *length, const char *dir, const char *name)
{
    char path[PATH_SIZE], key[64];
    if (path_join(path, dir, name) < 0) return -1;
    if (!is_file(path)) return 0;
    Json *j = json_open(path);
    if (!j) return -1;
    for (int i = 0; i < ROLES; i++) {
        if (!json_has(j, roles[i])) continue;
        snprintf(key, sizeof key, "%s.content", roles[i]);
        int plain = json_is_string(j, roles[i]);
        const char *text = plain ? json_string(j, roles[i], "") : json_need_string(j, key);
        if (!*text || strlen(text) >= SPECIAL_SIZE) json_fail(j, roles[i], "expected 1..%d bytes", SPECIAL_SIZE - 1);
        snprintf(role[i].text, SPECIAL_SIZE, "%.*s", SPECIAL_SIZE - 1, text);
        snprintf(key, sizeof key, "%s.normalized", roles[i]);
        role[i].normalized = plain ? 0 : json_bool(j, key, 0);
    }
    double limit = json_double(j, "model_max_length", *length);             /* 1e30 where whoever wrote it had none */
    if (limit >= 3 && limit <= MAX_LENGTH) *length = (int)limit;
    return json_close(j);
}

/* Two roles may share a text: it is one special then, and the last role's flag holds. */
static int find_specials(Tokenizer *tok, const Vocab *v, const char *dir)
{
    Special role[ROLES] = { { .text = "<|startoftext|>" }, { .text = "<|endoftext|>" }, { .text = "<|endoftext|>" }, { .text = "<|endoftext|>" } };
    int *id[ROLES] = { &tok->bos, &tok->eos, &tok->unk, &tok->pad };
    struct TokenizerTables *t = tok->tables;
    if (read_config(role, &tok->length, dir, "special_tokens_map.json") < 0 || read_config(role, &tok->length, dir, "tokenizer_config.json") < 0) return -1;
    for (int i = 0; i < ROLES; i++) {
        Special *s = &role[i];
        int k = 0;
        s->size = (int)strlen(s->text), s->count = 1;
        s->id = *id[i] = vocab_find(v, s->text, (size_t)s->size);
        if (s->id < 0) return err("%s/vocab.json: the %s \"%s\" is not in it", dir, roles[i], s->text);
        while (k < t->specials && t->special[k].id != s->id) k++;
        t->special[k] = *s;
        if (k == t->specials) t->specials++;
    }
    return 0;
}

int tokenizer_open(Tokenizer *tok, const char *dir)
{
    char  path[PATH_SIZE];
    Vocab v = { 0 };
    *tok = (Tokenizer){ .length = 77, .tables = calloc(1, sizeof *tok->tables) };
    if (tok->tables) tok->tables->special = calloc(ROLES, sizeof *tok->tables->special);
    if (!tok->tables || !tok->tables->special) return tokenizer_close(tok), err("%s: no memory for a tokenizer", dir);
    Json *j = path_join(path, dir, "vocab.json") < 0 ? NULL : json_open(path);
    int result = !j || vocab_open(&v, j) < 0 ? -1 : 0;
    if (result == 0) {
        tok->vocab = v.top + 1;
        find_bytes(tok->tables, &v);
        result = path_join(path, dir, "merges.txt") < 0 || read_merges(tok->tables, &v, path) < 0 || find_specials(tok, &v, dir) < 0 ? -1 : 0;
    }
    free(v.text);
    free(v.id);
    if (j && json_close(j) < 0) result = -1;
    if (result < 0) tokenizer_close(tok);
    return result;
}

void tokenizer_close(Tokenizer *tok)
{
    if (tok->tables) {
        tokenizer_forget(tok, 0);
        free(tok->tables->merge);
        free(tok->tables->special);
    }
    free(tok->tables);
    *tok = (Tokenizer){ 0 };
}

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
    int words = 0, all;
    for (int i = 0; i < t->specials; i++) words += t->special[i].piece != NULL;
    if (!words || (all = encode_text(tok, text, NULL, 0)) <= 0) return encode_text(tok, text, ids, max);
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

int tokenizer_pad(const Tokenizer *tok, const char *text, int32_t *ids)
{
    int room = tok->length - 2, count = tokenizer_encode(tok, text, ids + 1, room);
    if (count < 0) return -1;
    int kept = count < room ? count : room;
    ids[0] = tok->bos, ids[kept + 1] = tok->eos;
    for (int i = kept + 2; i < tok->length; i++) ids[i] = tok->pad;
    return count - kept;
}

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
