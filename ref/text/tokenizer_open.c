#include "text/tokenizer.h"
#include "base/err.h"
#include "io/file.h"
#include "io/json.h"
#include "io/utf8.h"
#include "text/tokenizer_tables.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROLES = 4, MAX_LENGTH = 1 << 16, MAX_ID = 1 << 24 };

/* ---- hash tables: open addressing, at most half full ---- */

static size_t table_size(size_t count)
{
    size_t size = 16;
    while (size < 2 * count) size *= 2;
    return size;
}

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
