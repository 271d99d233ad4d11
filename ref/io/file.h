/* file.h - whole files in, whole files out, folders.
 *
 * A file is written beside its target as PATH.part, synced, and renamed over it, so that a reader, a kill -9 or a full disk never sees half of it. What an
 * interrupted run left as PATH.part is overwritten by the next. Paths are UTF-8 or whatever bytes the system uses; errors name the path and the reason. */
#ifndef IO_FILE_H
#define IO_FILE_H
#include <stddef.h>
#include <stdint.h>

enum { PATH_SIZE = 4096 };                              /* a buffer that holds any path the system takes */

/* The whole file, malloc'd, with a 0 after its last byte. size may be NULL. NULL and err(): cannot be read, or longer than `limit` bytes. */
void *file_read(const char *path, size_t limit, size_t *size);

/* The whole file in memory that may only be read; its pages are read as they are touched. NULL and err(): cannot be read, no file, or empty. */
void *file_map(const char *path, size_t *size);
void  file_unmap(void *map, size_t size);               /* map may be NULL */

/* A file being written. Failures latch: put may be called on, and commit reports the first. */
typedef struct FileOut FileOut;
FileOut *file_create(const char *path);                 /* NULL and err() */
void     file_put(FileOut *f, const void *data, size_t size);

/* Frees f. 0: the new file is in place and synced. -1 and err(): the target is as it was; or, where its folder cannot be synced, new, but perhaps not for
 * good. */
int      file_commit(FileOut *f);

int file_write(const char *path, const void *data, size_t size);        /* all of it at once: 0, or -1 and err(): the target is as it was */

int is_file(const char *path);                          /* through links */
int is_dir(const char *path);
int dir_make(const char *path);                         /* with its parents; 0, also when it is there, or -1 and err() */

/* The names in a folder but "." and "..", in the order of their bytes. */
typedef struct {
    int    count;
    char **name;
} Names;
int  dir_list(Names *names, const char *path);          /* 0, or -1 and err(); nothing is left to free */
void names_free(Names *names);

/* out = dir/name; dir "" gives name, and an absolute name stands alone. -1 and err() when it is too long. out may be dir. */
int path_join(char out[PATH_SIZE], const char *dir, const char *name);
const char *path_name(const char *path);                /* what follows the last slash */
const char *path_extension(const char *path);           /* the last dot of the name and what follows, or ""; ".hidden" has none */
#endif
