#include "cli/cmd.h"

int cmd_plan(const PlanConfig *config) { return plan_run(config, stdout); }
