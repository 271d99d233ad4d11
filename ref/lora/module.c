#include "lora/module.h"
#include "base/err.h"

enum { LARGEST = 1 << 20, LARGEST_RANK = 1 << 13, LARGEST_WEIGHT = 1 << 27 };           /* SDXL's largest weight has 2^25 numbers */

Name lora_kind_name(const LoraFileModule *m)
{
    static const char *const kinds[] = { "LoRA", "LoHa", "LoKr" };
    const char              *kind = m->kind == LORA_PLAIN && m->kernel > 1 ? "LoCon" : kinds[m->kind];
    int                      core = m->part[LORA_MID] || m->part[LORA_HADA_T1] || m->part[LORA_LOKR_T2];
    return name("%s%s%s", kind, core ? ", Tucker" : "", m->magnitude ? ", DoRA" : "");
}

/* ---- which parts ---- */

static int missing(const LoraFileModule *m, const char *path, LoraRole role)
{
    return err("%s: %s%s: this tensor is missing", path, m->key, lora_role_ending(m->layout, role));
}

static int has_any(const LoraFileModule *m, LoraRole from, LoraRole to)
{
    for (LoraRole r = from; r <= to; r++)
        if (m->part[r]) return 1;
    return 0;
}

/* All of these are there. */
static int need(const LoraFileModule *m, const char *path, LoraRole from, LoraRole to)
{
    for (LoraRole r = from; r <= to; r++)
        if (!m->part[r]) return missing(m, path, r);
    return 0;
}

/* A whole matrix or both of its factors, which follow it. */
static int need_either(const LoraFileModule *m, const char *path, LoraRole whole)
{
    if (!m->part[whole] && !has_any(m, whole + 1, whole + 2)) return missing(m, path, whole);
    if (m->part[whole] && has_any(m, whole + 1, whole + 2)) return err("%s: %s: a matrix and its factors are both there", path, m->part[whole]->name);
    return m->part[whole] ? 0 : need(m, path, whole + 1, whole + 2);
}

static int check_parts(LoraFileModule *m, const char *path)
{
    int plain = has_any(m, LORA_DOWN, LORA_MID), loha = has_any(m, LORA_HADA_W1A, LORA_HADA_T2), lokr = has_any(m, LORA_LOKR_W1, LORA_LOKR_T2);
    if (plain + loha + lokr > 1) return err("%s: %s: tensors of more than one kind of LoRA", path, m->key);
    m->kind = loha ? LORA_LOHA : lokr ? LORA_LOKR : LORA_PLAIN;
    if (m->kind == LORA_PLAIN) return need(m, path, LORA_DOWN, LORA_UP);
    if (m->kind == LORA_LOHA) {
        int cores = has_any(m, LORA_HADA_T1, LORA_HADA_T2);
        return need(m, path, LORA_HADA_W1A, LORA_HADA_W2B) || (cores && need(m, path, LORA_HADA_T1, LORA_HADA_T2)) ? -1 : 0;
    }
    if (need_either(m, path, LORA_LOKR_W1) || need_either(m, path, LORA_LOKR_W2)) return -1;
    return m->part[LORA_LOKR_T2] && m->part[LORA_LOKR_W2] ? err("%s: %s: a core without factors", path, m->part[LORA_LOKR_T2]->name) : 0;
}

/* ---- which shapes ---- */

/* A tensor (a,b,k,k), (a,b,1,1) or (a,b). */
typedef struct {
    int a, b, k;
} Shape;

static int shape_of(Shape *s, const LoraFileModule *m, LoraRole role, const char *path)
{
    const SafetensorsEntry *e = m->part[role];
    int64_t                 k = e->rank == 4 ? e->shape[2] : 1;
    int                     fits = (e->rank == 2 || (e->rank == 4 && e->shape[3] == k && k >= 1 && k <= 31));
    for (int d = 0; d < 2 && fits; d++) fits = e->shape[d] >= 1 && e->shape[d] <= LARGEST;
    if (!fits) return err("%s: %s: expected a matrix or a square convolution, at most %d wide", path, e->name, LARGEST);
    *s = (Shape){ (int)e->shape[0], (int)e->shape[1], (int)k };
    return 0;
}

static int misfit(const LoraFileModule *m, const char *path) { return err("%s: %s: the shapes of its tensors do not fit each other", path, m->key); }

static int set_shape(LoraFileModule *m, const char *path, int rank, int64_t o, int64_t columns, int kernel)
{
    if (rank > LARGEST_RANK || o > LARGEST || columns > LARGEST || o * columns > LARGEST_WEIGHT)
        return err("%s: %s: a weight of %lld x %lld at rank %d is larger than any known", path, m->key, (long long)o, (long long)columns, rank);
    m->rank = rank, m->o = (int)o, m->columns = (int)columns, m->kernel = kernel;
    return 0;
}

