#include "diffusion/embeddings.h"
#include "base/err.h"
#include "base/text.h"
#include "io/file.h"
#include "io/tensor_file.h"
#include "io/utf8.h"
#include "text/chunks.h"
#include "text/embedding.h"
#include "text/prompt.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_FOLDERS = 8, SHOWN_DIGITS = 12 };           /* folders within folders; of a hash */
enum { OFFERED = 1 << 25 };                             /* ids of words before they are learned begin here, above those of any vocabulary */
static const char prefix[] = "embedding:", diffusers_name[] = "learned_embeds";

/* ---- what is offered ---- */

static int add(Embeddings *e, const char *word, size_t size, const char *path)
{
    if (e->count == e->room) {
        int          room = e->room ? 2 * e->room : 64;
        OfferedWord *more = realloc(e->word, (size_t)room * sizeof *more);
        if (!more) return err("%s: out of memory for %d embeddings", path, room);
        e->word = more, e->room = room;
    }
    OfferedWord *w = &e->word[e->count];
    *w = (OfferedWord){ .word = strndup(word, size), .path = strdup(path) };
    if (w->word && w->path) return e->count++, 0;
    free(w->word);
    free(w->path);
    return err("%s: out of memory", path);
}

/* The word inside, where the file is in diffusers' layout; *found: there is one. */
static int offer_inner(Embeddings *e, const char *path, int *found)
{
    TensorFile f;
    Embedding  inside;
    if (tensor_file_open(&f, path)) return -1;
    int status = embedding_find(&inside, f.s);
    *found = !status && inside.layout == EMBEDDING_DIFFUSERS;
    if (*found) status = add(e, inside.word, strlen(inside.word), path);
    tensor_file_close(&f);
    return status;
}

/* A name that is not UTF-8 is no word: no prompt can have it. */
static int offer_file(Embeddings *e, const char *path, int given)
{
    const char *file = path_name(path);
    size_t      size = strlen(file) - strlen(path_extension(file));
    int         nameless = size == strlen(diffusers_name) && strncmp(file, diffusers_name, size) == 0, found = 0;
    if ((given || nameless) && offer_inner(e, path, &found)) return -1;
    return (nameless && found) || !utf8_valid(file, size) ? 0 : add(e, file, size, path);
}

static int is_offered_type(const char *file)
{
    static const char *const types[] = { ".pt", ".bin", ".safetensors" };
    int k = 0;
    while (k < 3 && strcasecmp(path_extension(file), types[k])) k++;
    return k < 3;
}

static int offer_folder(Embeddings *e, const char *folder, int depth)
{
    char  path[PATH_SIZE];
    Names names;
    int   status = 0;
    if (depth == MOST_FOLDERS) return err("%s: folders within folders, %d deep, or a link that leads back", folder, depth);
    if (dir_list(&names, folder)) return -1;
    for (int i = 0; i < names.count && !status; i++) {
        if (names.name[i][0] == '.') continue;
        status = path_join(path, folder, names.name[i]);
        if (!status && is_dir(path)) status = offer_folder(e, path, depth + 1);
        else if (!status && is_offered_type(path)) status = offer_file(e, path, 0);
    }
    names_free(&names);
    return status;
}

int embeddings_offer(Embeddings *e, const char *path)
{
    int before = e->count;
    if (!is_dir(path)) return is_file(path) ? offer_file(e, path, 1) : err("%s: no such file or folder", path);
    if (offer_folder(e, path, 0)) return -1;
    return e->count > before ? 0 : err("%s: this folder was expected to hold embeddings (.pt, .bin, .safetensors), it has none", path);
}

void embeddings_close(Embeddings *e)
{
    for (int i = 0; i < e->count; i++) free(e->word[i].word), free(e->word[i].path);
    free(e->word);
    *e = (Embeddings){ 0 };
}

/* ---- what is used ---- */

/* The word and `embedding:` with it stand for ids [id, id + n), unless an earlier word has that meaning. */
static int name_word(Tokenizer *tok, const char *word, int id, int n)
{
    char *longer = malloc(sizeof prefix + strlen(word));
    if (!longer) return err("%s: out of memory", word);
    strcat(strcpy(longer, prefix), word);
    int status = tokenizer_learn_ids(tok, word, id, n) < 0 || tokenizer_learn_ids(tok, longer, id, n) < 0 ? -1 : 0;
    free(longer);
    return status;
}

/* Is every `embedding:NAME` of the text a word that is offered? */
static int check_named(const Tokenizer *tok, const char *text)
{
    for (const char *at = text; *at; at++) {
        const char *named = at + sizeof prefix - 1;
        int32_t     id = 0;
        if (strncasecmp(at, prefix, sizeof prefix - 1) || (at > text && isalnum((unsigned char)at[-1])) || !*named || isspace((unsigned char)*named)) continue;
        if (tokenizer_encode(tok, at, &id, 1) < 0) return -1;
        if (id < OFFERED) return err("%.*s: no file of that name is among the --embeddings", (int)(named - at + (int)strcspn(named, " ,()[]")), at);
    }
    return 0;
}

