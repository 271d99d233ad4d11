#include "check/real.h"

enum { SAME, DOWN, DOWN_VAE };                          /* the first three geometries of draw_geometry (case_conv.c) */
enum { FULL, CAUSAL };

/* Convolutions: geometry, h, w, i, o, n. */
#define CONVS(kind)                                                                                                                                            \
    { kind, "unet, 96x64", { SAME, 96, 64, 320, 320, 1 } }, { kind, "unet, 96x64, skip", { SAME, 96, 64, 640, 320, 1 } },                                      \
    { kind, "unet, 96x64, skip", { SAME, 96, 64, 960, 320, 1 } }, { kind, "unet, 96x64, upsampler", { SAME, 96, 64, 640, 640, 1 } },                           \
    { kind, "unet, to 48x32", { DOWN, 96, 64, 320, 320, 1 } }, { kind, "unet, 48x32", { SAME, 48, 32, 320, 640, 1 } },                                         \
    { kind, "unet, 48x32", { SAME, 48, 32, 640, 640, 1 } }, { kind, "unet, 48x32, skip", { SAME, 48, 32, 1920, 640, 1 } },                                     \
    { kind, "unet, 48x32, upsampler", { SAME, 48, 32, 1280, 1280, 1 } }, { kind, "unet, to 24x16", { DOWN, 48, 32, 640, 640, 1 } },                            \
    { kind, "unet, 24x16", { SAME, 24, 16, 640, 1280, 1 } }, { kind, "unet, 24x16", { SAME, 24, 16, 1280, 1280, 1 } },                                         \
    { kind, "unet, 24x16, skip", { SAME, 24, 16, 2560, 1280, 1 } }, { kind, "unet, to 12x8", { DOWN, 24, 16, 1280, 1280, 1 } },                                \
    { kind, "unet, 12x8", { SAME, 12, 8, 1280, 1280, 1 } }, { kind, "unet, 12x8, skip", { SAME, 12, 8, 2560, 1280, 1 } },                                      \
    { kind, "unet, out", { SAME, 96, 64, 320, 4, 1 } }

/* Linears: i, o, w, h, n. */
#define LINEARS(kind)                                                                                                                                          \
    { kind, "unet, 96x64, q", { 320, 320, 6144, 1, 1 } }, { kind, "unet, 96x64, qkv", { 320, 960, 6144, 1, 1 } },                                              \
    { kind, "unet, 96x64, geglu", { 320, 2560, 6144, 1, 1 } }, { kind, "unet, 96x64, feed forward", { 1280, 320, 6144, 1, 1 } },                               \
    { kind, "unet, 96x64, skip 1x1", { 960, 320, 64, 96, 1 } }, { kind, "unet, 48x32, q", { 640, 640, 1536, 1, 1 } },                                          \
    { kind, "unet, 48x32, geglu", { 640, 5120, 1536, 1, 1 } }, { kind, "unet, 48x32, feed forward", { 2560, 640, 1536, 1, 1 } },                               \
    { kind, "unet, 24x16, q", { 1280, 1280, 384, 1, 1 } }, { kind, "unet, 24x16, geglu", { 1280, 10240, 384, 1, 1 } },                                         \
    { kind, "unet, 24x16, feed forward", { 5120, 1280, 384, 1, 1 } }, { kind, "unet, 12x8, q", { 1280, 1280, 96, 1, 1 } },                                     \
    { kind, "unet, text k v", { 768, 640, 77, 1, 1 } }, { kind, "text, q", { 768, 768, 77, 1, 1 } }, { kind, "text, up", { 768, 3072, 77, 1, 1 } },            \
    { kind, "text, down", { 3072, 768, 77, 1, 1 } }

/* Attentions: heads, causal, d, tq, tk (not where causal), n. Heads are independent, so of the largest two do. */
#define ATTNS(kind)                                                                                                                                            \
    { kind, "unet, 96x64, self", { 2, FULL, 40, 6144, 6144, 1 } }, { kind, "unet, 96x64, text", { 8, FULL, 40, 6144, 77, 1 } },                                \
    { kind, "unet, 48x32, self", { 8, FULL, 80, 1536, 1536, 1 } }, { kind, "unet, 48x32, text", { 8, FULL, 80, 1536, 77, 1 } },                                \
    { kind, "unet, 24x16, self", { 8, FULL, 160, 384, 384, 1 } }, { kind, "unet, 12x8, self", { 8, FULL, 160, 96, 96, 1 } },                                   \
    { kind, "text", { 12, CAUSAL, 64, 77, 1 } }

