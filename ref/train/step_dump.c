#include "train/step_dump.h"
#include "base/err.h"
#include "io/file.h"
#include <stdio.h>

void step_dump_batch(Trainer *t, const Batch *b, const StepBatch *batch)
{
    Dump *d = t->dump;
    Tape *tape = &t->pipeline.tape;
    int   n = batch->n, h = batch->h, w = batch->w, c = batch->c;
    dump_host(d, tensor_of(t->ids, T_I32, n, 1, batch->chunks * batch->tokens, 1), 2, "in.ids");
    dump_host(d, tensor_of(t->timestep, T_I32, n, 1, 1, 1), 1, "in.t");
    dump_host(d, tensor_of(t->latent, T_F64, n, h, w, c), 4, "in.latents");
    dump_host(d, tensor_of(t->noise, T_F64, n, h, w, c), 4, "in.noise");
    dump_host(d, tensor_of(t->x, T_F64, n, h, w, c), 4, "train.noisy");
    dump_host(d, tensor_of(t->target, T_F64, n, h, w, c), 4, "train.target");
    dump_host(d, tensor_of(t->weight, T_F64, n, 1, 1, 1), 1, "train.weight");
    for (int j = 0; j < n; j++) {
        const Picture *p = &t->concepts.picture[t->batches.picture[b->first + j]];
        char           key[32];
        snprintf(key, sizeof key, "picture.%d", j);
        dump_note(d, key, "%s/%s", t->concepts.concept[p->concept].folder, path_name(p->path));
        snprintf(key, sizeof key, "caption.%d", j);
        dump_note(d, key, "%s", p->caption);
    }
    tape->tap = dump_tap, tape->tap_ctx = d;
}

/* A block of the LoRA's numbers, each tensor in the shape that its file has. */
static void dump_lora(Dump *d, const Lora *lora, const char *prefix, Tensor block)
{
    for (int i = 0; i < lora->modules; i++) {
        const LoraModule *m = &lora->module[i];
        int               part[2] = { m->adapter.down, m->adapter.up };
        for (int k = 0; k < 2; k++) {
            const Param *p = &lora->params.param[part[k]];
            dump_put(d, tensor_of(tensor_at(block, p->offset), block.type, p->o, p->k, p->k, p->i), m->layer->conv ? 4 : 2, "%s.%s", prefix, p->name);
        }
    }
}

static void dump_settings(Dump *d, const Trainer *t)
{
    const TrainConfig *c = t->config;
    const Schedule    *s = &t->pipeline.schedule;
    dump_note(d, "format", "sdlora-dump-1");
    dump_note(d, "step", "%d", t->at.step + 1);
    dump_note(d, "epoch", "%d", t->at.epoch + 1);
    dump_note(d, "prediction", "%s", s->prediction == PREDICT_V ? "v" : "epsilon");
    dump_note(d, "min_snr_gamma", "%.17g", c->min_snr_gamma);
    dump_note(d, "gradient_accumulation_steps", "%d", c->gradient_accumulation_steps);
    dump_note(d, "adam", "%.17g,%.17g,%.17g,%.17g", c->adam_beta1, c->adam_beta2, c->adam_epsilon, c->weight_decay);
    dump_note(d, "max_grad_norm", "%.17g", c->max_grad_norm);
    dump_host(d, tensor_of((void *)s->ac, T_F64, 1, 1, 1, s->timesteps), 1, "schedule.alphas_cumprod");
}

int step_dump_run(Trainer *t, TrainReport *report, const char *dir)
{
    Dump  d;
    char  path[PATH_SIZE], file[48], before[32], after[32];
    int   step = t->at.step + 1;
    snprintf(file, sizeof file, "step-%08d.safetensors", step);
    snprintf(before, sizeof before, "step%d", step - 1);
    snprintf(after, sizeof after, "step%d", step);
    if (dir_make(dir) || path_join(path, dir, file)) return -1;
    dump_open(&d, t->pipeline.set);
    dump_settings(&d, t);
    dump_lora(&d, &t->lora, before, t->lora.params.w);

    t->dump = &d;
    int status = trainer_step(t, report);
    t->dump = NULL;

    dump_prefix(&d, "%s", "");
    dump_lora(&d, &t->lora, "grad", t->lora.params.g);
    dump_lora(&d, &t->lora, after, t->lora.params.w);
    dump_host(&d, tensor_of(&report->loss, T_F64, 1, 1, 1, 1), 0, "train.loss");
    dump_note(&d, "loss", "%.17g", report->loss);
    dump_note(&d, "norm", "%.17g", report->norm);
    dump_note(&d, "loss_scale", "%.17g", t->lora.params.scale);
    dump_note(&d, "lr_unet", "%.17g", report->lr_unet);
    dump_note(&d, "lr_text_encoder", "%.17g", report->lr_text);
    return dump_write(&d, path) || status ? -1 : 0;
}
