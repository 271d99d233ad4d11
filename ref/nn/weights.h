/* weights.h - the frozen numbers of a model: named as in a diffusers checkpoint, described first, loaded once.
 *
 * A model's constructor calls the functions below for each of its layers; they set the layers' shapes and note where each tensor of a file belongs. Then
 * weights_load fills them from a file, and refuses what is missing or misshapen; a file may hold more. Views stay valid until weights_close.
 * Matrices, kernels and tables that a file has in f16 or bf16 stay so in memory (ops.h, Weight), where all parts of a layer do; biases and norms are of type
 * act. Room is taken as if all were of type act, which costs nothing: a page that is never touched takes no memory.
 * Failures of the description (no memory) latch, and weights_load reports them. */
#ifndef NN_WEIGHTS_H
#define NN_WEIGHTS_H
#include "io/safetensors.h"
#include "nn/func.h"
#include "nn/layer.h"

typedef struct {
    char  *name;                                        /* the tensor's in the file */
    Tensor dst;                                         /* (o,k,k,i), or (1,1,1,c), or (v,1,1,c) */
    Tensor *of;                                         /* the layer's weight, or the table, whose rows from `first` on dst is; a bias, a norm: NULL */
    int    first;
    int    rank;                                        /* of the tensor in the file: 4 (o,i,k,k), 2 (o,i), 1 (c). (o,i,1,1) and (o,i) stand for each other */
} WeightSlot;

/* A module that an adapter can sit on. */
typedef struct {
    Layer *layer;
    int    part;
} Site;

typedef struct {
    Set        *set;
    WeightSlot *slot;
    Site       *site;
    int         slots, sites, slot_room, site_room, failed;
    struct WeightBlock *blocks;                         /* memory of the set */
    size_t      count;                                  /* numbers described */
} Weights;

/* A name put together in place: name("%s.to_q", prefix).s */
typedef struct {
    char s[160];
} Name;
Name name(const char *format, ...) __attribute__((format(printf, 1, 2)));

void weights_open(Weights *w, Set *set);
void weights_close(Weights *w);

/* Describe a layer or a norm: its shape and attributes; name.weight and, where it has one, name.bias become slots, a layer's modules sites. fused: several
 * linears of one input, each with a name of its own, below one another in one weight. table: the tensor called `name` itself, (rows,c). */
void weights_linear(Weights *w, Layer *l, const char *name, int in, int out, int bias);
void weights_fused(Weights *w, Layer *l, const char *const *names, int parts, int in, int out_each, int bias);
void weights_conv(Weights *w, Layer *l, const char *name, int in, int out, int kernel, int stride, int pad);       /* pad on all sides; with a bias */
void weights_norm(Weights *w, Norm *n, const char *name, int c, int groups, int silu, double eps);
void weights_table(Weights *w, Tensor *table, const char *name, int rows, int c);

/* Fills every slot from the file, whose tensors are named as the slots are (model/model_files.h sees to it). 0, or -1 and err(): file, key, what was
 * expected; where several are missing, how many. */
int weights_load(Weights *w, const Safetensors *file);

/* Only the types of that, from the head of the file: what weights_bytes tells then is what loading it will take. */
void   weights_types(Weights *w, const Safetensors *file);
void   weights_assume(Weights *w, Type stored);         /* the same for a file that has them all in this type */
size_t weights_bytes(const Weights *w);

/* Gives a layer's weight the type act, for a change of its numbers that shall not be rounded to a narrower one. 0, or -1 and err(). */
int weights_widen(Weights *w, Layer *l);
int weights_pack(Weights *w);                           /* again after a change of the numbers; 0, or -1 and err() */

/* The range of a layer's weight that belongs to a part: (o,k,k,i). */
Tensor part_weight(const Layer *l, int part);

/* (o,i,k,k), as files have it, to (o,k,k,i), the contract's order, kk = k*k; and back. to and from do not overlap. */
void weights_from_file(double *to, const double *from, int o, int i, int kk);
void weights_to_file(double *to, const double *from, int o, int i, int kk);
#endif
