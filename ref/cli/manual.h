/* manual.h - the man page and bash's completion. Both come from the tables of options, as --help and docs/cli.md do; `make install` installs them. */
#ifndef CLI_MANUAL_H
#define CLI_MANUAL_H
#include <stdio.h>

void manual_page(FILE *out);                            /* sdlora.1, in the macros of man(7): `sdlora docs --man` */
void manual_completion(FILE *out);                      /* a bash script that defines and registers _sdlora: `sdlora docs --bash` */
#endif
