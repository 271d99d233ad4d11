/* positional.h - which modules a file of cloneofsimo's layout means: it numbers them, in the order in which diffusers once walked through the model.
 *
 *   U-Net         transformer blocks in the order down, up, mid; of each attn1's to_q, to_k, to_v, to_out.0, attn2's the same, and, in files that have it,
 *                 ff.net.0.proj: nine modules a block, else eight. Until diffusers 0.11 ff came before attn2, since then behind it: the shapes tell
 *   text encoder  of each layer k_proj, v_proj, q_proj, out_proj
 */
#ifndef LORA_POSITIONAL_H
#define LORA_POSITIONAL_H
#include "lora/file.h"

/* Gives the file's modules their paths. unet: the model's, or NULL for the blocks of SD 1.x and 2.x. 0, also where there is nothing to do, or -1 and err(). */
int lora_place(LoraFile *f, const Weights *unet);

/* The path of place i in the order of the format's own time, ff before attn2, `per` modules a block; "" beyond the last. */
Name lora_place_path(int is_unet, int i, int per);
#endif
