#include "model/foreign.h"
#include "base/err.h"
#include <string.h>

/* Each is told by the name of a tensor that nothing else has, or by how such names begin. */
static const struct {
    const char *begins, *what;
} files[] = {
    { "conditioner.embedders.", "a Stable Diffusion XL model" },
    { "model.diffusion_model.label_emb.", "a Stable Diffusion XL model, or another with class embeddings" },
    { "model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 model" },
    { "joint_blocks.", "a Stable Diffusion 3 model" },
    { "model.diffusion_model.double_blocks.", "a Flux model" },
    { "double_blocks.", "a Flux model" },
    { "transformer_blocks.0.attn.add_k_proj.", "a Stable Diffusion 3 or Flux transformer" },
    { "control_model.", "a ControlNet" },
    { "controlnet_cond_embedding.", "a ControlNet" },
    { "lora_unet_", "a LoRA, which goes with --lora or --network_weights" },
    { "lora_te", "a LoRA, which goes with --lora or --network_weights" },
    { "unet:0:", "a LoRA, which goes with --lora or --network_weights" },
    { "motion_modules.", "an AnimateDiff motion module" },
    { "add_embedding.", "the U-Net of a Stable Diffusion XL model" },
};

static int begins(const Safetensors *f, const char *text)
{
    int low = 0, high = f->count;                       /* entries are in the order of their names: the first that is not before text */
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(f->entry[middle].name, text) < 0) low = middle + 1;
        else high = middle;
    }
    return low < f->count && strncmp(f->entry[low].name, text, strlen(text)) == 0;
}

const char *foreign_file(const Safetensors *f)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (begins(f, files[i].begins)) return files[i].what;
    const SafetensorsEntry *in = safetensors_find(f, "model.diffusion_model.input_blocks.0.0.weight");
    if (!in) in = safetensors_find(f, "conv_in.weight");
    switch (in && in->rank == 4 ? in->shape[1] : 4) {
    case 9: return "an inpainting model (9 input channels)";
    case 8: return "an instruct-pix2pix model (8 input channels)";
    case 5: return "a depth-to-image model (5 input channels)";
    case 7: return "an upscaler (7 input channels)";
    }
    return NULL;
}

const char *foreign_pipeline(const char *class_name)
{
    static const struct {
        const char *part, *what;
    } classes[] = {
        { "StableDiffusionXL", "a Stable Diffusion XL model" },       { "StableDiffusion3", "a Stable Diffusion 3 model" },
        { "Flux", "a Flux model" },                                   { "InstructPix2Pix", "an instruct-pix2pix model (8 input channels)" },
        { "Inpaint", "an inpainting model (9 input channels)" },      { "Depth2Img", "a depth-to-image model (5 input channels)" },
        { "Upscale", "an upscaler (7 input channels)" },              { "ControlNet", "a ControlNet" },
        { "StableCascade", "a Stable Cascade model" },                { "PixArt", "a PixArt model" },
        { "StableVideo", "a Stable Video Diffusion model" },          { "StableUnCLIP", "a Stable unCLIP model" },
    };
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strstr(class_name, classes[i].part)) return classes[i].what;
    return NULL;
}

int foreign_refuse(const char *path, const char *what)
{
    return err("%s: this is %s; sdlora knows the models of Stable Diffusion 1.x and 2.x", path, what);
}
