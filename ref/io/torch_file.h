/* torch_file.h - the tensors in what torch.save writes (.ckpt, .bin, .pt), as if they were a safetensors file.
 *
 * Read are a ZIP archive of a pickle and raw numbers (torch 1.6 and later), and the form before it. The pickle may name what tensors are made of, and a few
 * harmless classes that trainers leave behind; anything else it asks for is refused (pickle.h). A tensor's name is the keys that lead to it, joined by dots:
 * of dicts the key, of lists the place. Where the outermost dict has a dict state_dict, that alone is read. Texts and whole numbers in the outermost dict are
 * the metadata. Tensors share storages and may be strided: one that is not contiguous is copied. Checksums of an archive are checked, which reads all of it
 * once. */
#ifndef IO_TORCH_FILE_H
#define IO_TORCH_FILE_H
#include "io/safetensors.h"

typedef struct TorchFile TorchFile;

int                torch_file_is(const void *head, size_t size);                /* by its first bytes; 16 are enough */
TorchFile         *torch_file_open(const char *path);                           /* NULL and err() */
TorchFile         *torch_file_read(const void *data, size_t size, const char *path);       /* the same from memory, which outlives it */
const Safetensors *torch_file_tensors(const TorchFile *t);
void               torch_file_close(TorchFile *t);      /* t may be NULL */
#endif
