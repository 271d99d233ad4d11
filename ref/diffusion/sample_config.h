/* sample_config.h - everything that decides which pictures are made, under the names of the web UI's API; and one line of a prompt file.
 *
 * `sdlora sample` fills it from the table in cli/option_table.c, where each field's default, range and explanation stand. Texts belong to the command line
 * and outlive the run. A text not given is NULL. */
#ifndef DIFFUSION_SAMPLE_CONFIG_H
#define DIFFUSION_SAMPLE_CONFIG_H
#include "diffusion/sampler.h"
#include "model/model_files.h"
#include "text/emphasis.h"
#include <stdbool.h>
#include <stdint.h>

enum { MAX_TEXTS = 16, MAX_PROMPT = 4096, MAX_PARAMETERS = 4 * MAX_PROMPT };  /* MAX_PARAMETERS: bytes of prompt_line_describe, LoRAs and words aside */
enum { MIN_SIDE = 8, MAX_SIDE = 4096, MAX_STEPS = 1000, MAX_CFG = 100 };
#define MAX_SEED UINT32_MAX                             /* as in the web UI */

typedef struct {
    const char *item[MAX_TEXTS];
    int         count;
} TextList;

typedef struct {
    const char *model;                                  /* a folder in the diffusers layout, or a single file */
    const char *vae, *text_encoder;                     /* these parts from elsewhere; NULL: the model's own */
    const char *tokenizer;                              /* the folder of vocab.json and merges.txt; NULL: the model's own */
    bool        ema;                                    /* a single file's averaged U-Net */
    bool        v2, v_parameterization;                 /* what a single file does not say: SD 2.x; it predicts v, not noise */
    int         clip_skip;                              /* the layer of the text encoder that is read, from the last; 0: not given, 1 */
    TextList    lora;                                   /* each FILE or FILE:WEIGHT; see lora_argument */
    TextList    embeddings;                             /* files and folders of words; see embeddings_offer */
    bool        allow_unmatched;                        /* a LoRA's tensors without a place in the model are passed over */

    const char *prompt, *negative_prompt;               /* prompt NULL: from_file has them */
    const char *from_file;                              /* a file of prompt lines */
    Emphasis    emphasis;                               /* how brackets are read */

    SamplerKind sampler_name;
    SigmaKind   scheduler;
    int         steps;
    double      cfg_scale;
    int64_t     seed;                                   /* of the first picture, the next has the next; -1: drawn anew each time */
    int         width, height;                          /* pixels; 0: the model's native size */
    int         batch_size;                             /* pictures computed together */
    int         n_iter;                                 /* pictures of each prompt */

    bool        compare;                                /* each picture without the LoRAs, too, side by side */
    const char *output_dir;
    const char *grid;                                   /* file of a labelled grid of the pictures, or NULL */
    int         grid_rows;                              /* prompts in it; 0: all */

    const char *set;                                    /* name of a kernel set */
    int         device;                                 /* of the set, where it has several */
    int         threads;                                /* 0: one a processor */
    const char *dump;                                   /* a folder for everything that is computed */
    const char *trace;                                  /* where the time of each operation goes: TRACE.svg, TRACE.txt */
} SampleConfig;

/* Refuses what contradicts itself: -1 and err(). Once, after parsing. */
int sample_config_check(const SampleConfig *config);
int sample_config_prompts(const SampleConfig *config);  /* the prompts, by text/prompt.h: gallery_run does, before it reads a model. 0, or -1 and err() */

/* Where its model comes from. */
ModelSource sample_config_source(const SampleConfig *config);

/* One picture to make: a line of a prompt file, or the command line itself. */
typedef struct {
    char    prompt[MAX_PROMPT], negative_prompt[MAX_PROMPT];
    int     width, height, steps;                       /* ranges and 0 as above */
    int64_t seed;
    double  cfg_scale;
    Emphasis emphasis;
} PromptLine;

/* What the command line says; prompt is "" where from_file has them. The texts fit: sample_config_check has seen to it. */
PromptLine prompt_line_of(const SampleConfig *config);

/* Reads kohya's syntax into *line, which holds what the text leaves out (prompt_line_of):
 *   prompt --n negative prompt --w width --h height --d seed --s steps --l cfg_scale
 * 1: read; 0: the text is empty or a comment (#); -1 and err("PATH:NUMBER: ..."): an unknown or repeated option, a value out of its range, or what prompt_check
 * refuses. */
int prompt_line_parse(PromptLine *line, const char *text, const char *path, int number);

/* Prompt lines, of a file or put together one by one. Opened as { 0 }. */
typedef struct {
    PromptLine *line;
    int         count, room;
} PromptLines;

int  prompt_lines_add(PromptLines *lines, const PromptLine *line);      /* 0, or -1 and err() */
void prompt_lines_close(PromptLines *lines);

/* Adds the lines of a file. Each begins as *first does, its seed `seeds` more than that of the line before. 0, or -1 and err(): also where there is none. */
int prompt_lines_read(PromptLines *lines, const char *path, const PromptLine *first, int seeds);

/* What the web UI writes into a picture as its `parameters`, and reads again. loras: "" or " <lora:name:1>"; of the model the name counts, and its clip skip;
 * words: "" or of embeddings_hashes. 0, or -1 and err(): snprintf may ask for memory, and print nothing where it has none. */
int prompt_line_describe(char *out, size_t size, const PromptLine *line, uint32_t seed, SamplerKind sampler, SigmaKind sigmas, const char *loras,
                         const ModelSource *model, const char *words);

/* Splits FILE:WEIGHT at its last colon where a number follows; *weight is 1 without one. path has room for `size` bytes. 0, or -1 and err(). */
int lora_argument(char *path, size_t size, double *weight, const char *text);
#endif
