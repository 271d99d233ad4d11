#include "diffusion/conditioning.h"
#include "base/err.h"
#include "text/prompt.h"
#include <stdlib.h>
#include <string.h>

/* The chunks of each text, and how many the longest has: all are filled up to that. 0, or -1 and err(). */
static int add_texts(Conditioning *c, const Tokenizer *tok, const Edit *edit, ConditioningRow *row, Emphasis emphasis)
{
    Chunks alone = { 0 };
    int    status = 0;
    for (int i = 0; i < edit->count && !status; i++) {
        int n = chunks_add(&alone, tok, edit->text[i].text, emphasis);
        if (n < 0) status = -1;
        if (n > row->chunks) row->chunks = n;
    }
    chunks_close(&alone);
    for (int i = 0; i < edit->count && !status; i++) {
        int n = chunks_add(&c->chunks, tok, edit->text[i].text, emphasis);
        for (; n >= 0 && n < row->chunks && !status; n++)
            if (chunks_add(&c->chunks, tok, "", EMPHASIS_NONE) < 0) status = -1;
        if (n < 0) status = -1;
    }
    return status;
}

static int add_row(Conditioning *c, const Tokenizer *tok, const PromptPart *part, Emphasis emphasis, int steps)
{
    const Edit      *edit = &part->edit;
    ConditioningRow *more = realloc(c->row, ((size_t)c->rows + 1) * sizeof *more);
    int             *numbers = malloc(((size_t)edit->count + (size_t)steps) * sizeof *numbers);
    if (more) c->row = more;
    if (!more || !numbers) return free(numbers), err("out of memory for %d prompts", c->rows + 1);
    ConditioningRow *row = &c->row[c->rows++];
    *row = (ConditioningRow){ part->weight, c->chunks.count, 0, edit->count, numbers, numbers + edit->count };
    if (add_texts(c, tok, edit, row, emphasis)) return -1;
    for (int i = 0; i < edit->count; i++) row->times[i] = edit->text[i].times;
    for (int i = 0; i < steps; i++) row->at[i] = row->first + edit->at[i] * row->chunks;
    if (row->chunks > c->most) c->most = row->chunks;
    return 0;
}

int conditioning_add(Conditioning *c, const Tokenizer *tok, const char *text, int negative, Emphasis emphasis, int steps)
{
    Prompt prompt;
    int    status = prompt_read(&prompt, text, negative, emphasis, steps), count = prompt.count;
    for (int i = 0; i < count && !status; i++) status = add_row(c, tok, &prompt.part[i], emphasis, steps);
    prompt_free(&prompt);
    return status ? -1 : count;
}

/* ---- weights ---- */

static void *states_of(const Conditioning *c, int chunk) { return tensor_images(c->states, chunk, 1).p; }

/* Adds the sums of a chunk's states before and after weighting. Is any weight not 1? */
static int add_sums(double *old, double *new, const Conditioning *c, int chunk, int times)
{
    const void   *z = states_of(c, chunk);
    const double *weight = c->chunks.weight + (size_t)chunk * (size_t)c->chunks.length;
    size_t        k = 0;
    int           weighted = 0;
    for (int i = 0; i < c->states.w; i++) {
        double sum = 0;
        for (int j = 0; j < c->states.c; j++, k++) sum += type_get(c->states.type, z, k);
        *old += times * sum, *new += times * weight[i] * sum, weighted |= weight[i] != 1;
    }
    return weighted;
}

static void weigh(const Conditioning *c, int chunk, double factor)
{
    void         *z = states_of(c, chunk);
    const double *weight = c->chunks.weight + (size_t)chunk * (size_t)c->chunks.length;
    size_t        k = 0;
    for (int i = 0; i < c->states.w; i++)
        for (int j = 0; j < c->states.c; j++, k++) type_set(c->states.type, z, k, type_get(c->states.type, z, k) * weight[i] * factor);
}

/* The k-th chunks of all texts of a row. */
static void weigh_together(const Conditioning *c, const ConditioningRow *row, int k, Emphasis emphasis)
{
    double old = 0, new = 0;
    int    weighted = 0;
    for (int i = 0; i < row->texts; i++) weighted |= add_sums(&old, &new, c, row->first + i * row->chunks + k, row->times[i]);
    double factor = emphasis == EMPHASIS_ORIGINAL && new != 0 ? old / new : 1;
    for (int i = 0; i < row->texts && weighted; i++) weigh(c, row->first + i * row->chunks + k, factor);
}

int conditioning_encode(Conditioning *c, Pipeline *p, Emphasis emphasis)
{
    const Chunks *k = &c->chunks;
    int           width = p->model.clip.config.width;
    size_t        one = (size_t)k->length * (size_t)width * type_size(p->set->act);
    c->states = tensor_of(malloc((size_t)k->count * one), p->set->act, k->count, 1, k->length, width);
    c->now = malloc((size_t)c->rows * (size_t)c->most * one);
    if (!c->states.p || !c->now) return err("out of memory for the text states of %d prompts", c->rows);
    tape_reset(&p->tape, TAPE_INFER);
    if (p->dump) p->tape.tap = dump_tap, p->tape.tap_ctx = p->dump;
    Var *text = pipeline_text(p, k->ids, k->count);
    p->tape.tap = NULL;
    if (tape_status(&p->tape) || p->set->download(p->set, c->states, text->t) || p->set->sync(p->set)) return -1;
    for (int r = 0; r < c->rows; r++)
        for (int i = 0; i < c->row[r].chunks; i++) weigh_together(c, &c->row[r], i, emphasis);
    return 0;
}

void conditioning_close(Conditioning *c)
{
    for (int r = 0; r < c->rows; r++) free(c->row[r].times);
    chunks_close(&c->chunks);
    free(c->row);
    free(c->states.p);
    free(c->now);
    *c = (Conditioning){ 0 };
}

/* ---- what a step is told ---- */

int conditioning_run(const Conditioning *c, int row)
{
    int n = 1;
    while (row + n < c->rows && c->row[row + n].chunks == c->row[row].chunks) n++;
    return n;
}

Tensor conditioning_rows(Conditioning *c, int row, int n, int step)
{
    int    chunks = c->row[row].chunks;
    size_t size = (size_t)chunks * c->states.img * type_size(c->states.type);
    for (int r = 0; r < n; r++) memcpy((char *)c->now + (size_t)r * size, states_of(c, c->row[row + r].at[step]), size);
    return tensor_of(c->now, c->states.type, n, 1, chunks * c->states.w, c->states.c);
}
