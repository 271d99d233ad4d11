/* tape.h - the order of calls, forward and back.
 *
 * A model calls functions of nn (layer.h, func.h) in forward order. Each runs its Ops at once and, where a gradient will be wanted, leaves a Node that knows
 * its own chain rule. tape_backward visits the nodes in reverse. Nothing else is automatic: the derivatives themselves stand in the sets.
 *
 *   TAPE_INFER       nothing is recorded; a unit's activations are given back when it ends
 *   TAPE_TRAIN       everything needed for the backward pass is kept
 *   TAPE_CHECKPOINT  of a unit only the outputs are kept; it is run again, to the same bits, when its turn comes backwards (Chen et al. 2016)
 *   TAPE_CHECKPOINT_FF   the same, of feed-forward layers alone: it saves most of the memory for little work
 *
 * A Var is a value and, later, its gradient. needs_grad spreads from trainable parameters: what comes before the first of them costs nothing. A channel range
 * or a token view of a Var shares its value and its gradient. Gradients are allocated when first written, added to when written again, and given back when
 * all that was computed into the Var has been differentiated.
 *
 * The first failure (no memory, a refused Op) latches: what follows does nothing, and tape_status tells. So models need not look at every call. */
#ifndef NN_TAPE_H
#define NN_TAPE_H
#include "base/arena.h"
#include "ops/ops.h"

typedef enum { TAPE_INFER, TAPE_TRAIN, TAPE_CHECKPOINT_FF, TAPE_CHECKPOINT } TapeMode;      /* from TAPE_TRAIN on: less memory, more work */

typedef struct Tape Tape;
typedef struct Var  Var;
typedef struct Node Node;

struct Var {
    Tensor t;
    Tensor g;                                           /* the whole gradient; g.p NULL until the first write. Of a view: unused */
    Var   *of;                                          /* this is channels [c0, c0 + t.c) of that one, or NULL */
    Var   *as;                                          /* this is that one in another shape, or NULL */
    int    c0;
    int    needs_grad;
    int    wide;                                        /* the gradient is of type acc: many ops add to it */
    int    filled;                                      /* the gradient (of a view: its range) holds something: the next write adds */
    int    filled_c;                                    /* channels filled through ranges */
    int    settled;                                     /* nothing more will be differentiated through this range */
    int    pending;                                     /* channels not yet settled; at 0 the gradient is given back */
};

typedef void TapeUnit(Tape *t, const void *self, Var *const *in, Var *y);

enum { NODE_INPUTS = 3 };                               /* most Vars that one is computed from */

/* back adds to the gradients of x what follows from the gradient of y. self is the layer, or the block that a unit runs, whose function left the node. */
struct Node {
    void      (*back)(Tape *, Node *);
    TapeUnit   *unit;
    const void *self;
    Op          op;
    OpPlace     at;
    Var        *y, *x[NODE_INPUTS];                     /* x: NULL where there are fewer */
    size_t      mark;                                   /* bottom of the arena behind this node's outputs: what lies above is free by then */
};

typedef struct VarChunk VarChunk;

struct Tape {
    Set      *set;
    Arena     arena;
    TapeMode  mode;
    int       recording;
    int       failed;
    OpPlace   at;                                       /* whose work the next calls are: of each op's place */
    VarChunk *vars;
    Node     *node;
    int       nodes, room;
    void    (*tap)(void *ctx, const char *name, Tensor value);      /* sees every named value, for goldens and dumps */
    void     *tap_ctx;
    size_t    bytes;
};

int  tape_open(Tape *t, Set *set, size_t bytes);        /* reserves bytes of the set's memory; 0: none yet. 0, or -1 and err() */
int  tape_reserve(Tape *t, size_t bytes);               /* at least so many bytes; where it had fewer, what was in it is gone. 0, or -1 and err() */
void tape_close(Tape *t);
const char *tape_mode_name(TapeMode mode);              /* "without gradient checkpointing", ... */
void tape_reset(Tape *t, TapeMode mode);                /* forgets everything */
void tape_mode(Tape *t, TapeMode mode);                 /* for what follows: a frozen part of a trained model runs under TAPE_INFER */
int  tape_status(const Tape *t);                        /* 0, or -1: err() tells the first failure */

/* ---- values ---- */
Var *tape_new(Tape *t, Type type, int n, int h, int w, int c);      /* room for a result, uninitialised */
Var *tape_like(Tape *t, const Var *v, int c);                       /* as v, of type act, with c channels */
Var *tape_constant(Tape *t, Type type, Tensor host);                /* a copy of host data; no gradient */
Var *tape_channels(Tape *t, Var *v, int c0, int c);
Var *tape_tokens(Tape *t, Var *v);                                  /* (n,h,w,c) as (n,1,h*w,c) */

/* Shows the value under this name to tap, where there is one. */
void tape_name(Tape *t, const Var *v, const char *format, ...) __attribute__((format(printf, 3, 4)));

void tape_part(Tape *t, const char *part);              /* what follows is the work of this part of the model, */
void tape_module(Tape *t, const char *module);          /* and of this module of it. Names must live as long as the tape records */

/* ---- for the functions of nn ---- */
void   tape_run(Tape *t, Op op);                        /* gives scratch and runs it */
Tensor tape_temp(Tape *t, Type type, int n, int h, int w, int c);   /* bottom memory, gone at the next reset to a mark */

/* tape_drop: what was made since the mark is not read again on the way forward, and is given back at once, unless the way back will want it. */
size_t tape_mark(const Tape *t);
void   tape_drop(Tape *t, size_t mark);

/* y was computed from x[0..n), n <= NODE_INPUTS, NULLs allowed; trainable: by something that is. Sets y->needs_grad and, when recording, returns a node to
 * fill, else NULL. */
Node *tape_record(Tape *t, void (*back)(Tape *, Node *), Var *y, Var *const *x, int n, int trainable);

Tensor tape_dy(const Var *y);                           /* the gradient of y, complete */
Tensor tape_grad(Tape *t, Var *x, int *acc);            /* where to write the gradient of x, and whether to add; a throw-away where x needs none */

/* Runs fn(t, self, in, y), a block of a model, y allocated by the caller, as the mode wants it. in: unused ones NULL. */
void tape_unit(Tape *t, TapeUnit *fn, const void *self, Var *const in[NODE_INPUTS], Var *y);
void tape_feed_forward(Tape *t, TapeUnit *fn, const void *self, Var *const in[NODE_INPUTS], Var *y);   /* the part that TAPE_CHECKPOINT_FF is about */

/* After a loss has filled the first gradient. Values are used up as it goes: download what is wanted of them before. */
int tape_backward(Tape *t);
#endif
