#include "train/step.h"
#include "ops/null_count.h"
#include <stdlib.h>

/* Text states: computed, in the mode of what trains the text encoder, or given. */
static Var *text_of(Tape *t, const Checkpoint *model, const StepBatch *b, TapeMode mode)
{
    tape_reset(t, mode);
    Type  act = t->set->act;
    int   tokens = chunk_tokens(b->tokens, b->chunks);
    void *ids = (void *)b->ids, *states = (void *)b->text;
    Var  *text = b->text ? tape_constant(t, act, tensor_of(states, act, b->n, 1, tokens, model->clip.config.width))
                         : clip_forward(t, &model->clip, tape_constant(t, T_I32, tensor_of(ids, T_I32, b->n * b->chunks, 1, b->tokens, 1)));
    if (!b->text && b->chunks > 1) text = nn_chunks(t, text, b->chunks);
    if (b->text || b->chunks > 1) tape_name(t, text, b->chunks > 1 ? "text.states" : "text.hidden");
    return text;
}

int step_pass(Tape *t, const Checkpoint *model, const Lora *lora, const StepBatch *b, TapeMode mode, double share, double *loss)
{
    Set *set = t->set;
    int  n = b->n, c0 = model->unet.config.channels[0];
    Var *text = text_of(t, model, b, lora->text_group >= 0 ? mode : TAPE_INFER);
    tape_mode(t, mode);
    Var *x = tape_constant(t, set->act, tensor_of((void *)b->x, T_F64, n, b->h, b->w, b->c));
    Var *sines = tape_constant(t, set->act, tensor_of((void *)b->sines, T_F64, n, 1, 1, c0));
    Var *target = tape_constant(t, set->acc, tensor_of((void *)b->target, T_F64, n, b->h, b->w, b->c));
    Var *weight = tape_constant(t, set->acc, tensor_of((void *)b->weight, T_F64, n, 1, 1, 1));
    Var *pred = unet_forward(t, &model->unet, x, sines, text);
    Var *each = nn_loss(t, pred, target, weight, lora->params.ctl, LOSS_L2, share);
    if (tape_status(t) || set->download(set, tensor_of(loss, T_F64, n, 1, 1, 1), each->t)) return -1;
    return tape_backward(t) || set->sync(set) ? -1 : 0;
}

/* ---- cost ---- */

size_t step_arena(const StepCost *c)
{
    size_t bottom = c->activations + c->scratch;
    return (bottom > c->before ? bottom : c->before) + c->gradients;
}

size_t step_memory(const StepCost *c) { return c->weights + c->trainable + step_arena(c); }

/* FLOPs since the last call. */
static double flops(const Set *null, double *before)
{
    double now = null_count(null)->cost.flops, since = now - *before;
    *before = now;
    return since;
}

/* What comes before the first step: each picture through the autoencoder and, where the text encoder is frozen, each caption through it. */
static size_t encoding(Tape *t, const Checkpoint *model, const StepBatch *b)
{
    int factor = vae_factor(&model->vae.config);
    t->arena.peak_bottom = 0;
    tape_reset(t, TAPE_INFER);
    vae_encode(t, &model->vae, tape_new(t, t->set->act, 1, factor * b->h, factor * b->w, 3));
    tape_reset(t, TAPE_INFER);
    if (b->text) nn_chunks(t, clip_forward(t, &model->clip, tape_new(t, T_I32, b->chunks, 1, b->tokens, 1)), b->chunks);
    return t->arena.peak_bottom;
}

static int replay(StepCost *c, Tape *t, const Checkpoint *model, Lora *lora, const StepBatch *b, TapeMode mode)
{
    const ParamUpdate update = { .step = 1 };
    const NullCount  *count = null_count(t->set);
    double            loss, before = 0;
    if (step_pass(t, model, lora, b, TAPE_INFER, 1, &loss)) return -1;
    c->forward = flops(t->set, &before);
    if (step_pass(t, model, lora, b, mode, 1, &loss)) return -1;
    c->backward = flops(t->set, &before) - c->forward;
    c->scratch = count->end == (size_t)(uintptr_t)t->arena.base + t->arena.peak_bottom ? count->scratch : 0;
    c->activations = t->arena.peak_bottom - c->scratch;
    c->gradients = t->arena.peak_top;
    if (params_clear(&lora->params) || params_update(&lora->params, &update)) return -1;
    c->update = flops(t->set, &before);
    c->before = encoding(t, model, b);
    return tape_status(t);
}

static int with_adapters(StepCost *c, Checkpoint *model, Set *null, const LoraRules *rules, const StepBatch *b, TapeMode mode)
{
    Lora lora;
    Tape tape;
    if (lora_attach(&lora, model, rules)) return -1;
    size_t work = lora.params.work.p == lora.params.w.p ? 0 : type_size(null->act);
    c->weights = weights_bytes(&model->clip.weights) + weights_bytes(&model->unet.weights) + weights_bytes(&model->vae.weights);
    c->trainable = lora.params.count * (4 * type_size(null->acc) + work);
    int status = tape_open(&tape, null, (size_t)1 << 46);
    if (!status) status = replay(c, &tape, model, &lora, b, mode);
    tape_close(&tape);
    lora_detach(&lora);
    return status;
}

int step_cost(StepCost *c, const ModelSource *source, const Set *like, const LoraRules *rules, int n, int h, int w, int tokens, int chunks,
              TapeMode mode)
{
    Checkpoint model;
    Set       *null = set_null(like);
    int        status = null ? checkpoint_describe_source(&model, source, null) : -1;
    if (!status) {
        c->blocks = null_count(null)->allocated;
        StepBatch b = { .n = n, .h = h, .w = w, .c = model.unet.config.in, .tokens = tokens, .chunks = chunks,
                        .text = rules->text ? NULL : null };        /* any address */
        status = with_adapters(c, &model, null, rules, &b, mode);
        checkpoint_close(&model);
    }
    free(null);
    return status;
}
