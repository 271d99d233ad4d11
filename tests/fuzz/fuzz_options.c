/* covers
 * A settings file as options of `sdlora train`, and as those of `sdlora sample`. */
#include "cli/options.h"
#include "fuzz.h"
#include "io/toml.h"
#include "train/config.h"

int fuzz_one(const uint8_t *data, size_t size)
{
    TrainConfig config;
    char       *path = (char *)fuzz_file("a.toml", data, size);
    char       *words[] = { "--config_file", path };
    if (options_parse(&train_command, &config, 2, words) < 0) fuzz_refused("");
    else if (train_config_check(&config) < 0) fuzz_refused("");
    toml_close(config.config_file);
    return 0;
}
