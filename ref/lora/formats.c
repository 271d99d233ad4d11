#include "lora/formats.h"
#include "base/err.h"
#include "io/json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name, *unet, *text;
    int         dots;                                   /* PATH as it is, or with underscores */
    const char *down[2], *up[2], *alpha;                /* endings; a second spelling or NULL */
} Layout;

static const Layout layouts[] = {
    [LORA_KOHYA] = { "kohya", "lora_unet_", "lora_te_", 0, { ".lora_down.weight" }, { ".lora_up.weight" }, ".alpha" },
    [LORA_PEFT] = { "PEFT", "unet.", "text_encoder.", 1, { ".lora_A.weight" }, { ".lora_B.weight" }, ".alpha" },
    [LORA_DIFFUSERS] = { "diffusers", "unet.", "text_encoder.", 1, { ".lora.down.weight", ".lora_linear_layer.down.weight" },
                         { ".lora.up.weight", ".lora_linear_layer.up.weight" }, ".alpha" },
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

static int ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), k = ending ? strlen(ending) : 0;
    return ending && n > k && strcmp(text + n - k, ending) == 0;
}

const char *lora_layout_name(LoraLayout layout) { return layouts[layout].name; }

int lora_layout(LoraLayout *layout, const Safetensors *file)
{
    if (file->count == 0) return err("%s: expected a LoRA, found no tensor", file->path);
    for (int e = 0; e < file->count; e++)
        for (int i = 0; i < LAYOUTS; i++)
            for (int k = 0; k < 2; k++)
                if (ends_with(file->entry[e].name, layouts[i].down[k])) return *layout = (LoraLayout)i, 0;
    return err("%s: %s: expected a LoRA in kohya's, PEFT's or diffusers' layout", file->path, file->entry[0].name);
}

/* The module's name in the layout, without an ending. bare: without text_model. */
static Name stem(const Layout *l, const char *path, int is_unet, int bare)
{
    const char *skip = "text_model.";
    Name        out = name("%s%s", is_unet ? l->unet : l->text, bare && strncmp(path, skip, strlen(skip)) == 0 ? path + strlen(skip) : path);
    for (char *c = out.s; !l->dots && *c; c++)
        if (*c == '.') *c = '_';
    return out;
}

int lora_owns(LoraLayout layout, const char *tensor, const char *path, int is_unet)
{
    const Layout *l = &layouts[layout];
    const char   *ending[] = { l->down[0], l->down[1], l->up[0], l->up[1], l->alpha };
    for (int bare = 0; bare < 2; bare++) {
        Name   s = stem(l, path, is_unet, bare);
        size_t n = strlen(s.s);
        if (strncmp(tensor, s.s, n)) continue;
        for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
            if (ending[i] && strcmp(tensor + n, ending[i]) == 0) return 1;
    }
    return 0;
}

/* The tensor with one of two endings, under either name of the module. */
static const SafetensorsEntry *find(const Safetensors *file, const Layout *l, const char *path, int is_unet, const char *const ending[2])
{
    const SafetensorsEntry *e = NULL;
    for (int k = 0; k < 4 && !e; k++)
        if (ending[k % 2]) e = safetensors_find(file, name("%s%s", stem(l, path, is_unet, k / 2).s, ending[k % 2]).s);
    return e;
}

/* Is e of shape (a, b, k, k), where trailing ones may be left out? */
static int has_shape(const SafetensorsEntry *e, int64_t a, int64_t b, int64_t k)
{
    if (e->rank == 2) return k == 1 && e->shape[0] == a && e->shape[1] == b;
    return e->rank == 4 && e->shape[0] == a && e->shape[1] == b && e->shape[2] == k && e->shape[3] == k;
}

/* PEFT's configuration of one half of the model, as diffusers flattens it into the metadata: "unet.lora_alpha", ... What changes the scale in another way than
 * by one alpha for all is refused. */
