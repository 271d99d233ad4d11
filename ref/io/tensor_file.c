#include "io/tensor_file.h"

int tensor_file_open(TensorFile *f, const char *path)
{
    *f = (TensorFile){ .mapped = safetensors_open(path) };
    f->s = f->mapped;
    return f->s ? 0 : -1;
}

void tensor_file_close(TensorFile *f)
{
    safetensors_close(f->mapped);
    *f = (TensorFile){ 0 };
}
