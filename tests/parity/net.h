/* net.h - the passes of golden/make.py, by this program: forward, one training step, sampling.
 *
 * Each pass leaves what it showed in `out`, under the names of the golden file. A tape that failed ends the program through CHECK. */
#ifndef PARITY_NET_H
#define PARITY_NET_H
#include "diffusion/schedule.h"
#include "lora/lora.h"
#include "nn/tape.h"
#include "values.h"

/* What golden/make.py keeps in its table CONFIGS and not in a file. */
typedef struct {
    const char *key;
    LoraRules   rules;
    double      min_snr;                                /* 0: all losses weigh the same */
} Config;

typedef struct {
    const Config *config;
    Set          *set;
    Checkpoint    model;
    Schedule      schedule;
    Tape          tape;
} Net;

int  net_open(Net *net, const Config *config, const char *model, Set *set);    /* 0, or -1 and err() */
void net_close(Net *net);

/* Text states, the U-Net's outputs block by block. prefix "" or "lora.". */
void net_forward(Net *net, Gold *gold, const char *prefix, Values *out);
void net_text(Net *net, Gold *gold, const char *ids, const char *what, Values *out);     /* text states alone, of these ids and under that name */
void net_vae(Net *net, Gold *gold, Values *out);

/* A batch as training sees it, all on the host: n pictures' ids (n,1,T,1), latents and noise (n,h,w,4), times (n,1,1,1); what goes in and shall come out. */
typedef struct {
    Tensor ids, latents, noise, t;
    Tensor noisy, target, weight;
} Batch;
Batch batch_read(const Net *net, Gold *gold, const char *prefix);       /* "in", "in.3" */
Batch batch_draw(const Net *net, int n, int h, int w, uint64_t seed);
void  batch_close(Batch *b);

/* Forward, loss, and, unless mode is TAPE_INFER, the gradients of the LoRA. Leaves noisy, target, weight, loss and grad.*; returns the mean loss. */
double net_train(Net *net, Lora *lora, const Batch *b, TapeMode mode, Values *out);

/* One path, "euler.karras", with what the files say: noise, fresh noise of ancestral steps, prompts. */
void net_sample(Net *net, Gold *gold, const char *path, Values *out);
#endif
