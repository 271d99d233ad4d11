#include "data/text_states.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

int text_states_open(TextStates *s, Pipeline *p, int chunks)
{
    size_t bytes = (size_t)chunk_tokens(p->tokenizer.length, chunks) * (size_t)p->model.clip.config.width * type_size(p->set->act);
    size_t most = TEXT_STATES_MEMORY / bytes + 1;
    *s = (TextStates){ .pipeline = p, .chunks = chunks, .most = most < 1 << 16 ? (int)most : 1 << 16, .bytes = bytes };
    s->room = 2 * s->most;
    s->state = calloc((size_t)s->room, sizeof *s->state);
    return s->state ? 0 : err("out of memory for %d text states", s->most);
}

static void forget(TextStates *s)
{
    for (int i = 0; s->state && i < s->room; i++) {
        free(s->state[i].ids);
        free(s->state[i].states);
        s->state[i] = (TextState){ NULL, NULL };
    }
    s->count = 0;
}

void text_states_close(TextStates *s)
{
    forget(s);
    free(s->state);
    *s = (TextStates){ 0 };
}

/* The place of these ids, or the empty one where they belong. Hash: FNV-1a (Fowler, Noll & Vo). */
static TextState *place_of(TextStates *s, const int32_t *ids)
{
    int      length = s->chunks * s->pipeline->tokenizer.length;
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < length; i++) hash = (hash ^ (uint32_t)ids[i]) * 1099511628211u;
    for (size_t at = hash % (size_t)s->room;; at = (at + 1) % (size_t)s->room) {
        TextState *t = &s->state[at];
        if (!t->ids || memcmp(t->ids, ids, (size_t)length * sizeof *ids) == 0) return t;
    }
}

static int encode(void *to, TextStates *s, const int32_t *ids)
{
    Pipeline *p = s->pipeline;
    tape_reset(&p->tape, TAPE_INFER);
    Var *text = nn_chunks(&p->tape, pipeline_text(p, ids, s->chunks), s->chunks);
    if (tape_status(&p->tape) || p->set->download(p->set, tensor_of(to, p->set->act, 1, 1, text->t.w, text->t.c), text->t)) return -1;
    return p->set->sync(p->set);
}

int text_states_get(void *to, TextStates *s, const int32_t *ids)
{
    TextState *t = place_of(s, ids);
    if (t->ids) return memcpy(to, t->states, s->bytes), 0;
    if (encode(to, s, ids)) return -1;
    if (s->count == s->most) forget(s), t = place_of(s, ids);
    size_t   length = (size_t)(s->chunks * s->pipeline->tokenizer.length) * sizeof *ids;
    int32_t *key = malloc(length);
    void    *states = malloc(s->bytes);
    if (!key || !states) return free(key), free(states), err("out of memory for a text state");
    *t = (TextState){ memcpy(key, ids, length), memcpy(states, to, s->bytes) };
    s->count++;
    return 0;
}
