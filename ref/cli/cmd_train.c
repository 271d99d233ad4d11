#include "cli/cmd.h"
#include "train/run.h"
#include <omp.h>

int cmd_train(const TrainConfig *config)
{
    if (config->threads) omp_set_num_threads(config->threads);
    return train_run(config);
}
