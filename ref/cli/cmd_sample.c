#include "cli/cmd.h"
#include "diffusion/gallery.h"
#include <omp.h>

int cmd_sample(const SampleConfig *config)
{
    if (config->threads) omp_set_num_threads(config->threads);
    return gallery_run(config);
}
