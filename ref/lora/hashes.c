#include "lora/hashes.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

/* Of the file that these entries and metadata would make. 0, or -1 and err(). */
static int hashes_of(char model[HASH_SIZE], char legacy[HASH_SIZE], const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs)
{
    enum { LEGACY_AT = 0x100000, LEGACY_SIZE = 0x10000, LEGACY_DIGITS = 8 };
    SafetensorsPair *ss = calloc((size_t)pairs + 1, sizeof *ss);
    int              n = 0;
    if (!ss) return err("out of memory for metadata");
    for (int i = 0; i < pairs; i++)
        if (strncmp(pair[i].key, "ss_", 3) == 0) ss[n++] = pair[i];
    int status = safetensors_hash(model, entry, count) || safetensors_hash_range(legacy, entry, count, ss, n, LEGACY_AT, LEGACY_SIZE) ? -1 : 0;
    legacy[LEGACY_DIGITS] = 0;
    free(ss);
    return status;
}

int lora_write(const char *path, const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs)
{
    char             model[HASH_SIZE], legacy[HASH_SIZE];
    SafetensorsPair *all = calloc((size_t)pairs + 2, sizeof *all);
    int              status = all ? hashes_of(model, legacy, entry, count, pair, pairs) : err("%s: out of memory for metadata", path);
    if (!status) {
        for (int i = 0; i < pairs; i++) all[i] = pair[i];
        all[pairs] = (SafetensorsPair){ "sshs_model_hash", model };
        all[pairs + 1] = (SafetensorsPair){ "sshs_legacy_hash", legacy };
        status = safetensors_write(path, entry, count, all, pairs + 2);
    }
    free(all);
    return status;
}
