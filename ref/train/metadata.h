/* metadata.h - what a LoRA file says of its training, in the keys and the spelling of kohya's scripts, so that every program that reads those reads ours.
 *
 * Values are the str() of Python values: None, True, 0.0001, 1e-05, (512, 512); nested ones are JSON as Python's json.dumps spells it. ss_*: the run, its
 * pictures and their tags, for those keys that have a meaning here; modelspec.*: Stability AI's specification 1.0.1. lora_save adds sshs_*, the hashes.
 * With --no_metadata only what readers need is left of ss_*.
 *
 * Where SOURCE_DATE_EPOCH is set (reproducible-builds.org) it is the time, and the session's number is the seed: equal runs then give equal bytes. */
#ifndef TRAIN_METADATA_H
#define TRAIN_METADATA_H
#include "train/trainer.h"

typedef struct {
    SafetensorsPair *pair;                              /* keys and values are ours */
    int              pairs, room, failed;
} Metadata;

/* What stays the same over the run. 0, or -1 and err(). */
int  metadata_open(Metadata *m, const Trainer *t);
void metadata_close(Metadata *m);

/* What has changed since: steps, epoch, the time. 0, or -1 and err(). */
int metadata_update(Metadata *m, const Trainer *t);

/* text (32 bytes) = repr(x) of Python: the shortest digits that read back as x. "0.001", "16.0", "1e-05". */
void python_float(char text[32], double x);
#endif
