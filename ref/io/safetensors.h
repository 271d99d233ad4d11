/* safetensors.h - named tensors in a file.
 *
 * Layout: header length (u64, little-endian); a JSON object, name -> {"dtype", "shape", "data_offsets": [begin, end]} and "__metadata__" -> {string: string};
 * then the data, C order, little-endian, without gaps. A file is mapped and checked whole before anything of it is used: a header of at most 100 MB inside
 * the file, valid UTF-8, no name twice, known types, rank at most 8, shape times size equal to the range, ranges that tile the data exactly. */
#ifndef IO_SAFETENSORS_H
#define IO_SAFETENSORS_H
#include "base/type.h"
#include "io/hash.h"

enum { SAFETENSORS_MAX_RANK = 8 };

typedef struct {
    const char *name;
    Type        type;                                   /* T_COUNT: a type that is only passed over (bool, i8, i16, u16, u32, u64, c64, f8) */
    const char *dtype;                                  /* the file's word for it, "F16"; ignored when writing */
    int         rank;                                   /* 0: a scalar */
    int64_t     shape[SAFETENSORS_MAX_RANK];
    const void *data;                                   /* in the mapping, perhaps not aligned: safetensors_read copes */
    size_t      count, bytes;                           /* elements, bytes */
    int         in_memory;                              /* data are not a mapped file's: safetensors_read keeps their pages */
} SafetensorsEntry;

typedef struct {
    const char *key, *value;
} SafetensorsPair;

typedef struct {
    const char             *path;                       /* for messages */
    int                     count, pairs;
    const SafetensorsEntry *entry;                      /* in the order of their names' bytes */
    const SafetensorsPair  *pair;                       /* metadata in the file's order */
    const void             *data;                       /* all tensor data: what sshs_model_hash is the hash of */
    size_t                  bytes;
} Safetensors;

Safetensors *safetensors_open(const char *path);        /* NULL and err() */
void         safetensors_close(Safetensors *s);         /* s may be NULL */

const SafetensorsEntry *safetensors_find(const Safetensors *s, const char *name);   /* NULL: no such tensor, no err() */
const char             *safetensors_meta(const Safetensors *s, const char *key);    /* NULL: no such key, no err() */

/* Sorts entries as a Safetensors has them. NULL, or a name that is there twice. */
const char *safetensors_sort(SafetensorsEntry *entry, int count);

/* dst[0..e->count) = the tensor in `type`, each element rounded once; its pages are then given back to the system. -1 and err(): e->type is T_COUNT. */
int safetensors_read(const Safetensors *s, const SafetensorsEntry *e, Type type, void *dst);

/* Writes name, type, rank, shape and data of each entry (dtype, count and bytes are worked out), as the reference writer lays them out: by type (i64, f64,
 * f32, i32, bf16, f16, u8), then by the bytes of the name; data begin at a multiple of 8. A repeated name is our bug. 0, or -1 and err(). */
int safetensors_write(const char *path, const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs);

/* The same with every floating-point tensor as `type`, each element rounded once on its way out; T_COUNT: as it is. */
int safetensors_write_as(const char *path, Type type, const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs);

/* The hash of the data section that safetensors_write would produce: kohya's sshs_model_hash, known before the metadata that hold it are written. */
int safetensors_hash(char hex[HASH_SIZE], const SafetensorsEntry *entry, int count);

/* The hash of bytes [offset, offset + size) of the file that safetensors_write would produce, as far as it has them. */
int safetensors_hash_range(char hex[HASH_SIZE], const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs, uint64_t offset,
                           uint64_t size);
#endif
