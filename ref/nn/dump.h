/* dump.h - values of a run, set aside as they arise and written to one file: to verify, and to study. Looking changes nothing: values are copied out of the
 * set, and no bit of the run depends on it.
 *
 * Shapes are torch's: pictures, latents and convolutions (n,c,h,w), text states (n,t,c). Types are the set's; what the host computes is F64, ids are I32.
 * Where golden/make.py has the same value it has the same name. n images, T tokens, C channels; <module> is the key of a LoRA module.
 *
 * A step of training, DIR/step-00000001.safetensors. With --gradient_accumulation_steps the names of batch k begin with batch.{k}.
 *   in.ids (n,T)  in.t (n)  in.latents  in.noise (n,4,h,w)             what was drawn; latents are as the U-Net sees them (scaled)
 *   text.layer.{i}  text.hidden (n,T,C)                                output of layer i, where the text encoder is trained; states after the final norm
 *   text.states (n,k(T-2)+2,C)                                         of captions in k chunks: as one row; in.ids are (n,kT), the two above (nk,T,C)
 *   train.noisy  train.target (n,4,h,w)  train.weight (n)              what goes in, what shall come out, what it counts
 *   time.emb (n,C)  unet.conv_in  unet.down_blocks.{i}  unet.mid_block  unet.up_blocks.{i}  unet.out
 *   train.loss_each (n)  train.loss ()                                 weight * mean square error of each image; their mean over the step's batches
 *   grad.<module>.lora_down.weight, .lora_up.weight                    before clipping; times the metadata's loss_scale, 1 without f16
 *   step{k-1}.<module>.*  step{k}.<module>.*                           the LoRA before and after step k
 *   schedule.alphas_cumprod (1000)
 * Its metadata: format, step, epoch, prediction, the settings of the update, loss, norm, loss_scale, picture.{j} and caption.{j} of each image.
 *
 * A batch of sampling, DIR/00000.safetensors after its first picture (DIR/without/ with --compare); i from 0
 *   in.sample.ids  in.sample.uncond (n,T)  text.layer.{i}  text.hidden (2n,T,C)            without, then with the prompt (--cfg_scale 1: with); a row a chunk
 *   in.sample.noise  in.sample.ancestral.{i} (n,4,h,w)                                     the first noise; what step i of an ancestral sampler adds
 *   sample.sigmas (steps+1)  sample.timesteps (steps)
 *   sample.{i}.input  sample.{i}.uncond  sample.{i}.cond  sample.{i}.output  sample.{i}.denoised (n,4,h,w)       output: of the two, guided
 *   sample.{i} (n,4,h,w)                                                                   x after step i, in k-space (sampler.h)
 *   vae.latent (n,4,h,w)  vae.decoded.{j} (1,3,H,W)                                        unscaled; in -1..1 before it is cut to that and rounded
 */
#ifndef NN_DUMP_H
#define NN_DUMP_H
#include "io/safetensors.h"
#include "ops/ops.h"

typedef struct {
    Set              *set;
    SafetensorsEntry *entry;                            /* names and data are ours */
    SafetensorsPair  *pair;                             /* keys and values too */
    int               count, room, pairs, pair_room, failed;
    char              prefix[32];                       /* of the names to come */
} Dump;

void dump_open(Dump *dump, Set *set);

/* From dump_put to dump_tap: nothing is done where dump is NULL. The first failure (no memory) latches, and dump_write reports it. */

/* A value in the set's memory; in the host's. rank is that of the file's shape: 4 (n,c,h,w), 3 (n,w,c), 2 (n,h*w*c), 1 (n*h*w*c), 0 a scalar. */
void dump_put(Dump *dump, Tensor value, int rank, const char *name, ...) __attribute__((format(printf, 4, 5)));
void dump_host(Dump *dump, Tensor value, int rank, const char *name, ...) __attribute__((format(printf, 4, 5)));
void dump_prefix(Dump *dump, const char *prefix, ...) __attribute__((format(printf, 2, 3)));
void dump_note(Dump *dump, const char *key, const char *value, ...) __attribute__((format(printf, 3, 4)));      /* for the metadata */
void dump_tap(void *dump, const char *name, Tensor value);          /* for Tape.tap */

/* Writes what was put and frees it, whether it can be written or not. 0, or -1 and err(). */
int dump_write(Dump *dump, const char *path);
#endif
