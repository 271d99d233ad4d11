/* share.h - where the program's own data are: what `make install` put into PREFIX/share/sdlora or, before that, into share/ of the source tree. */
#ifndef IO_SHARE_H
#define IO_SHARE_H
#include "io/file.h"

/* path = the first of the places that has a file called name: 1; 0: none has. */
int share_find(char path[PATH_SIZE], const char *name);
#endif