static int noted_alpha(LoraFileModule *m, const Safetensors *file, int is_unet)
{
    const char *text = safetensors_meta(file, "lora_adapter_metadata"), *half = is_unet ? "unet" : "text_encoder";
    Json       *j = text ? json_parse(text, name("%.100s: lora_adapter_metadata", file->path).s) : NULL;
    if (!text) return 0;
    if (!j) return -1;
    m->alpha = json_double(j, name("%s.lora_alpha", half).s, m->rank);
    Name pattern = name("%s.alpha_pattern", half), stabilized = name("%s.use_rslora", half), magnitude = name("%s.use_dora", half);
    if (!json_is_empty(j, pattern.s)) json_fail(j, pattern.s, "expected none: one alpha for all modules");
    if (json_bool(j, stabilized.s, 0)) json_fail(j, stabilized.s, "expected false: alpha / rank is the scale");
    if (json_bool(j, magnitude.s, 0)) json_fail(j, magnitude.s, "expected false: DoRA is not known");
    return json_close(j);
}

static int read_alpha(LoraFileModule *m, const Safetensors *file, const SafetensorsEntry *e, int is_unet)
{
    m->alpha = m->rank;
    if (!e) return noted_alpha(m, file, is_unet);
    if (e->count != 1) return err("%s: %s: expected one number, found %zu", file->path, e->name, e->count);
    if (safetensors_read(file, e, T_F64, &m->alpha)) return -1;
    if (!isfinite(m->alpha)) return err("%s: %s: expected a finite number, found %g", file->path, e->name, m->alpha);
    if (m->alpha == 0) m->alpha = m->rank;              /* kohya's word for "not given" */
    return 0;
}

static int read_matrices(LoraFileModule *m, const Safetensors *file, const SafetensorsEntry *down, const SafetensorsEntry *up, int i, int k)
{
    double *raw = malloc(down->count * sizeof *raw);
    m->down = malloc(down->count * sizeof *m->down);
    m->up = malloc(up->count * sizeof *m->up);
    int status = raw && m->down && m->up ? 0 : err("%s: %s: out of memory", file->path, down->name);
    if (!status) status = safetensors_read(file, down, T_F64, raw) || safetensors_read(file, up, T_F64, m->up) ? -1 : 0;
    if (!status) weights_from_file(m->down, raw, m->rank, i, k * k);
    free(raw);
    return status;
}

int lora_read(LoraFileModule *m, const Safetensors *file, LoraLayout layout, const Layer *layer, int part, int is_unet)
{
    const Layout           *l = &layouts[layout];
    const char             *path = layer->part[part].name;
    int                     k = layer->geometry.kernel, i = layer->w.t.c, o = layer->part[part].o;
    const SafetensorsEntry *down = find(file, l, path, is_unet, l->down), *up = find(file, l, path, is_unet, l->up);
    *m = (LoraFileModule){ 0 };
    if (!down && !up) return 0;
    if (!down || !up) return err("%s: %s%s: this tensor is missing", file->path, stem(l, path, is_unet, 0).s, down ? l->up[0] : l->down[0]);
    m->rank = down->rank && down->shape[0] <= 1 << 20 ? (int)down->shape[0] : 0;
    if (m->rank < 1 || !has_shape(down, m->rank, i, k))
        return err("%s: %s: expected shape (rank,%d%s), found another: this LoRA is for another model", file->path, down->name, i, k > 1 ? ",3,3" : "");
    if (!has_shape(up, o, m->rank, 1))
        return err("%s: %s: expected shape (%d,%d), found another: this LoRA is for another model", file->path, up->name, o, m->rank);
    if (read_alpha(m, file, find(file, l, path, is_unet, (const char *const[2]){ l->alpha, NULL }), is_unet) || read_matrices(m, file, down, up, i, k)) {
        lora_read_free(m);
        return -1;
    }
    return 1;
}

void lora_read_free(LoraFileModule *m)
{
    free(m->down);
    free(m->up);
    *m = (LoraFileModule){ 0 };
}
