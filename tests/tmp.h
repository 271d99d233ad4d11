/* tmp.h - a folder of its own for a test, removed when it is done. */
#ifndef TESTS_TMP_H
#define TESTS_TMP_H
#include "io/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char tmp_dir[64];

static inline int tmp_open(void **state)
{
    (void)state;
    strcpy(tmp_dir, "/tmp/sdlora-test-XXXXXX");
    return mkdtemp(tmp_dir) ? 0 : -1;
}

/* DIR/name, valid until the fourth call after it. */
static inline const char *tmp_path(const char *name)
{
    static char path[4][256];
    static int  next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", tmp_dir, name);
    return p;
}

static inline int tmp_remove(const char *dir)
{
    char  path[PATH_SIZE];
    Names names;
    if (dir_list(&names, dir) < 0) return -1;
    for (int i = 0; i < names.count; i++) {
        path_join(path, dir, names.name[i]);
        if (unlink(path) < 0) tmp_remove(path);
    }
    names_free(&names);
    return rmdir(dir);
}

static inline int tmp_close(void **state)
{
    (void)state;
    return tmp_remove(tmp_dir);
}
#endif
