#include "base/err.h"
#include "cli/cmd.h"

int cmd_selftest(const SelftestConfig *config)
{
    int failed = selftest(config, stdout);
    return failed > 0 ? err("selftest: %d operation%s failed on %s", failed, failed == 1 ? "" : "s", config->set) : failed;
}
