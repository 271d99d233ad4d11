#include "cli/cmd.h"
#include "base/err.h"
#include "cli/info_files.h"
#include "cli/outline.h"
#include <stdlib.h>

enum { SHORT_TAGS = 12, SHORT_PROBLEMS = 8, WIDTH = 4000 };              /* a thumbnail among the metadata is longer than that */

/* Cuts an array of the object to its first members, and says so. */
static void shorten(cJSON *o, const char *key, int most)
{
    cJSON *array = cJSON_GetObjectItemCaseSensitive(o, key);
    int    count = cJSON_GetArraySize(array);
    char   text[64];
    if (count <= most) return;
    for (int i = count; i > most; i--) cJSON_DeleteItemFromArray(array, i - 1);
    snprintf(text, sizeof text, "%d, of which %d are shown", count, most);
    cJSON_AddStringToObject(o, key, text);
}

int cmd_info(const InfoConfig *config)
{
    static const char *const long_members[] = { "metadata", "modules", "tensors" };
    cJSON *o = info_of(config->file);
    if (!o) return -1;
    if (config->json) {
        char *text = cJSON_Print(o);
        int   status = text ? 0 : err("%s: out of memory", config->file);
        if (text) puts(text);                           /* main looks whether stdout took it */
        cJSON_free(text);
        cJSON_Delete(o);
        return status;
    }
    if (!config->verbose) {
        for (size_t i = 0; i < sizeof long_members / sizeof *long_members; i++) cJSON_DeleteItemFromObjectCaseSensitive(o, long_members[i]);
        shorten(o, "tags", SHORT_TAGS);
        shorten(o, "problems", SHORT_PROBLEMS);
    }
    outline_print(stdout, o, WIDTH);
    cJSON_Delete(o);
    return 0;
}
