/* cases.c - the table of what is checked: an op's draw, its definition, and which dimensions of its tensors are fixed by the others. */
#include "check/check.h"

#define SEGS    "seg0.x?:nhwc seg0.w?:hwc seg1.x?:nhwc seg1.w?:hwc seg2.x?:nhwc seg2.w?:hwc"               /* w.n may be any range of outputs */
#define SEGS_DX "seg0.x?:nhwc seg0.w?:nhwc seg1.x?:nhwc seg1.w?:nhwc seg2.x?:nhwc seg2.w?:nhwc"

const Check checks[OP_COUNT] = {
    [OP_LINEAR]    = { draw_linear, define_linear, "y0:nhwc x0:nhwc w:nhwc bias?:nhwc row?:nhwc res?:nhwc " SEGS },
    [OP_LINEAR_DX] = { draw_linear_dx, define_linear_dx, "y0:nhwc x0:nhwc w:nhwc " SEGS_DX },
    [OP_LINEAR_DW] = { draw_linear_dw, define_linear_dw, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_CONV]      = { draw_conv, define_conv, "y0:nhwc x0:nhwc w:nhwc bias?:nhwc row?:nhwc res?:nhwc " SEGS },
    [OP_CONV_DX]   = { draw_conv_dx, define_conv_dx, "y0:nhwc x0:nhwc w:nhwc " SEGS_DX },
    [OP_CONV_DW]   = { draw_conv_dw, define_conv_dw, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_SUM]       = { draw_sum, define_sum, "y0:nhwc x0:c" },
    [OP_NORM]      = { draw_norm, define_norm, "y0:nhwc y1:nhwc y2:nhwc x0:nhwc x1:nhwc x2:nhwc" },
    [OP_NORM_DX]   = { draw_norm_dx, define_norm_dx, "y0:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_NORM_DW]   = { draw_norm_dw, define_norm_dw, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_ATTN]      = { draw_attn, define_attn, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc" },
    [OP_ATTN_DX]   = { draw_attn_dx, define_attn_dx, "y0:nhwc y1:nhwc y2:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_ACT]       = { draw_act, define_act, "y0:nhwc x0:nhwc" },
    [OP_ACT_DX]    = { draw_act_dx, define_act_dx, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_GEGLU]     = { draw_geglu, define_geglu, "y0:nhwc x0:nhwc" },
    [OP_GEGLU_DX]  = { draw_geglu_dx, define_geglu_dx, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_UP2]       = { draw_up2, define_up2, "y0:nhwc x0:nhwc" },
    [OP_UP2_DX]    = { draw_up2_dx, define_up2_dx, "y0:nhwc x0:nhwc" },
    [OP_EMBED]     = { draw_embed, define_embed, "y0:nhwc x0:nhwc x1:hwc x2?:hwc x3?:nhwc" },
    [OP_EMBED_DW]  = { draw_embed_dw, define_embed_dw, "y0:hwc x0:nhwc x1:nhwc" },
    [OP_COPY]      = { draw_copy, define_copy, "y0:nhwc x0:nhwc" },
    [OP_ADD]       = { draw_add, define_add, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_MUL]       = { draw_mul, define_mul, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_DROPOUT]   = { draw_dropout, define_dropout, "y0:nhwc x0:nhwc" },
    [OP_LOSS]      = { draw_loss, define_loss, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc x3?:nhwc x4?:nhwc x5:nhwc" },
    [OP_SUMSQ]     = { draw_sumsq, define_sumsq, "y0:nhwc x0:nhw" },
    [OP_UPDATE]    = { draw_update, define_update, "y0:nhwc y1:nhwc y2?:nhwc y3?:nhwc x0:nhwc x1:nhwc" },
    [OP_FILL]      = { draw_fill, define_fill, "y0:-" },
};