static int check_plain(LoraFileModule *m, const char *path)
{
    Shape down = { 0 }, up = down, mid;
    if (shape_of(&down, m, LORA_DOWN, path) || shape_of(&up, m, LORA_UP, path)) return -1;
    mid = (Shape){ up.b, down.a, down.k };
    if (m->part[LORA_MID]) {
        if (shape_of(&mid, m, LORA_MID, path)) return -1;
        if (down.k != 1) return misfit(m, path);
    } else if (up.b != down.a) return misfit(m, path);
    if (up.k != 1 || mid.a != up.b || mid.b != down.a) return misfit(m, path);
    return set_shape(m, path, down.a, up.a, (int64_t)down.b * mid.k * mid.k, mid.k);
}

static int check_loha(LoraFileModule *m, const char *path)
{
    Shape a[2] = { 0 }, b[2] = { 0 }, t[2] = { 0 };
    for (int w = 0; w < 2; w++) {
        if (shape_of(&a[w], m, w ? LORA_HADA_W2A : LORA_HADA_W1A, path) || shape_of(&b[w], m, w ? LORA_HADA_W2B : LORA_HADA_W1B, path)) return -1;
        if (a[w].k != 1 || b[w].k != 1) return misfit(m, path);
        if (!m->part[LORA_HADA_T1]) {
            if (a[w].b != b[w].a || a[w].a != a[0].a || b[w].b != b[0].b || b[w].a != b[0].a) return misfit(m, path);
            continue;
        }
        if (shape_of(&t[w], m, w ? LORA_HADA_T2 : LORA_HADA_T1, path)) return -1;
        if (t[w].a != a[w].a || t[w].b != b[w].a || t[w].k != t[0].k || a[w].b != a[0].b || b[w].b != b[0].b || b[w].a != b[0].a) return misfit(m, path);
    }
    if (!m->part[LORA_HADA_T1]) return set_shape(m, path, b[0].a, a[0].a, b[0].b, 0);
    return set_shape(m, path, b[0].a, a[0].b, (int64_t)b[0].b * t[0].k * t[0].k, t[0].k);
}

/* w1 or w2 as one matrix, from its factors or from them and a core. rank: as it was, where there are no factors. */
static int check_factors(Shape *out, int *rank, const LoraFileModule *m, LoraRole whole, const char *path)
{
    Shape a = { 0 }, b = a, t = a;
    if (m->part[whole]) return shape_of(out, m, whole, path);
    if (shape_of(&a, m, whole + 1, path) || shape_of(&b, m, whole + 2, path)) return -1;
    if (a.k != 1 || b.k != 1) return misfit(m, path);
    *rank = b.a;
    if (whole == LORA_LOKR_W2 && m->part[LORA_LOKR_T2]) {
        if (shape_of(&t, m, LORA_LOKR_T2, path)) return -1;
        *out = (Shape){ a.b, b.b, t.k };
        return t.a != a.a || t.b != b.a ? misfit(m, path) : 0;
    }
    *out = (Shape){ a.a, b.b, 1 };
    return a.b != b.a ? misfit(m, path) : 0;
}

static int check_lokr(LoraFileModule *m, const char *path)
{
    Shape w1 = { 0 }, w2 = w1;
    int   rank = 0;
    if (check_factors(&w2, &rank, m, LORA_LOKR_W2, path) || check_factors(&w1, &rank, m, LORA_LOKR_W1, path)) return -1;
    if (w1.k != 1) return misfit(m, path);
    int flat = !m->part[LORA_LOKR_W2] && !m->part[LORA_LOKR_T2];            /* the factors of a convolution are matrices, too */
    return set_shape(m, path, rank, (int64_t)w1.a * w2.a, (int64_t)w1.b * w2.b * w2.k * w2.k, flat ? 0 : w2.k);
}

/* PEFT's magnitudes are norms of outputs: (o), of a convolution (1,o,1,1). LyCORIS has (o,1,...) and (1,i,...). */
static int check_magnitude(LoraFileModule *m, const char *path)
{
    const SafetensorsEntry *e = m->part[LORA_MAGNITUDE];
    int                     kk = m->kernel > 1 ? m->kernel * m->kernel : 1;
    m->magnitude = MAGNITUDE_NONE;
    if (!e) return 0;
    int out = m->layout != LORA_KOHYA || e->rank < 2 || e->shape[1] == 1;
    m->magnitude = out ? MAGNITUDE_OUT : MAGNITUDE_IN;
    if (e->count == (size_t)m->o && out) return 0;
    int whole_inputs = e->count && (size_t)m->columns % e->count == 0 && (m->kernel == 0 || (size_t)(m->columns / kk) == e->count);
    if (!out && whole_inputs) return 0;
    return err("%s: %s: expected %d magnitudes, or one for each input, found %zu", path, e->name, m->o, e->count);
}

int lora_module_check(LoraFileModule *m, const char *path)
{
    if (check_parts(m, path)) return -1;
    int status = m->kind == LORA_PLAIN ? check_plain(m, path) : m->kind == LORA_LOHA ? check_loha(m, path) : check_lokr(m, path);
    return status ? -1 : check_magnitude(m, path);
}
