#include "base/err.h"
#include "io/file.h"
#include "model/model_files.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tensors of one file that is to be written, under the names and in the shapes that it shall have. */
typedef struct {
    SafetensorsEntry *entry;
    int               count, room;
    void            **made;                             /* data that no file holds: fused tensors */
    int               made_count;
} Out;

static void out_free(Out *o)
{
    for (int i = 0; i < o->count; i++) free((char *)o->entry[i].name);
    for (int i = 0; i < o->made_count; i++) free(o->made[i]);
    free(o->made);
    free(o->entry);
}

static int add(Out *o, const char *prefix, const char *text, const SafetensorsEntry *e)
{
    size_t size = strlen(prefix) + strlen(text) + 1;
    char  *copy = malloc(size);
    if (o->count == o->room) {
        int               room = o->room ? 2 * o->room : 256;
        SafetensorsEntry *more = realloc(o->entry, (size_t)room * sizeof *more);
        if (more) o->entry = more, o->room = room;
    }
    if (!copy || o->count == o->room) return free(copy), err("no memory for the name of %s", text);
    snprintf(copy, size, "%s%s", prefix, text);
    o->entry[o->count] = *e, o->entry[o->count++].name = copy;
    return 0;
}

/* A projection of the autoencoder's attention: a matrix in diffusers, a 1x1 convolution in single files. */
static int is_vae_projection(const char *diffusers)
{
    const char *at = strstr(diffusers, "mid_block.attentions.0.to_");
    return at && strstr(at, ".weight");
}

static SafetensorsEntry with_rank(const SafetensorsEntry *e, int rank)
{
    SafetensorsEntry other = *e;
    int              flat = e->rank == 4 && e->shape[2] == 1 && e->shape[3] == 1;
    if (rank == 4 && e->rank == 2) other.rank = 4, other.shape[2] = other.shape[3] = 1;
    else if (rank == 2 && flat) other.rank = 2;
    return other;
}

/* ---- a single file ---- */

/* One of OpenCLIP's fused tensors, from q, k and v of a layer, which must be of one type. */
static int add_fused(Out *o, const Safetensors *part, const char *prefix, int layer, const char *ending)
{
    const SafetensorsEntry *e[3];
    static const char *const kind[] = { "q", "k", "v" };
    for (int i = 0; i < 3; i++) {
        Name n = name("text_model.encoder.layers.%d.self_attn.%s_proj.%s", layer, kind[i], ending);
        if (!(e[i] = safetensors_find(part, n.s))) return err("%s: %s: this tensor is missing", part->path, n.s);
        if (e[i]->type == T_COUNT || e[i]->rank < 1 || e[i]->bytes != e[0]->bytes || e[i]->type != e[0]->type)
            return err("%s: %s: expected the type and shape of q_proj", part->path, n.s);
    }
    char  *data = malloc(3 * e[0]->bytes + 1);
    void **more = realloc(o->made, (size_t)(o->made_count + 1) * sizeof *more);
    if (more) o->made = more;
    if (!data || !more) return free(data), err("%s: no memory to join q, k and v", part->path);
    o->made[o->made_count++] = data;
    for (int i = 0; i < 3; i++) memcpy(data + (size_t)i * e[0]->bytes, e[i]->data, e[0]->bytes);
    SafetensorsEntry fused = *e[0];
    fused.shape[0] *= 3, fused.count *= 3, fused.bytes *= 3, fused.data = data;
    return add(o, prefix, name("transformer.resblocks.%d.attn.in_proj_%s", layer, ending).s, &fused);
}

/* Is the tensor q, k or v of a layer? q stands for all three. */
static int qkv_of(const char *text, int *layer, char *which, char ending[8])
{
    return sscanf(text, "text_model.encoder.layers.%d.self_attn.%c_proj.%7s", layer, which, ending) == 3 && strchr("qkv", *which);
}

