/* settings.h - a parsed configuration back in words, option by option: what a report shows of a run. */
#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H
#include "cli/options.h"
#include "train/config.h"

/* A row an option of the table; *setting is one block of memory for the rows and their texts, the caller's to free. The number of rows, or -1 and err(). */
int settings_of(Setting **setting, const Command *command, const void *config);
#endif
