#include "fuzz.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 16, PATH = 128 };

static char  dir[64];
static char  file[FILES][PATH];
static int   files;
static pid_t owner;

/* Files first, then the folders that they are in. */
static void remove_all(void)
{
    if (getpid() != owner) return;
    for (int i = 0; i < files; i++) {
        unlink(file[i]);
        *strrchr(file[i], '/') = 0;
        if (strcmp(file[i], dir)) rmdir(file[i]);
    }
    rmdir(dir);
}

const char *fuzz_dir(void)
{
    if (owner == getpid()) return dir;
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%.40s/fuzz-XXXXXX", base ? base : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    CHECK(mkdtemp(dir), "%s: %s", dir, strerror(errno));
    files = 0, owner = getpid();
    atexit(remove_all);
    return dir;
}

static const char *place_of(const char *name)
{
    char path[PATH];
    CHECK((size_t)snprintf(path, sizeof path, "%s/%s", fuzz_dir(), name) < sizeof path, "%s is too long a name", name);
    for (int i = 0; i < files; i++)
        if (strcmp(file[i], path) == 0) return file[i];
    CHECK(files < FILES, "%s is one file too many", name);
    strcpy(file[files], path);
    char *slash = strrchr(path, '/');
    *slash = 0;
    mkdir(path, 0700);
    return file[files++];
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    const char *path = place_of(name);
    int         fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0, "%s: %s", path, strerror(errno));
    return path;
}

int fuzz_parts(FuzzPart *part, int most, const uint8_t *data, size_t size)
{
    int count = 0;
    for (int i = 0; i < most; i++) part[i] = (FuzzPart){ NULL, 0 };
    for (const uint8_t *end = data + size, *next; count < most && data; data = next) {
        next = count + 1 < most && data < end ? memchr(data, 0xff, (size_t)(end - data)) : NULL;
        part[count++] = (FuzzPart){ data, (size_t)((next ? next : end) - data) };
        if (next) next++;
    }
    return count;
}

char *fuzz_text(FuzzPart part)
{
    char *text = malloc(part.size + 1);
    CHECK(text, "no memory for %zu bytes", part.size);
    if (part.size) memcpy(text, part.data, part.size);
    text[part.size] = 0;
    return text;
}

void fuzz_refused(const char *path)
{
    const char *text = err_text();
    CHECK(*text, "%s: refused without a word", path);
    CHECK(strncmp(text, path, strlen(path)) == 0, "%s: refused by a message that does not begin with the file: %s", path, text);
    for (const char *c = text; *c; c++) CHECK((unsigned char)*c >= ' ' && *c != 127, "%s: a control character, %d, in the message: %s", path, *c, text);
    err("%s", "");                                      /* the next one needs a message of its own */
}
