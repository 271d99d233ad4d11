/* The fuzz targets over their corpora: every file of tests/fuzz/corpus/NAME and what its list FILES names, whole and cut short at up to 64 places.
 *
 *     fuzz [NAME [FILE ...]]            from the repository root; FILE: these instead of the corpus, as what libFuzzer has left of a crash
 *
 * A target runs in a process of its own; what it was at when that ended is in memory that both share. */
#define _GNU_SOURCE
#include "fuzz.h"
#include "../tmp.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define FUZZ(name) int fuzz_##name(const uint8_t *data, size_t size);
#include "fuzz_list.inc"
#undef FUZZ
#define FUZZ(name) { #name, fuzz_##name },
static const struct {
    const char *name;
    int (*one)(const uint8_t *data, size_t size);
} targets[] = {
#include "fuzz_list.inc"
};
enum { TARGETS = sizeof targets / sizeof *targets, LIMIT = 1 << 22, CUTS = 64, SECONDS = 20 };

typedef struct {
    char   path[PATH_SIZE];                             /* at work on these bytes of this file */
    size_t size;
    int    files, runs;
} Progress;
static Progress *now;

/* The bytes in a block of their own, so that a step beyond them is seen. */
static void run(int t, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    CHECK(copy, "no memory for %zu bytes", size);
    memcpy(copy, data, size);
    now->size = size, now->runs++;
    alarm(SECONDS);
    targets[t].one(copy, size);
    free(copy);
}

static void run_file(int t, const char *path)
{
    size_t   size;
    uint8_t *data = file_read(path, LIMIT, &size);
    snprintf(now->path, sizeof now->path, "%s", path);
    CHECK(data, "%s", err_text());
    now->files++;
    for (size_t cut = 0; cut < CUTS && size <= 4096; cut++)
        if (cut == 0 || cut * size / CUTS != (cut - 1) * size / CUTS) run(t, data, cut * size / CUTS);
    run(t, data, size);
    free(data);
}

static void run_folder(int t, const char *folder);

/* FILES of a corpus: a file or a folder a line. */
static void run_list(int t, const char *list)
{
    char *text = file_read(list, LIMIT, NULL);
    CHECK(text, "%s", err_text());
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) is_dir(line) ? run_folder(t, line) : run_file(t, line);
    free(text);
}

static void run_folder(int t, const char *folder)
{
    char  path[PATH_SIZE];
    Names names;
    CHECK(dir_list(&names, folder) == 0, "%s", err_text());
    for (int i = 0; i < names.count; i++) {
        path_join(path, folder, names.name[i]);
        if (strcmp(names.name[i], "FILES") == 0) run_list(t, path);
        else if (is_file(path)) run_file(t, path);
    }
    names_free(&names);
}

/* 0: the target took everything. */
static int run_target(int number, int t, int argc, char **argv)
{
    char folder[PATH_SIZE];
    int  status;
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", targets[t].name);
    memset(now, 0, sizeof *now);
    CHECK(tmp_open(NULL) == 0 && setenv("TMPDIR", tmp_dir, 1) == 0, "no folder %s", tmp_dir);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0, "no process for %s", targets[t].name);
    if (child == 0) {
        for (int i = 0; i < argc; i++) run_file(t, argv[i]);
        if (argc == 0) run_folder(t, folder);
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child, "%s was lost", targets[t].name);
    tmp_close(NULL);
    int bad = status != 0 || now->files == 0;
    printf("%s %d - fuzz %s: %d files, %d runs\n", bad ? "not ok" : "ok", number, targets[t].name, now->files, now->runs);
    if (status && WIFSIGNALED(status)) printf("# signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (status) printf("# at %zu bytes of %s; again: fuzz %s %s\n", now->size, now->path, targets[t].name, now->path);
    else if (bad) printf("# nothing was found in %s\n", folder);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0, ran = 0;
    now = mmap(NULL, sizeof *now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(now != MAP_FAILED, "no shared memory");
    for (int t = 0; t < TARGETS; t++)
        if (argc < 2 || strcmp(argv[1], targets[t].name) == 0) bad += run_target(++ran, t, argc > 2 ? argc - 2 : 0, argv + 2);
    if (!ran) printf("not ok 1 - fuzz: no target %s\n", argv[1]), ran = bad = 1;
    printf("1..%d\n", ran);
    return bad != 0;
}
