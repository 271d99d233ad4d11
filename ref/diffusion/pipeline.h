/* pipeline.h - a model ready for work: checkpoint, tokenizer, noise schedule and the memory to run in; and the way from prompts to pictures. */
#ifndef DIFFUSION_PIPELINE_H
#define DIFFUSION_PIPELINE_H
#include "base/progress.h"
#include "diffusion/sampler.h"
#include "io/image.h"
#include "model/checkpoint.h"
#include "nn/dump.h"
#include "text/emphasis.h"
#include "text/tokenizer.h"

typedef struct {
    Set       *set;
    Checkpoint model;
    Tokenizer  tokenizer;
    Schedule   schedule;
    Tape       tape;
    Dump      *dump;                                    /* where pipeline_sample sets its values aside; NULL: nowhere */
} Pipeline;

int  pipeline_open(Pipeline *p, const ModelSource *source, const char *set);    /* 0, or -1 and err(); nothing is left to close */
int  pipeline_open_on(Pipeline *p, const ModelSource *source, Set *set);        /* the same; set may be NULL: -1, err() as it was */
void pipeline_close(Pipeline *p);

/* The tokenizer alone, where the model is there, perhaps only described. 0, or -1 and err(). */
int pipeline_open_tokenizer(Pipeline *p);

/* The noise schedule alone, likewise; source: where the model is from, for the message. */
int pipeline_open_schedule(Pipeline *p, const ModelSource *source);

/* Text states (n,1,t,c) of token ids (n,t), under the tape's mode. */
Var *pipeline_text(Pipeline *p, const int32_t *ids, int n);

/* What the pictures of one call share, and what each has of its own. */
typedef struct {
    SamplerKind sampler;
    SigmaKind   sigmas;
    int         w, h, steps;                            /* pixels: multiples of checkpoint_step */
    double      cfg;                                    /* classifier-free guidance; 1: the prompt alone, at half the work */
    Emphasis    emphasis;
    const char *(*stop)(void);                          /* asked before each step: not NULL ends it, and is why; may be NULL */
} SampleSettings;

typedef struct {
    const char *prompt, *negative;
    uint32_t    seed;                                   /* of torch's CPU generator, for the first noise and the later */
} SamplePicture;

/* Can the model make pictures of this size? 0, or -1 and err(). */
int pipeline_takes(const Pipeline *p, int w, int h);

/* image[0..n) = the pictures, computed together; the caller frees them. Each step counts in *done and shows on progress. 0, or -1 and err(), no image made;
 * or 1 and err(), of the first: pictures whose numbers are not finite are {0}, the others are made. */
int pipeline_sample(Pipeline *p, const SampleSettings *s, const SamplePicture *picture, int n, Image *image, Progress *progress, int *done);
#endif
