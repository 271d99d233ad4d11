#include "text/chunks.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

enum { BACKTRACK = 20 };                                /* the web UI's comma_padding_backtrack */

/* A prompt on its way into chunks: the one at chunks->count is being filled. */
typedef struct {
    Chunks          *chunks;
    const Tokenizer *tok;
    int              fill, comma;                       /* tokens in it, without BOS; place of its last comma, -1: none */
    int32_t          comma_id;
} Filler;

static int32_t *ids_of(const Filler *f) { return f->chunks->ids + (size_t)f->chunks->count * (size_t)f->chunks->length; }
static double  *weights_of(const Filler *f) { return f->chunks->weight + (size_t)f->chunks->count * (size_t)f->chunks->length; }

/* The chunk at `count` has memory. 0, or -1 and err(). */
static int make_room(Chunks *c)
{
    if (c->count < c->room) return 0;
    int      room = c->room ? 2 * c->room : 4;
    int32_t *ids = realloc(c->ids, (size_t)room * (size_t)c->length * sizeof *ids);
    if (ids) c->ids = ids;
    double *weight = ids ? realloc(c->weight, (size_t)room * (size_t)c->length * sizeof *weight) : NULL;
    if (!weight) return err("out of memory for a prompt of %d tokens", room * c->length);
    c->weight = weight, c->room = room;
    return 0;
}

/* The chunk is done, and the next is begun. */
static int end_chunk(Filler *f)
{
    int32_t *ids = ids_of(f);
    double  *weight = weights_of(f);
    int      length = f->chunks->length;
    ids[0] = f->tok->bos, ids[f->fill + 1] = f->tok->eos;
    for (int i = f->fill + 2; i < length; i++) ids[i] = f->tok->pad;
    for (int i = f->fill + 1; i < length; i++) weight[i] = 1;
    weight[0] = 1;
    f->chunks->count++, f->fill = 0, f->comma = -1;
    return make_room(f->chunks);
}

/* Tokens that belong together. */
static void put(Filler *f, const int32_t *ids, const double *weight, int n)
{
    memcpy(ids_of(f) + 1 + f->fill, ids, (size_t)n * sizeof *ids);
    memcpy(weights_of(f) + 1 + f->fill, weight, (size_t)n * sizeof *weight);
    f->fill += n;
}

/* Ends the full chunk behind its last comma, and begins the next with what stood there. */
static int move_on(Filler *f)
{
    int32_t ids[BACKTRACK];
    double  weight[BACKTRACK];
    int     kept = f->comma + 1, n = f->fill - kept;
    memcpy(ids, ids_of(f) + 1 + kept, (size_t)n * sizeof *ids);
    memcpy(weight, weights_of(f) + 1 + kept, (size_t)n * sizeof *weight);
    f->fill = kept;
    if (end_chunk(f)) return -1;
    put(f, ids, weight, n);
    return 0;
}

static int add_tokens(Filler *f, const int32_t *ids, int count, double weight)
{
    int room = f->chunks->length - 2;
    for (int i = 0, n; i < count; i += n) {
        n = tokenizer_word(f->tok, ids[i]);
        CHECK(n <= room && n <= count - i, "a word of %d tokens, %d of them here, room for %d", n, count - i, room);
        if (ids[i] == f->comma_id) f->comma = f->fill;
        else if (f->fill == room && f->comma >= 0 && f->fill - f->comma <= BACKTRACK && move_on(f)) return -1;
        if (f->fill + n > room && end_chunk(f)) return -1;
        for (int k = 0; k < n; k++) put(f, &ids[i + k], &weight, 1);
    }
    return 0;
}

static int add_part(Filler *f, const EmphasisPart *part)
{
    for (int i = 0; i < part->breaks; i++)
        if (end_chunk(f)) return -1;
    int      count = tokenizer_encode(f->tok, part->text, NULL, 0), status = -1;
    int32_t *ids = count < 0 ? NULL : malloc(((size_t)count + 1) * sizeof *ids);
    if (count >= 0 && !ids) err("out of memory for %d tokens", count);
    if (ids && tokenizer_encode(f->tok, part->text, ids, count) >= 0) status = add_tokens(f, ids, count, part->weight);
    free(ids);
    return status;
}

int chunks_add(Chunks *c, const Tokenizer *tok, const char *prompt, Emphasis emphasis)
{
    EmphasisParts parts = { 0 };
    Filler        f = { .chunks = c, .tok = tok, .comma = -1 };
    int           before = c->count;
    c->length = tok->length;
    int status = make_room(c) || emphasis_read(&parts, prompt, emphasis) || tokenizer_encode(tok, ",", &f.comma_id, 1) < 0 ? -1 : 0;
    for (int i = 0; i < parts.count && !status; i++) status = add_part(&f, &parts.part[i]);
    if (!status && (f.fill || c->count == before)) status = end_chunk(&f);
    emphasis_free(&parts);
    return status ? -1 : c->count - before;
}

void chunks_close(Chunks *c)
{
    free(c->ids);
    free(c->weight);
    *c = (Chunks){ 0 };
}