/* The chunks of all texts that a line's prompt, or its negative one, has. */
static int add_texts(Chunks *c, const Tokenizer *tok, const PromptLine *line, int negative)
{
    Prompt prompt;
    int    status = prompt_read(&prompt, negative ? line->negative_prompt : line->prompt, negative, line->emphasis, line->steps);
    for (int i = 0; i < prompt.count; i++)
        for (int k = 0; k < prompt.part[i].edit.count && !status; k++)
            if (chunks_add(c, tok, prompt.part[i].edit.text[k].text, line->emphasis) < 0) status = -1;
    prompt_free(&prompt);
    return status;
}

/* n becomes 1 of each word that the line has. */
static int mark_used(Embeddings *e, const Tokenizer *tok, const PromptLine *line)
{
    Chunks c = { 0 };
    int    status = check_named(tok, line->prompt) || check_named(tok, line->negative_prompt) || add_texts(&c, tok, line, 0) || add_texts(&c, tok, line, 1);
    for (int i = 0; i < c.count * c.length && !status; i++)
        if (c.ids[i] >= OFFERED) e->word[c.ids[i] - OFFERED].n = 1;
    chunks_close(&c);
    return status ? -1 : 0;
}

/* The vectors of the word's file, (n,c), malloc'd; NULL and err(). */
static double *read_vectors(int *n, const OfferedWord *w, int width, int most)
{
    TensorFile f;
    Embedding  e;
    double    *x = NULL;
    if (tensor_file_open(&f, w->path)) return NULL;
    if (embedding_find(&e, f.s) == 0) {
        const char *of = embedding_model_name(&e);
        if (e.layout == EMBEDDING_SDXL || e.c != width)
            err("%s: expected vectors of this model's text encoder, %d wide, found %s%lld%s%s", w->path, width, e.layout == EMBEDDING_SDXL ? "clip_g, " : "",
                (long long)e.c, of ? ", as for " : "", of ? of : "");
        else if (e.n < 1 || e.n > most) err("%s: expected 1..%d vectors, the places of a prompt, found %lld", w->path, most, (long long)e.n);
        else if (!(x = malloc(e.vectors->count * sizeof *x))) err("%s: out of memory for %lld vectors", w->path, (long long)e.n);
        else if (safetensors_read(f.s, e.vectors, T_F64, x)) free(x), x = NULL;
    }
    for (size_t k = 0; x && k < e.vectors->count; k++)
        if (!isfinite(x[k])) err("%s: %s: a number that is infinite or none", w->path, e.vectors->name), free(x), x = NULL;
    *n = x ? (int)e.n : 0;
    tensor_file_close(&f);
    return x;
}

static int learn(OfferedWord *w, Pipeline *p)
{
    double *x = read_vectors(&w->n, w, p->model.clip.config.width, p->tokenizer.length - 2);
    if (!x) return -1;
    w->id = clip_learn(&p->model.clip, x, w->n);
    free(x);
    return w->id < 0 || hash_file(w->hash, w->path) || name_word(&p->tokenizer, w->word, w->id, w->n) ? -1 : 0;
}

/* All words are given ids to see which of them the prompts have, then only those are learned: what never stands in a prompt stands in no word's way. */
int embeddings_learn(Embeddings *e, Pipeline *p, const PromptLines *prompts)
{
    Tokenizer *tok = &p->tokenizer;
    int        status = 0;
    for (int i = 0; i < e->count && !status; i++) status = name_word(tok, e->word[i].word, OFFERED + i, 1);
    for (int i = 0; i < prompts->count && !status; i++) status = mark_used(e, tok, &prompts->line[i]);
    tokenizer_forget(tok, OFFERED);
    for (int i = 0; i < e->count && !status; i++)
        if (e->word[i].n) status = learn(&e->word[i], p);
    return status;
}

/* ---- what a picture says of them ---- */

/* The place of the word that an id is of; -1: none. */
static int word_of(const Embeddings *e, int32_t id)
{
    int i = e->count - 1;
    while (i >= 0 && !(e->word[i].n && id >= e->word[i].id && id < e->word[i].id + e->word[i].n)) i--;
    return i;
}

/* The word in a JSON string, but for colons and commas, which the web UI leaves out. */
static void put_word(FILE *out, const char *word)
{
    for (const char *c = word; *c; c++) {
        if (*c == '"' || *c == '\\') fprintf(out, "\\%c", *c);
        else if ((unsigned char)*c < ' ' || *c == 127) fprintf(out, "\\u%04x", (unsigned)*c);
        else if (*c != ':' && *c != ',') putc(*c, out);
    }
}

char *embeddings_hashes(const Embeddings *e, const Tokenizer *tok, const PromptLine *line)
{
    Text   text;
    Chunks c = { 0 };
    FILE  *out = text_open(&text);
    char  *said = calloc((size_t)e->count + 1, 1);
    int    words = 0, status = out && said ? 0 : err("out of memory for the embeddings' hashes");
    if (!status && (add_texts(&c, tok, line, 0) || add_texts(&c, tok, line, 1))) status = -1;
    for (int i = 0; i < c.count * c.length && !status; i++) {
        int k = word_of(e, c.ids[i]);
        if (k < 0 || said[k]++) continue;
        fputs(words++ ? ", " : ", TI hashes: \"", out);
        put_word(out, e->word[k].word);
        fprintf(out, ": %.*s", SHOWN_DIGITS, e->word[k].hash);
    }
    if (words) putc('"', out);
    chunks_close(&c);
    free(said);
    char *whole = text_close(&text);
    if (!whole && !status) status = err("out of memory for the embeddings' hashes");
    if (!status) return whole;
    free(whole);
    return NULL;
}
