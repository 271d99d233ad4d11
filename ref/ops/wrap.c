#include "ops/wrap.h"

static int    run(Set *set, const Op *op) { return wrap_inner(set)->run(wrap_inner(set), op); }
static size_t need(const Set *set, const Op *op) { return wrap_inner(set)->need(wrap_inner(set), op); }
static size_t pack(Set *set, Weight *w, void *dst) { return wrap_inner(set)->pack(wrap_inner(set), w, dst); }
static void  *alloc(Set *set, size_t bytes) { return wrap_inner(set)->alloc(wrap_inner(set), bytes); }
static void   release(Set *set, void *p, size_t bytes) { wrap_inner(set)->release(wrap_inner(set), p, bytes); }
static int    upload(Set *set, Tensor dst, Tensor host) { return wrap_inner(set)->upload(wrap_inner(set), dst, host); }
static int    download(Set *set, Tensor host, Tensor src) { return wrap_inner(set)->download(wrap_inner(set), host, src); }
static int    sync_set(Set *set) { return wrap_inner(set)->sync(wrap_inner(set)); }
static int    transform(const Set *set, const Op *op) { return wrap_inner(set)->transform(wrap_inner(set), op); }
static size_t room(const Set *set) { return wrap_inner(set)->room(wrap_inner(set)); }

void wrap_open(Wrap *wrap, Set *inner)
{
    Set *set = &wrap->set;
    wrap->inner = inner;
    *set = *inner;                                      /* name, types, what it says of itself */
    set->run = run, set->need = need, set->pack = pack, set->alloc = alloc, set->release = release;
    set->upload = upload, set->download = download, set->sync = sync_set, set->transform = inner->transform ? transform : NULL;
    set->room = inner->room ? room : NULL;
}
