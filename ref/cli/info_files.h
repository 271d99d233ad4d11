/* info_files.h - what a file holds, as a JSON object: the work behind `sdlora info`. */
#ifndef CLI_INFO_FILES_H
#define CLI_INFO_FILES_H
#include <cjson/cJSON.h>

/* Members by what the file is: a LoRA, the folder of a model, a state or the folder of one, a dump, other tensors, a picture, something else. The members
 * "metadata", "modules" and "tensors" may be long. The caller frees it with cJSON_Delete. NULL and err(): it cannot be read, or says what is not true. */
cJSON *info_of(const char *path);
#endif
