/* fuzz.h - what every target of the fuzzing has: one function that feeds any bytes at all to one reader, and what it needs for that.
 *
 * A target is one file here, fuzz_NAME.c, and opens with the files that it answers for: the lines of these are what `make fuzz-coverage` counts. Bytes that are
 * no good must be refused by a message of one line that names the file; bytes that are good must keep what the reader's header promises: CHECK it. Nothing has
 * to be put into a list. The same function is run by libFuzzer (`make fuzz`) and, over tests/fuzz/corpus/NAME, by `make test` (tests/fuzz/main.c). */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H
#include "base/err.h"
#include <stddef.h>
#include <stdint.h>

int fuzz_one(const uint8_t *data, size_t size);         /* 0; the build calls it fuzz_NAME */

/* The bytes as the file of that name ("a.json", "unet/config.json") in a folder of this process, which goes when it ends. The path, valid for good. */
const char *fuzz_file(const char *name, const void *data, size_t size);
const char *fuzz_dir(void);

/* Parts of an input between bytes 0xff, which no UTF-8 has. How many, at most `most`; the last takes the rest. Those that are not there have data NULL. */
typedef struct {
    const uint8_t *data;
    size_t         size;
} FuzzPart;
int   fuzz_parts(FuzzPart *part, int most, const uint8_t *data, size_t size);
char *fuzz_text(FuzzPart part);                         /* up to its first 0, malloc'd */

/* CHECKs that the last err() is one line without control characters that begins with `path`, and forgets it: one message stands for one refusal. */
void fuzz_refused(const char *path);
#endif
