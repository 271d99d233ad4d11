#include "io/file.h"
#include "base/err.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- in ---- */

/* Reads until the end or until the buffer is full, through interruptions. The bytes read, or -1 and errno. */
static ssize_t read_all(int fd, char *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, data + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* The size that fstat gives is only where the buffer starts: pipes have none, and a file may grow. */
static char *read_grow(int fd, const char *path, size_t room, size_t limit, size_t *size)
{
    char *data = NULL;
    size_t used = 0;
    for (;;) {
        char *wider = realloc(data, room + 1);
        if (!wider) return err("%s: no memory for %zu bytes", path, room + 1), free(data), NULL;
        data = wider;
        ssize_t n = read_all(fd, data + used, room + 1 - used);
        if (n < 0) return err("%s: %s", path, strerror(errno)), free(data), NULL;
        used += (size_t)n;
        if (used > limit) return err("%s: larger than %zu bytes", path, limit), free(data), NULL;
        if (used <= room) break;
        room *= 2;
    }
    data[used] = 0;
    if (size) *size = used;
    return data;
}

void *file_read(const char *path, size_t limit, size_t *size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        err("%s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return NULL;
    }
    char *data = NULL;
    if (st.st_size > 0 && (uintmax_t)st.st_size > limit) err("%s: larger than %zu bytes", path, limit);
    else data = read_grow(fd, path, st.st_size > 0 ? (size_t)st.st_size : 4096, limit, size);
    close(fd);
    return data;
}

void *file_map(const char *path, size_t *size)
{
    struct stat st;
    void       *map = NULL;
    int         fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err("%s: %s", path, strerror(errno)), NULL;
    if (fstat(fd, &st) < 0) err("%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode)) err("%s: not a file", path);
    else if (st.st_size == 0) err("%s: the file is empty", path);
    else {
        map = mmap(NULL, *size = (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) err("%s: cannot be mapped: %s", path, strerror(errno)), map = NULL;
    }
    close(fd);
    return map;
}

void file_unmap(void *map, size_t size)
{
    if (map) munmap(map, size);
}

/* ---- out ---- */

enum { BUFFER = 1 << 16 };

struct FileOut {
    int    fd, bad;                                     /* bad: errno of the first failure */
    size_t used;
    char   path[PATH_SIZE], part[PATH_SIZE];
    char   buffer[BUFFER];
};

FileOut *file_create(const char *path)
{
    FileOut *f = malloc(sizeof *f);
    if (!f) return err("%s: no memory to write it", path), NULL;
    if ((size_t)snprintf(f->path, PATH_SIZE, "%s", path) >= PATH_SIZE || (size_t)snprintf(f->part, PATH_SIZE, "%s.part", path) >= PATH_SIZE) {
        err("%.100s...: the path is too long", path);
        free(f);
        return NULL;
    }
    f->bad = 0, f->used = 0;
    if (is_dir(path)) errno = EISDIR, f->fd = -1;
    else {
        unlink(f->part);
        f->fd = open(f->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (f->fd < 0) {
        err("%s: cannot be written: %s", path, strerror(errno));
        free(f);
        return NULL;
    }
    return f;
}

static void write_all(FileOut *f, const char *data, size_t size)
{
    while (size > 0 && !f->bad) {
        ssize_t n = write(f->fd, data, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) f->bad = n < 0 ? errno : EIO;
        else data += n, size -= (size_t)n;
    }
}

static void flush(FileOut *f)
{
    write_all(f, f->buffer, f->used);
    f->used = 0;
}

void file_put(FileOut *f, const void *data, size_t size)
{
    if (size == 0) return;
    if (f->used + size > BUFFER) flush(f);
    if (size >= BUFFER) write_all(f, data, size);
    else memcpy(f->buffer + f->used, data, size), f->used += size;
}

/* A rename is durable only once the folder is synced; file systems that cannot sync a folder say EINVAL. */
static int sync_folder(const char *path)
{
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash) strcpy(folder, ".");
    else slash[slash == folder] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == EACCES ? 0 : errno;     /* a folder one may write but not list */
    int bad = fsync(fd) < 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return bad;
}

/* Has somebody else replaced our PATH.part since? Then what a rename would put in place is theirs, and perhaps half written. */
static int is_ours(const FileOut *f)
{
    struct stat ours, there;
    return fstat(f->fd, &ours) == 0 && stat(f->part, &there) == 0 && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

int file_commit(FileOut *f)
{
    flush(f);
    if (!f->bad && fsync(f->fd) < 0 && errno != EINVAL) f->bad = errno;
    int ours = is_ours(f);
    if (close(f->fd) < 0 && !f->bad) f->bad = errno;
    int result = 0;
    if (f->bad) result = err("%s: cannot be written: %s", f->path, strerror(f->bad));
    else if (!ours) result = err("%s: cannot be written: another process writes it too", f->path);
    else if (rename(f->part, f->path) < 0) result = err("%s: cannot be put in place: %s", f->path, strerror(errno));
    else if ((f->bad = sync_folder(f->path))) result = err("%s: its folder cannot be synced: %s", f->path, strerror(f->bad));
    if (result < 0 && ours) unlink(f->part);
    free(f);
    return result;
}

int file_write(const char *path, const void *data, size_t size)
{
    FileOut *f = file_create(path);
    if (!f) return -1;
    file_put(f, data, size);
    return file_commit(f);
}

/* ---- folders and paths ---- */

int is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int dir_make(const char *path)
{
    char part[PATH_SIZE];
    if (!*path) return err("a folder without a name cannot be made");
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part) return err("%.100s...: the path is too long", path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/') continue;
        char end = *p;
        *p = 0;
        int why = mkdir(part, 0777) < 0 ? errno : 0;
        if (why && !is_dir(part)) return err("%s: the folder cannot be made: %s", part, strerror(why));
        if (!end) return 0;
        *p = end;
    }
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int dir_list(Names *names, const char *path)
{
    *names = (Names){ 0 };
    DIR *dir = opendir(path);
    if (!dir) return err("%s: %s", path, strerror(errno));
    for (int room = 0;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (names->count == room) {
            room = room ? 2 * room : 64;
            char **wider = realloc(names->name, (size_t)room * sizeof *wider);
            if (!wider) break;
            names->name = wider;
        }
        if (!(names->name[names->count] = strdup(entry->d_name))) break;
        names->count++;
    }
    int bad = errno;
    closedir(dir);
    if (bad) {
        names_free(names);
        return err("%s: %s", path, strerror(bad));
    }
    if (names->count) qsort(names->name, (size_t)names->count, sizeof *names->name, by_bytes);
    return 0;
}

void names_free(Names *names)
{
    for (int i = 0; i < names->count; i++) free(names->name[i]);
    free(names->name);
    *names = (Names){ 0 };
}

int path_join(char out[PATH_SIZE], const char *dir, const char *name)
{
    size_t n = *name == '/' ? 0 : strlen(dir), slash = n > 0 && dir[n - 1] != '/', length = strlen(name);
    if (n + slash + length >= PATH_SIZE) return err("%.100s...: the path is too long", n ? dir : name);
    memmove(out, dir, n);
    if (slash) out[n] = '/';
    memcpy(out + n + slash, name, length + 1);
    return 0;
}

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *path_extension(const char *path)
{
    const char *name = path_name(path), *dot = strrchr(name, '.');
    return dot && dot > name ? dot : "";
}
