/* ldm_names.h - what tensors are called in the original single files ("ldm", after the program of Rombach et al.) and in diffusers' folders.
 *
 * A single file holds three parts, told apart by how names begin:
 *
 *     model.diffusion_model.             the U-Net, its blocks numbered in the order in which they run: input_blocks.K, middle_block.K, output_blocks.K
 *     first_stage_model.                 the autoencoder; the levels of its decoder are numbered from fine to coarse, diffusers' from coarse to fine
 *     cond_stage_model.transformer.      SD 1.x: CLIP's text encoder under transformers' names
 *     cond_stage_model.model.            SD 2.x: OpenCLIP's, whose names are its own, and q, k and v of a layer one tensor, in_proj
 *
 * Which block a number means depends on the residual blocks a level (and, in the autoencoder, on the levels): LdmShape. */
#ifndef MODEL_LDM_NAMES_H
#define MODEL_LDM_NAMES_H
#include "io/safetensors.h"
#include "model/unet.h"

typedef enum { MODEL_TEXT, MODEL_UNET, MODEL_VAE, MODEL_PARTS } ModelPart;

typedef struct {
    int layers;                                         /* the U-Net's residual blocks a level, on the way down */
    int vae_levels;
    int attention[UNET_LEVELS];                         /* has this block of the way up transformers? */
    int openclip;                                       /* the text encoder is OpenCLIP's */
} LdmShape;

/* The prefix of a part's names, with its dot at the end. */
const char *ldm_prefix(ModelPart part, const LdmShape *shape);

/* The same tensor in the other layout; names are without ldm_prefix. 1; or 0: no tensor of that part is called so. A text encoder's names may lack
 * text_model., attention in the autoencoder may be spelled in the ways of older files. */
int ldm_to_diffusers(Name *to, ModelPart part, const char *ldm, const LdmShape *shape);
int ldm_from_diffusers(Name *to, ModelPart part, const char *diffusers, const LdmShape *shape);

/* A diffusers name as today's diffusers spells it. */
void ldm_modern(Name *to, ModelPart part, const char *diffusers);

/* The shape of a whole single file; of parts under diffusers' names (NULL: not there). */
LdmShape ldm_shape_of_file(const Safetensors *file);
LdmShape ldm_shape_of_parts(const Safetensors *const part[MODEL_PARTS]);

/* OpenCLIP's fused tensor: is it one, of which layer, and its ending, "weight" or "bias"? */
int ldm_is_fused(const char *ldm, int *layer, const char **ending);
#endif
