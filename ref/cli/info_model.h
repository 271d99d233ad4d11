/* info_model.h - what a checkpoint holds, as members of a JSON object: a part of `sdlora info`. */
#ifndef CLI_INFO_MODEL_H
#define CLI_INFO_MODEL_H
#include "io/safetensors.h"
#include <cjson/cJSON.h>

int info_is_model(const Safetensors *file);             /* has a single file tensors of a U-Net, under the original names? */

/* A folder or a single file: its sizes; of each part what was found, what is missing, what is left over. 0, or -1 and err(). */
int info_model(cJSON *o, const char *path);

/* A member that is printed. Where memory runs out cJSON's functions leave a member out, and do nothing with NULL. */
void info_add_text(cJSON *object, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
#endif
