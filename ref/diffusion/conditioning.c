#include "diffusion/conditioning.h"
#include "base/err.h"
#include <math.h>
#include <stdlib.h>

int conditioning_read(Conditioning *c, const Pipeline *p, const char *const *prompt, int rows, Emphasis emphasis)
{
    c->rows = rows;
    c->first = calloc((size_t)rows + 1, sizeof *c->first);
    if (!c->first) return err("out of memory for %d prompts", rows);
    for (int r = 0; r < rows; r++) {
        int n = chunks_add(&c->chunks, &p->tokenizer, prompt[r], emphasis);
        if (n < 0) return -1;
        c->first[r + 1] = c->first[r] + n;
        if (n > c->most) c->most = n;
    }
    return 0;
}

/* z (t,c) of type `type`: the states of one chunk. */
static void weigh(void *z, Type type, const double *weight, int tokens, int channels, Emphasis emphasis)
{
    double old = 0, new = 0, factor = 1;
    int    weighted = 0;
    for (int i = 0; i < tokens; i++) {
        double sum = 0;
        for (int j = 0; j < channels; j++) sum += type_get(type, z, (size_t)i * (size_t)channels + (size_t)j);
        old += sum, new += weight[i] * sum, weighted |= weight[i] != 1;
    }
    if (!weighted) return;
    if (emphasis == EMPHASIS_ORIGINAL && new != 0) factor = old / new;
    for (int i = 0; i < tokens; i++)
        for (int j = 0; j < channels; j++) {
            size_t k = (size_t)i * (size_t)channels + (size_t)j;
            type_set(type, z, k, type_get(type, z, k) * weight[i] * factor);
        }
}

int conditioning_encode(Conditioning *c, Pipeline *p, Emphasis emphasis)
{
    const Chunks *k = &c->chunks;
    int           width = p->model.clip.config.width;
    size_t        one = (size_t)k->length * (size_t)width * type_size(p->set->act);
    c->states = tensor_of(malloc((size_t)k->count * one), p->set->act, k->count, 1, k->length, width);
    if (!c->states.p) return err("out of memory for the text states of %d prompts", c->rows);
    tape_reset(&p->tape, TAPE_INFER);
    if (p->dump) p->tape.tap = dump_tap, p->tape.tap_ctx = p->dump;
    Var *text = pipeline_text(p, k->ids, k->count);
    p->tape.tap = NULL;
    if (tape_status(&p->tape) || p->set->download(p->set, c->states, text->t) || p->set->sync(p->set)) return -1;
    for (int i = 0; i < k->count; i++)
        weigh((char *)c->states.p + (size_t)i * one, c->states.type, k->weight + (size_t)i * (size_t)k->length, k->length, width, emphasis);
    return 0;
}

void conditioning_close(Conditioning *c)
{
    chunks_close(&c->chunks);
    free(c->first);
    free(c->states.p);
    *c = (Conditioning){ 0 };
}

int conditioning_run(const Conditioning *c, int row)
{
    int n = 1, chunks = c->first[row + 1] - c->first[row];
    while (row + n < c->rows && c->first[row + n + 1] - c->first[row + n] == chunks) n++;
    return n;
}

Tensor conditioning_rows(const Conditioning *c, int row, int n)
{
    int chunks = c->first[row + 1] - c->first[row];
    return tensor_of(tensor_images(c->states, c->first[row], 1).p, c->states.type, n, 1, chunks * c->states.w, c->states.c);
}
