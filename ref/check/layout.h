/* layout.h - a case as one image of memory on a set: every tensor a view, scratch and packed weights beside them, and bytes between that nobody may write.
 *
 * So "inputs are untouched, padding is untouched, nothing is written outside" is one comparison of the image before and after. */
#ifndef CHECK_LAYOUT_H
#define CHECK_LAYOUT_H
#include "check/check.h"

typedef struct {
    const void *from;                                   /* p in the case */
    const char *role;
    Tensor      t;                                      /* on the set */
    size_t      begin, end;                             /* bytes of the image */
} Placed;

enum { BETWEEN, INPUT, RESULT, FREE };
typedef struct {
    Set     *set;
    Op       op;
    char    *pool;                                      /* where the image lies on the set */
    uint8_t *before, *kind;                             /* the image, and what each byte is; between tensors, and inputs: kept */
    size_t   size;
    Placed   placed[32];
    int      count;
} Layout;

/* 1: what lies between tensors may be read, also where the address sanitizer looks on: by sets that are wrong on purpose. */
extern int layout_lets_read;

void lay_out(Layout *l, Case *c, Set *set);
int  layout_load(Layout *l);                            /* image to the set, weights packed: 0, or -1 and err() */
int  layout_run(Layout *l, uint8_t *after);             /* load, run, and the image back: 0, or -1 and err() */
void layout_close(Layout *l);

/* Element j of the contiguous case in a view, and in an image that came back. */
size_t element(Tensor t, size_t j);
static inline double result(const Layout *l, const uint8_t *after, Tensor y, size_t j)
{
    return type_get(y.type, after + ((char *)y.p - l->pool), element(y, j));
}

extern const char *const role_names[OP_TENSORS];        /* of op_tensor(op, k) */
#endif
