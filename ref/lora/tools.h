/* tools.h - LoRA files to LoRA files: another layout, another rank, several in one; and models: a LoRA added, or what a tuned one has learned taken out.
 *
 * Sums are made in double and rounded once, to the type that is written. What is written is read back and compared. Each returns 0, or -1 and err(). */
#ifndef LORA_TOOLS_H
#define LORA_TOOLS_H
#include "lora/out.h"
#include "model/model_files.h"
#include <stdio.h>

/* How to write: T_COUNT: each tensor as it is, or, where numbers are new, f32. strip: no metadata. */
typedef struct {
    const char *path;
    LoraLayout  layout;
    Type        type;
    int         strip;
} LoraTarget;

int lora_convert(const LoraTarget *to, const char *from);

/* Which of the singular values s_1 >= s_2 >= ... are kept, at most `rank` of them, as kohya's resize_lora.py counts. */
typedef enum {
    KEEP_RANK,                                          /* the first `rank` */
    KEEP_RATIO,                                         /* those above s_1 / param, and one more */
    KEEP_FRO,                                           /* the fewest whose squares sum up to param^2 of all squares, and one more */
    KEEP_CUMULATIVE,                                    /* the fewest that sum up to param of all, and one more */
} LoraKeep;

typedef struct {
    int      rank, conv_rank;                           /* of convolutions larger than 1x1; 0: the same */
    LoraKeep keep;
    double   param;
} LoraRank;

/* How many of n descending values are kept. */
int lora_keep(const double *s, int n, int rank, LoraKeep keep, double param);

/* report: a line a module, what of it is left; NULL: none. */
int lora_resize(const LoraTarget *to, const char *from, const LoraRank *rank, FILE *report);

/* The sum of the files, each times its ratio: exact, at the sum of the ranks; or, with a rank, the nearest of that rank. DoRA is refused, and LoHa and LoKr
 * without a rank: such a sum is no LoRA. Learned words are carried along; one that two files have is refused. */
int lora_join(const LoraTarget *to, const LoraTerm *term, int terms, const LoraRank *rank, FILE *report);

/* The model with the files added to its weights, as a folder or a single file; type T_COUNT: each tensor keeps its own. A model has no place for learned
 * words: they are refused like other tensors without one. */
int lora_merge_model(const char *to, ModelLayout layout, Type type, const ModelSource *model, const LoraTerm *term, int terms, int unmatched);

typedef struct {
    LoraRank    rank;                                   /* conv_rank 0: convolutions larger than 1x1 are left out */
    double      min_diff;                               /* a text encoder in which no number differs by more is left out */
    double      clamp_quantile;                         /* as kohya: values beyond this quantile are cut to it; 1: none */
} LoraExtract;

/* What `tuned` has more than `org`, of the modules of kohya's LoRA, nearly (lora/matrix.h): alpha is the rank. */
int lora_extract(const LoraTarget *to, const ModelSource *org, const ModelSource *tuned, const LoraExtract *how, FILE *report);
#endif
