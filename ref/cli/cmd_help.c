/* cmd_help.c - what the program says about itself. */
#include "cli/cmd.h"
#include "base/err.h"
#include "cli/options.h"
#include <string.h>

void help_overview(FILE *out)
{
    fprintf(out, "sdlora %s - trains and samples Stable Diffusion 1.x and 2.x LoRA models, in plain C\n"
                 "\n"
                 "A LoRA is a small file that teaches a large picture model one thing more: a character, a style.\n"
                 "\n"
                 "Usage: sdlora COMMAND [options]\n"
                 "\n", SDLORA_VERSION);
    for (int k = 0; all_commands[k]; k++) fprintf(out, "  %-10s%s\n", all_commands[k]->name, all_commands[k]->summary);
    fprintf(out, "  help      says more: sdlora help train, sdlora help train network_alpha\n"
                 "  docs      prints all of it as Markdown (docs/cli.md)\n"
                 "  version   prints the version\n"
                 "\n"
                 "Two examples\n"
                 "  Teach a model the pictures of pictures/10_mochi (each shown 10 times an epoch), 10 epochs:\n"
                 "    sdlora train --model model.safetensors --train_data_dir pictures --output_name mochi \\\n"
                 "        --network_dim 16 --network_alpha 8 --max_train_epochs 10\n"
                 "  Draw with what it has learned:\n"
                 "    sdlora sample model.safetensors --lora mochi.safetensors --prompt \"mochi, smile, forest\"\n"
                 "\n"
                 "Exit status: 0 done; 1 failed, 2 wrong usage: one line on stderr says why;\n"
                 "3 train was ended by SIGINT (Ctrl-C) or SIGTERM, and has saved what --resume needs: the step in\n"
                 "hand is finished first; a second signal ends it at once, as one before the first step does.\n");
}

void help_docs(FILE *out)
{
    fputs("# The command line\n\n`sdlora docs` prints this page; it comes from the table in `ref/cli/option_table.c`, as `--help` and the parsing do.\n\n"
          "An option is `--name value` or `--name=value`; in names `-` and `_` are the same. It may be given once, unless it says otherwise.\n\n```\n",
          out);
    help_overview(out);
    fputs("```\n", out);
    for (int k = 0; all_commands[k]; k++) fputc('\n', out), options_markdown(out, all_commands[k]);
}

/* "train, sample or info" */
static const char *command_names(char list[256])
{
    size_t used = 0;
    for (int k = 0; all_commands[k]; k++) {
        used += (size_t)snprintf(list + used, 256 - used, "%s%s", k == 0 ? "" : all_commands[k + 1] ? ", " : " or ", all_commands[k]->name);
        CHECK(used < 256, "the list of commands is too long: %s", list);
    }
    return list;
}

int help_about(FILE *out, int argc, char **argv)
{
    char list[256];
    if (argc == 0) return help_overview(out), 0;
    if (argc > 2) return err("help: COMMAND or COMMAND OPTION was expected, and then \"%s\"", argv[2]);
    for (int k = 0; all_commands[k]; k++) {
        if (strcmp(argv[0], all_commands[k]->name)) continue;
        if (argc == 1) return options_help(out, all_commands[k]), 0;
        const Option *option = options_find(all_commands[k], argv[1] + strspn(argv[1], "-"));
        return option ? options_explain(out, all_commands[k], option), 0 : -1;
    }
    return err("help: %s was expected, not \"%s\"", command_names(list), argv[0]);
}
