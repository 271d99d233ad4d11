/* covers ref/cli/info_files.c ref/cli/outline.c ref/text/embedding.c
 * Any file as `sdlora info` shows it: in full, as JSON and cut to a width. */
#include "cli/info_files.h"
#include "cli/outline.h"
#include "fuzz.h"
#include "io/image.h"
#include <stdio.h>
#include <stdlib.h>

int fuzz_one(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("a", data, size);
    cJSON      *o = info_of(path);
    if (!o) return fuzz_refused(path), 0;
    char  *text = cJSON_Print(o), *shown = NULL;
    size_t length;
    FILE  *out = open_memstream(&shown, &length);
    CHECK(text && out, "no memory for what is shown");
    outline_print(out, o, 0);
    outline_print(out, o, 60);
    CHECK(fclose(out) == 0 && length > 0, "nothing is shown");
    for (size_t i = 0; i < length; i++) CHECK((unsigned char)shown[i] >= ' ' || shown[i] == '\n', "a control character, %d, is shown", shown[i]);
    free(shown);
    cJSON_free(text);
    cJSON_Delete(o);
    return 0;
}
