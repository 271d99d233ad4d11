#include "train/step.h"
#include <stdlib.h>

/* Text states: computed, in the mode of what trains the text encoder, or given. */
static Var *text_of(Tape *t, const Checkpoint *model, const StepBatch *b, TapeMode mode)
{
    tape_reset(t, mode);
    if (!b->text) return clip_forward(t, &model->clip, tape_constant(t, T_I32, tensor_of((void *)b->ids, T_I32, b->n, 1, b->tokens, 1)));
    Var *text = tape_constant(t, t->set->act, tensor_of((void *)b->text, t->set->act, b->n, 1, b->tokens, model->clip.config.width));
    tape_name(t, text, "text.hidden");
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

/* ---- memory ---- */

size_t step_memory_total(const StepMemory *m) { return m->weights + m->trainable + m->activations + m->gradients; }

static int replay(StepMemory *m, Checkpoint *model, Set *set, const LoraRules *rules, const StepBatch *b, TapeMode mode)
{
    Lora   lora;
    Tape   tape;
    double loss;
    if (lora_attach(&lora, model, rules)) return -1;
    int status = tape_open(&tape, set, (size_t)1 << 46);
    if (!status) status = step_pass(&tape, model, &lora, b, mode, 1, &loss);
    size_t work = lora.params.work.p == lora.params.w.p ? 0 : type_size(set->act);
    *m = (StepMemory){ weights_bytes(&model->clip.weights) + weights_bytes(&model->unet.weights) + weights_bytes(&model->vae.weights),
                       lora.params.count * (4 * type_size(set->acc) + work), tape.arena.peak_bottom, tape.arena.peak_top };
    tape_close(&tape);
    lora_detach(&lora);
    return status;
}

int step_memory(StepMemory *m, const char *path, const Set *like, const LoraRules *rules, int n, int h, int w, int tokens, TapeMode mode)
{
    Checkpoint model;
    Set       *set = set_null(like);
    int        status = set ? checkpoint_describe(&model, path, set) : -1;
    if (!status) {
        StepBatch b = { .n = n, .h = h, .w = w, .c = model.unet.config.in, .tokens = tokens, .text = rules->text ? NULL : set };      /* any address */
        status = replay(m, &model, set, rules, &b, mode);
        checkpoint_close(&model);
    }
    free(set);
    return status;
}
