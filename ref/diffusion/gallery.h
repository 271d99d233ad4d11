/* gallery.h - a run of `sdlora sample`: every picture that the configuration asks for, as files and as a grid.
 *
 * Pictures are numbered prompt by prompt, n_iter each, and written to output_dir/00000.png ...; with `compare` each is also made without the LoRAs, from the
 * same noise, in output_dir/without/. Each file says in its `parameters` what it was made from, in the web UI's words. */
#ifndef DIFFUSION_GALLERY_H
#define DIFFUSION_GALLERY_H
#include "diffusion/sample_config.h"

int gallery_run(const SampleConfig *config);            /* config: checked. 0, or -1 and err() */
#endif