/* Norms: channels of a group, 1, groups, n, h, w; or channels, 0, n, h, w. */
#define NORMS(kind)                                                                                                                                            \
    { kind, "unet, 96x64", { 10, 1, 32, 1, 96, 64 } }, { kind, "unet, 96x64, skip", { 30, 1, 32, 1, 96, 64 } },                                               \
    { kind, "unet, 48x32", { 20, 1, 32, 1, 48, 32 } },                                                                                                         \
    { kind, "unet, 24x16", { 40, 1, 32, 1, 24, 16 } }, { kind, "unet, 12x8, skip", { 80, 1, 32, 1, 12, 8 } },                                                  \
    { kind, "unet, 96x64, tokens", { 320, 0, 1, 1, 6144 } }, { kind, "text", { 768, 0, 1, 1, 77 } }

/* Elementwise: channels, w, h, n. */
#define PLANES(kind)                                                                                                                                           \
    { kind, "unet, 96x64", { 320, 64, 96, 1 } }, { kind, "unet, 48x32", { 640, 32, 48, 1 } }, { kind, "unet, 24x16", { 1280, 16, 24, 1 } }
#define GEGLUS(kind)                                                                                                                                           \
    { kind, "unet, 96x64", { 1280, 6144, 1, 1 } }, { kind, "unet, 48x32", { 2560, 1536, 1, 1 } }, { kind, "unet, 24x16", { 5120, 384, 1, 1 } }
#define UPS(kind)                                                                                                                                              \
    { kind, "unet, to 96x64", { 640, 32, 48, 1 } }, { kind, "unet, to 48x32", { 1280, 16, 24, 1 } }, { kind, "unet, to 24x16", { 1280, 8, 12, 1 } }

static const RealShape shapes[] = {
    LINEARS(OP_LINEAR), { OP_LINEAR, "unet, time", { 320, 1280, 1, 1, 1 } }, LINEARS(OP_LINEAR_DX),
    { OP_LINEAR_DW, "lora, A", { 6144, 320, 16, 1, 1 } }, { OP_LINEAR_DW, "lora, B", { 6144, 16, 320, 1, 1 } },
    { OP_LINEAR_DW, "full", { 1536, 640, 640, 1, 1 } },
    CONVS(OP_CONV), { OP_CONV, "unet, in", { SAME, 96, 64, 4, 320, 1 } }, { OP_CONV, "vae, 96x64", { SAME, 96, 64, 512, 512, 1 } },
    { OP_CONV, "vae, to 96x64", { DOWN_VAE, 192, 128, 128, 128, 1 } }, CONVS(OP_CONV_DX),
    { OP_CONV_DW, "locon, A", { SAME, 96, 64, 320, 16, 1 } }, { OP_CONV_DW, "full", { SAME, 24, 16, 640, 640, 1 } },
    ATTNS(OP_ATTN), ATTNS(OP_ATTN_DX), NORMS(OP_NORM), NORMS(OP_NORM_DX), NORMS(OP_NORM_DW),
    PLANES(OP_ACT), PLANES(OP_ACT_DX), { OP_ACT, "text", { 3072, 77, 1, 1 } }, { OP_ACT_DX, "text", { 3072, 77, 1, 1 } },
    GEGLUS(OP_GEGLU), GEGLUS(OP_GEGLU_DX), UPS(OP_UP2), UPS(OP_UP2_DX), PLANES(OP_SUM), PLANES(OP_COPY), PLANES(OP_ADD), PLANES(OP_MUL),
    PLANES(OP_DROPOUT), PLANES(OP_FILL),
    { OP_EMBED, "text", { 768, 77, 1 } }, { OP_EMBED_DW, "text", { 768, 77, 1 } }, { OP_LOSS, "latents", { 4, 64, 96, 1 } },
    { OP_SUMSQ, "lora of rank 16", { 1594368, 1 } }, { OP_UPDATE, "lora of rank 16", { 1594368, 1 } },
};

/* ---- tiles ---- */

/* What is not part of a shape - types, functions, what is added - is drawn: so often that all of it comes. */
#define TWICE(...) __VA_ARGS__, __VA_ARGS__
#define OFTEN(...) TWICE(TWICE(TWICE(__VA_ARGS__)))

