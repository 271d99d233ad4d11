/* cases.c - the table of what is checked: the class of an op's bound, its draw, its definition, and which dimensions of its tensors the others fix. */
#include "check/check.h"

#define SEGS    "seg0.x?:nhwc seg0.w?:hwc seg1.x?:nhwc seg1.w?:hwc seg2.x?:nhwc seg2.w?:hwc"               /* w.n may be any range of outputs */
#define SEGS_DX "seg0.x?:nhwc seg0.w?:nhwc seg1.x?:nhwc seg1.w?:nhwc seg2.x?:nhwc seg2.w?:nhwc"

const Check checks[OP_COUNT] = {
    [OP_LINEAR]    = { 'B', draw_linear, define_linear, "y0:nhwc x0:nhwc w:nhwc bias?:nhwc row?:nhwc res?:nhwc " SEGS },
    [OP_LINEAR_DX] = { 'B', draw_linear_dx, define_linear_dx, "y0:nhwc x0:nhwc w:nhwc " SEGS_DX },
    [OP_LINEAR_DW] = { 'B', draw_linear_dw, define_linear_dw, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_CONV]      = { 'B', draw_conv, define_conv, "y0:nhwc x0:nhwc w:nhwc bias?:nhwc row?:nhwc res?:nhwc " SEGS },
    [OP_CONV_DX]   = { 'B', draw_conv_dx, define_conv_dx, "y0:nhwc x0:nhwc w:nhwc " SEGS_DX },
    [OP_CONV_DW]   = { 'B', draw_conv_dw, define_conv_dw, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_SUM]       = { 'B', draw_sum, define_sum, "y0:nhwc x0:c" },
    [OP_NORM]      = { 'D', draw_norm, define_norm, "y0:nhwc y1:nhwc y2:nhwc x0:nhwc x1:nhwc x2:nhwc" },
    [OP_NORM_DX]   = { 'D', draw_norm_dx, define_norm_dx, "y0:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_NORM_DW]   = { 'D', draw_norm_dw, define_norm_dw, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_ATTN]      = { 'D', draw_attn, define_attn, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc" },
    [OP_ATTN_DX]   = { 'D', draw_attn_dx, define_attn_dx, "y0:nhwc y1:nhwc y2:nhwc x0:nhwc x1:nhwc x2:nhwc x3:nhwc x4:nhwc x5:nhwc" },
    [OP_ACT]       = { 'D', draw_act, define_act, "y0:nhwc x0:nhwc" },
    [OP_ACT_DX]    = { 'D', draw_act_dx, define_act_dx, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_GEGLU]     = { 'D', draw_geglu, define_geglu, "y0:nhwc x0:nhwc" },
    [OP_GEGLU_DX]  = { 'D', draw_geglu_dx, define_geglu_dx, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_UP2]       = { 'A', draw_up2, define_up2, "y0:nhwc x0:nhwc" },
    [OP_UP2_DX]    = { 'B', draw_up2_dx, define_up2_dx, "y0:nhwc x0:nhwc" },
    [OP_EMBED]     = { 'B', draw_embed, define_embed, "y0:nhwc x0:nhwc x1:hwc x2?:hwc x3?:nhwc" },
    [OP_EMBED_DW]  = { 'B', draw_embed_dw, define_embed_dw, "y0:hwc x0:nhwc x1:nhwc" },
    [OP_COPY]      = { 'B', draw_copy, define_copy, "y0:nhwc x0:nhwc" },
    [OP_ADD]       = { 'B', draw_add, define_add, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_MUL]       = { 'B', draw_mul, define_mul, "y0:nhwc x0:nhwc x1:nhwc" },
    [OP_DROPOUT]   = { 'B', draw_dropout, define_dropout, "y0:nhwc x0:nhwc" },
    [OP_LOSS]      = { 'D', draw_loss, define_loss, "y0:nhwc y1:nhwc x0:nhwc x1:nhwc x2:nhwc x3?:nhwc x4?:nhwc x5:nhwc" },
    [OP_SUMSQ]     = { 'B', draw_sumsq, define_sumsq, "y0:nhwc x0:nhw" },
    [OP_UPDATE]    = { 'D', draw_update, define_update, "y0:nhwc y1:nhwc y2?:nhwc y3?:nhwc x0:nhwc x1:nhwc" },
    [OP_FILL]      = { 'A', draw_fill, define_fill, "y0:-" },
};