static int add_single(Out *o, ModelPart part, const Safetensors *s, const LdmShape *shape)
{
    const char *prefix = ldm_prefix(part, shape);
    for (int i = 0; i < s->count; i++) {
        SafetensorsEntry e = s->entry[i];
        Name             to;
        int              layer, status;
        char             which, ending[8];
        if (part == MODEL_TEXT && shape->openclip && qkv_of(e.name, &layer, &which, ending)) {
            if (which == 'q' && add_fused(o, s, prefix, layer, ending)) return -1;
            continue;
        }
        if (!ldm_from_diffusers(&to, part, e.name, shape)) return err("%s: %s: has no name in a single file", s->path, e.name);
        if (part == MODEL_VAE && is_vae_projection(e.name)) e = with_rank(&e, 4);
        if ((status = add(o, prefix, to.s, &e))) return status;
    }
    return 0;
}

/* ---- reading back ---- */

enum { CHUNK = 4096 };

/* Elements [k, k + n) of both: is what was read what was to be written, rounded once? */
static int same(const SafetensorsEntry *got, const SafetensorsEntry *want, size_t k, size_t n)
{
    double aligned[CHUNK], rounded[CHUNK];              /* any element fits */
    size_t from = type_size(want->type), to = type_size(got->type);
    memcpy(aligned, (const char *)want->data + k * from, n * from);
    type_convert(got->type, rounded, want->type, aligned, n);
    return memcmp(rounded, (const char *)got->data + k * to, n * to) == 0;
}

static int same_tensor(const SafetensorsEntry *got, const SafetensorsEntry *want, Type type)
{
    int is_float = want->type == T_F64 || want->type == T_F32 || want->type == T_F16 || want->type == T_BF16, ok = got != NULL;
    ok = ok && got->type == (type == T_COUNT || !is_float ? want->type : type) && got->rank == want->rank && got->count == want->count &&
         memcmp(got->shape, want->shape, sizeof *got->shape * (size_t)got->rank) == 0;
    for (size_t k = 0; ok && k < want->count; k += CHUNK) ok = same(got, want, k, want->count - k < CHUNK ? want->count - k : CHUNK);
    return ok;
}

static int compare(const char *path, const Out *o, Type type)
{
    Safetensors *s = safetensors_open(path);
    if (!s) return -1;
    int status = s->count == o->count ? 0 : err("%s: %d tensors were written, %d are there", path, o->count, s->count);
    for (int i = 0; i < o->count && !status; i++) {
        const SafetensorsEntry *want = &o->entry[i];
        if (!same_tensor(safetensors_find(s, want->name), want, type)) status = err("%s: %s: read back, it is not what was written", path, want->name);
    }
    safetensors_close(s);
    return status;
}

static int write_checked(const char *path, const Out *o, Type type, const SafetensorsPair *pair, int pairs)
{
    for (int i = 0; i < o->count; i++)
        if (o->entry[i].type == T_COUNT) return err("%s: %s: elements of type %s are not written", path, o->entry[i].name, o->entry[i].dtype);
    return safetensors_write_as(path, type, o->entry, o->count, pair, pairs) || compare(path, o, type) ? -1 : 0;
}

/* ---- layouts ---- */

static int is_kept(const SafetensorsEntry *e) { return e->type != T_COUNT && strncmp(e->name, "model_ema.", 10) != 0; }

/* The metadata: what was given, and, of a model that is not built in, its configuration files. */
static int write_single(const char *path, Type type, const ModelContent *c)
{
    LdmShape         shape = ldm_shape_of_parts(c->part);
    SafetensorsPair *pair = calloc((size_t)c->pairs + CONFIGS + 1, sizeof *pair);
    char            *text[CONFIGS] = { NULL };
    Out              o = { 0 };
    int              status = pair ? 0 : err("%s: no memory", path), pairs = 0;
    shape.openclip = c->config->clip.act == ACT_GELU;   /* CLIP's own has the quick one */
    for (int i = 0; i < c->pairs && !status; i++) pair[pairs++] = c->pair[i];
    for (int i = 0; i < CONFIGS && !status && !model_config_name(c->config); i++) {
        text[i] = model_config_text(c->config, (ConfigFile)i);
        if (text[i]) pair[pairs++] = (SafetensorsPair){ config_files[i], text[i] };
        else status = -1;
    }
    for (int p = 0; p < MODEL_PARTS && !status; p++)
        if (c->part[p]) status = add_single(&o, (ModelPart)p, c->part[p], &shape);
    for (int i = 0; c->rest && i < c->rest->count && !status; i++)
        if (is_kept(&c->rest->entry[i])) status = add(&o, "", c->rest->entry[i].name, &c->rest->entry[i]);
    if (!status) status = write_checked(path, &o, type, pair, pairs);
    for (int i = 0; i < CONFIGS; i++) free(text[i]);
    free(pair);
    out_free(&o);
    return status;
}

