/* tensor_file.h - named tensors in a file of either kind: safetensors, or what torch.save writes (.ckpt, .bin, .pt). Which, its first bytes say. */
#ifndef IO_TENSOR_FILE_H
#define IO_TENSOR_FILE_H
#include "io/safetensors.h"

typedef struct {
    const Safetensors *s;                               /* the tensors, in either case */
    Safetensors       *mapped;                          /* what is to be closed: one of these */
    struct TorchFile  *torch;
} TensorFile;

int  tensor_file_open(TensorFile *f, const char *path);                         /* 0, or -1 and err(); nothing is left to close */
void tensor_file_close(TensorFile *f);                  /* f as { 0 } is fine */
#endif
