/* checkops - `sdlora selftest` as a test: the same options, the exit status of a test. */
#include "base/err.h"
#include "check/selftest.h"
#include "cli/options.h"

int main(int argc, char **argv)
{
    SelftestConfig config;
    int asked = options_parse(&selftest_command, &config, argc - 1, argv + 1), failed = asked ? asked : selftest(&config, stdout);
    if (failed < 0) fprintf(stderr, "checkops: %s\n", err_text());
    return failed < 0 ? 2 : failed > 0 && !asked;
}