/* Heads of each width there is a tile for, and two chunks. */
#define HEADS(kind)                                                                                                                                            \
    { kind, "40", { 2, FULL, 40, 70, 77, 1 } }, { kind, "64", { 2, CAUSAL, 64, 77, 1 } }, { kind, "80", { 1, FULL, 80, 70, 77, 1 } },                          \
    { kind, "128", { 1, FULL, 128, 33, 70, 1 } }, { kind, "160", { 1, FULL, 160, 70, 40, 1 } }, { kind, "chunks", { 1, CAUSAL, 256, 66, 1 } }
#define PATHS(kind) OFTEN({ kind, "wide", { 24, 5, 3, 2 } }, { kind, "narrow", { 7, 5, 3, 2 } })
#define NORM_PATHS(kind)                                                                                                                                       \
    OFTEN({ kind, "groups, wide", { 6, 1, 4, 2, 3, 23 } }, { kind, "rows, wide", { 40, 0, 2, 3, 7 } }, { kind, "groups", { 3, 1, 5, 2, 3, 23 } },              \
          { kind, "rows", { 37, 0, 2, 3, 7 } })

/* Products: enough results for the tile, of sums that are soon made; and few of long sums, which blocks share. */
static const RealShape tiles[] = {
    { OP_LINEAR, "128x128", { 8, 384, 1920, 1, 1 } }, { OP_LINEAR, "128x64", { 8, 264, 2176, 1, 1 } }, { OP_LINEAR, "64x64", { 520, 72, 40, 1, 1 } },
    { OP_LINEAR_DX, "128x128", { 384, 8, 1920, 1, 1 } }, { OP_LINEAR_DX, "128x64", { 264, 8, 2176, 1, 1 } },
    { OP_LINEAR_DX, "64x64", { 72, 520, 40, 1, 1 } }, { OP_LINEAR_DW, "128x128", { 8, 384, 1920, 1, 1 } },
    { OP_LINEAR_DW, "128x64", { 8, 264, 2176, 1, 1 } }, { OP_LINEAR_DW, "64x64", { 520, 72, 40, 1, 1 } },
    { OP_CONV, "", { SAME, 7, 9, 40, 72, 2 } }, { OP_CONV, "stride", { DOWN, 8, 10, 40, 72, 2 } }, { OP_CONV, "transformed", { SAME, 13, 17, 24, 40, 2 } },
    { OP_CONV_DX, "", { SAME, 7, 9, 72, 40, 2 } }, { OP_CONV_DX, "transformed", { SAME, 13, 17, 40, 24, 2 } },
    { OP_CONV_DX, "stride", { DOWN, 8, 10, 72, 40, 2 } }, { OP_CONV_DW, "", { SAME, 7, 9, 16, 72, 2 } },
    HEADS(OP_ATTN), HEADS(OP_ATTN_DX), NORM_PATHS(OP_NORM), NORM_PATHS(OP_NORM_DX), NORM_PATHS(OP_NORM_DW), PATHS(OP_ACT), PATHS(OP_ACT_DX), PATHS(OP_GEGLU),
    PATHS(OP_GEGLU_DX), PATHS(OP_UP2), PATHS(OP_UP2_DX), PATHS(OP_COPY), PATHS(OP_COPY), PATHS(OP_ADD), PATHS(OP_MUL), PATHS(OP_FILL), PATHS(OP_SUM),
    PATHS(OP_DROPOUT), { OP_EMBED, "", { 24, 7, 2 } }, { OP_EMBED_DW, "", { 24, 7, 2 } }, { OP_LOSS, "", { 8, 5, 3, 2 } }, { OP_SUMSQ, "", { 64, 72 } },
    OFTEN({ OP_UPDATE, "", { 64, 9 } }),
};

static const RealShape *find(const RealShape *list, size_t count, OpKind kind, int k)
{
    for (size_t j = 0; j < count; j++)
        if (list[j].kind == kind && k-- == 0) return &list[j];
    return NULL;
}
const RealShape *real_shape(OpKind kind, int k) { return find(shapes, sizeof shapes / sizeof *shapes, kind, k); }
const RealShape *tile_shape(OpKind kind, int k) { return find(tiles, sizeof tiles / sizeof *tiles, kind, k); }
