#include "io/tensor_file.h"
#include "base/err.h"
#include "io/torch_file.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

int tensor_file_open(TensorFile *f, const char *path)
{
    char  head[16];
    FILE *in = fopen(path, "rb");
    *f = (TensorFile){ 0 };
    if (!in) return err("%s: %s", path, strerror(errno));
    size_t n = fread(head, 1, sizeof head, in);
    fclose(in);
    if (torch_file_is(head, n)) {
        if ((f->torch = torch_file_open(path))) f->s = torch_file_tensors(f->torch);
    } else f->s = f->mapped = safetensors_open(path);
    return f->s ? 0 : -1;
}

void tensor_file_close(TensorFile *f)
{
    safetensors_close(f->mapped);
    torch_file_close(f->torch);
    *f = (TensorFile){ 0 };
}
