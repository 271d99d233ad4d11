/* covers
 * log.csv of a run that is resumed, as the report reads it. */
#include "fuzz.h"
#include "train/log.h"
#include <stdlib.h>

int fuzz_one(const uint8_t *data, size_t size)
{
    LogLine    *line;
    int         lines;
    const char *path = fuzz_file("log.csv", data, size);
    CHECK(log_read(&line, &lines, path) == 0 && lines >= 0 && (size_t)lines <= size, "%s", err_text());
    free(line);
    Log log;
    CHECK(log_open(&log, path, 3) == 0 && log.count >= 0 && log_close(&log) == 0, "%s", err_text());
    return 0;
}