static int write_part(const char *folder, ModelPart part, Type type, const Safetensors *s)
{
    static const char *const    file[MODEL_PARTS] = { "text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors",
                                                      "vae/diffusion_pytorch_model.safetensors" };
    static const SafetensorsPair torch = { "format", "pt" };                    /* transformers looks for it */
    char                         path[PATH_SIZE];
    Out                          o = { 0 };
    int                          status = path_join(path, folder, file[part]);
    for (int i = 0; i < s->count && !status; i++) {
        SafetensorsEntry e = s->entry[i];
        if (part == MODEL_VAE && is_vae_projection(e.name)) e = with_rank(&e, 2);
        status = add(&o, "", e.name, &e);
    }
    if (!status) status = write_checked(path, &o, type, &torch, 1);
    out_free(&o);
    return status;
}

static int copy_file(const char *to, const char *from)
{
    size_t size;
    char  *data = file_read(from, 64 << 20, &size);
    int    status = data ? file_write(to, data, size) : -1;
    free(data);
    return status;
}

/* vocab.json, merges.txt and what else of a tokenizer is there; what a prompt is filled up with is the model's to say. */
static int copy_tokenizer(const char *folder, const char *tokenizer, const ModelConfig *config)
{
    static const char *const files[] = { "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json" };
    char                     to[PATH_SIZE], from[PATH_SIZE], text[512];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (path_join(to, folder, "tokenizer") || dir_make(to) || path_join(to, to, files[i]) || path_join(from, tokenizer, files[i])) return -1;
        if ((i < 2 || is_file(from)) && (i < 2 || config->pad < 0) && copy_file(to, from)) return -1;
    }
    if (config->pad < 0) return 0;
    snprintf(text, sizeof text,
             "{\n  \"tokenizer_class\": \"CLIPTokenizer\",\n  \"do_lower_case\": true,\n  \"model_max_length\": %d,\n  \"bos_token\": \"<|startoftext|>\",\n"
             "  \"eos_token\": \"<|endoftext|>\",\n  \"unk_token\": \"<|endoftext|>\",\n  \"pad_token\": \"%s\"\n}\n",
             config->clip.length, config->pad == 0 ? "!" : "<|endoftext|>");
    if (path_join(to, folder, "tokenizer") || path_join(to, to, "tokenizer_config.json")) return -1;
    return file_write(to, text, strlen(text));
}

static int write_config(const char *folder, const ModelConfig *c, ConfigFile file)
{
    char  path[PATH_SIZE], *text = model_config_text(c, file);
    int   status = !text || path_join(path, folder, config_files[file]) || file_write(path, text, strlen(text)) ? -1 : 0;
    free(text);
    return status;
}

/* The index last: a folder without it is not a model yet. */
static int write_folder(const char *folder, Type type, const ModelContent *c)
{
    static const char *const parts[] = { "scheduler", "text_encoder", "unet", "vae" };
    char                     path[PATH_SIZE];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (path_join(path, folder, parts[i]) || dir_make(path)) return -1;
    for (int p = 0; p < MODEL_PARTS; p++)
        if (c->part[p] && write_part(folder, (ModelPart)p, type, c->part[p])) return -1;
    if (c->tokenizer && *c->tokenizer && copy_tokenizer(folder, c->tokenizer, c->config)) return -1;
    for (int i = CONFIGS - 1; i >= 0; i--)
        if (write_config(folder, c->config, (ConfigFile)i)) return -1;
    return 0;
}

int model_files_write(const char *path, ModelLayout layout, Type type, const ModelContent *c)
{
    return layout == MODEL_FILE ? write_single(path, type, c) : write_folder(path, type, c);
}

int model_files_convert(const char *path, ModelLayout layout, Type type, const ModelSource *source)
{
    ModelFiles *f = model_files_open(source);
    if (!f) return -1;
    ModelContent c = { { f->part[0], f->part[1], f->part[2] }, layout == MODEL_FILE ? f->rest : NULL, &f->config, f->tokenizer, NULL, 0 };
    int           status = model_files_write(path, layout, type, &c);
    model_files_close(f);
    return status;
}
