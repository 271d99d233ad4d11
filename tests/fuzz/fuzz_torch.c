/* covers ref/io/torch_file.c ref/io/zip.c ref/io/pickle.c ref/io/tensor_file.c
 * Any file that torch.save may have written: its tensors lie in the file, or in a copy, and read in every type. */
#include "fuzz.h"
#include "io/tensor_file.h"
#include <stdlib.h>
#include <string.h>

int fuzz_one(const uint8_t *data, size_t size)
{
    TensorFile  f;
    const char *path = fuzz_file("a.pt", data, size);
    if (tensor_file_open(&f, path)) return fuzz_refused(path), 0;
    for (int i = 0; i < f.s->count; i++) {
        const SafetensorsEntry *e = &f.s->entry[i];
        CHECK(safetensors_find(f.s, e->name) == e, "%s is not found", e->name);
        void *out = malloc(8 * e->count + 1);
        CHECK(out, "no memory for %zu numbers", e->count);
        CHECK((safetensors_read(f.s, e, T_F64, out) < 0) == (e->type == T_COUNT), "%s cannot be read", e->name);
        if (e->type == T_COUNT) fuzz_refused(path);
        free(out);
    }
    tensor_file_close(&f);
    return 0;
}
