#include "cli/cmd.h"
#include "cli/settings.h"
#include "train/run.h"
#include <omp.h>
#include <stdlib.h>

int cmd_train(const TrainConfig *config)
{
    if (config->threads) omp_set_num_threads(config->threads);
    TrainConfig told = *config;                         /* the report shows the options, whose table belongs to this room */
    Setting    *setting;
    if ((told.settings = settings_of(&setting, &train_command, config)) < 0) return -1;
    told.setting = setting;
    int status = train_run(&told);
    free(setting);
    return status;
}
