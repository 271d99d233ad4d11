/* oom - what the program does when there is no memory, the disk is full or a device fails: one call fails, and each call in turn is the one.
 *
 *   oom [STRIDE]        about every STRIDE-th allocation (default 101); every call that writes or reads with STRIDE 1, else some
 *
 * A short training run, a short sampling run, LoRAs converted, resized and merged, in a folder that holds what earlier runs have left. A run ends with status
 * 1 and one line on stderr that says why, all that was there before is there still, whole, and no PATH.part is left; or it ends well, with the same bytes as
 * ever: then it could do without.
 *
 * Allocations are many, most of them while nothing is open: there the run is forked, and only the child's call fails. With a file open, whose place both
 * would share, the run is begun anew for each. */
#define _GNU_SOURCE
#include "../job.h"
#include "fault.h"
#include "io/safetensors.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
enum { MOST = 1 << 20, SECONDS = 60 };

typedef struct {
    const char *name, *options;
    const char *changes;                                /* of the options: with 2 in place of the 1 at its end other results come out */
    const char *file[3];                                /* what it writes, or must leave, that can be compared; the first is there before, with other numbers */
    int         denser;                                 /* so many times as many allocations fail: it has few */
} Job;

static const Job jobs[] = {
    { "train", "train --quiet --overwrite --seed 1 --max_train_steps 1 --network_dim 1 --save_state --logging_dir logs --train_data_dir ../data "
               "--output_dir out --model MODEL", "--seed 1",
      { "out/lora.safetensors", "out/lora-state/state.safetensors" }, 1 },
    { "sample", "sample --prompt cat --embeddings ../words --steps 1 --seed 1 --width 16 --height 16 --lora ../lora-1.safetensors --output_dir out "
                "--grid out/grid.png --model MODEL", "--seed 1",
      { "out/grid.png", "out/00000.png", "out/00001.png" }, 1 },
    { "convert to PEFT's folders", "convert ../lora-1.safetensors out --to peft", "lora-1",
      { "out/unet/adapter_model.safetensors", "out/unet/adapter_config.json" }, 8 },
    { "convert to cloneofsimo's layout", "convert ../places-1.safetensors out.safetensors --to cloneofsimo", "places-1",
      { "out.safetensors" }, 101 },
    { "resize", "resize ../lora-1.safetensors --save_to out.safetensors --new_rank 1 --quiet", "lora-1", { "out.safetensors" }, 2 },
    { "merge two files", "merge --models ../lora-1.safetensors ../places-1.safetensors --save_to out.safetensors --new_rank 1 --quiet", "lora-1",
      { "out.safetensors" }, 2 },
    { "merge into a model", "merge --models ../lora-1.safetensors --save_to out.safetensors --sd_model MODEL", "lora-1",
      { "out.safetensors" }, 1 },
};
enum { JOBS = sizeof jobs / sizeof *jobs };

typedef struct {
    int refused, done, bad;                             /* runs that ended with status 1, with 0, in any other way */
} Sum;
static Sum sum;

static struct {                                         /* in memory that processes share */
    int           calls, forked;
    Sum           sum;
    unsigned char left[MOST];                           /* a chosen call at which a file was open: no place to fork */
} *shared;

static const Job *job;
static int        stride, target, fails_with, lasting, tests, failures;
static rlim_t     limit_bytes = RLIM_INFINITY;
static char       model[PATH_SIZE], text[1 << 16];   /* text: what the last run has said */

/* ---- folders: good has the right results, before what is there at first; in run and branch the runs work ---- */

static const char *place(const char *folder, const char *file)
{
    char inner[128];
    snprintf(inner, sizeof inner, "%s/%s", folder, file);
    return tmp_path(inner);
}

static void copy_tree(const char *to, const char *from)
{
    Names names;
    JOB_CHECK(dir_make(to) == 0 && dir_list(&names, from) == 0);
    for (int i = 0; i < names.count; i++) {
        char   a[PATH_SIZE], b[PATH_SIZE];
        size_t size;
        JOB_CHECK(path_join(a, from, names.name[i]) == 0 && path_join(b, to, names.name[i]) == 0);
        if (is_dir(a)) copy_tree(b, a);
        else {
            char *data = file_read(a, 1 << 24, &size);
            int   fd = open(b, O_WRONLY | O_CREAT | O_TRUNC, 0600);
            JOB_CHECK(data && fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
            free(data);
        }
    }
    names_free(&names);
}

/* `folder` begins as a copy of `from`. */
static void fresh(const char *folder, const char *from)
{
    if (is_dir(tmp_path(folder))) tmp_remove(tmp_path(folder));
    copy_tree(tmp_path(folder), tmp_path(from));
}

/* How many files of unfinished writing there are. */
static int parts_in(const char *folder)
{
    Names names;
    int   parts = 0;
    if (dir_list(&names, folder)) return 0;
    for (int i = 0; i < names.count; i++) {
        char path[PATH_SIZE];
        JOB_CHECK(path_join(path, folder, names.name[i]) == 0);
        parts += is_dir(path) ? parts_in(path) : strcmp(path_extension(path), ".part") == 0;
    }
    names_free(&names);
    return parts;
}

/* ---- a run ---- */

static int run_here(void)
{
    char        line[PATH_SIZE + 1024], room[4096], *words[JOB_WORDS];
    const char *with = strstr(job->options, "MODEL");   /* at their end, if at all */
    snprintf(line, sizeof line, "sdlora %.*s%s", with ? (int)(with - job->options) : 1000, job->options, with ? model : "");
    int status = sdlora_main(job_words(words, room, line), words);
    fflush(NULL);
    return status;
}

/* Forks. The child, to whom it is 0, works in `folder`, and what it says goes into a pipe, which no limit on files can cut short. */
static pid_t begin(const char *folder, int said[2])
{
    fflush(stdout);                                     /* not all: a stream may be what asks for memory just now */
    JOB_CHECK(pipe(said) == 0);
    pid_t child = fork();
    JOB_CHECK(child >= 0);
    if (child) return close(said[1]), child;
    JOB_CHECK(chdir(tmp_path(folder)) == 0 && dup2(said[1], 2) == 2 && dup2(said[1], 1) == 1);
    close(said[0]), close(said[1]);
    alarm(SECONDS);
    return 0;
}

/* What wait() says of the child, and in `text` what it has said itself. */
static int end(pid_t child, int said[2])
{
    int    status;
    size_t used = 0;
    for (ssize_t n; (n = read(said[0], text + used, sizeof text - 1 - used)) > 0;) used += (size_t)n;
    text[used] = 0;
    close(said[0]);
    JOB_CHECK(waitpid(child, &status, 0) == child);
    return status;
}

/* Runs the job in `folder` in a process of its own. */
static int run(const char *folder, Fault kind, int (*hook)(int n))
{
    int   said[2], status;
    pid_t child = begin(folder, said);
    if (child == 0) {
        JOB_CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ limit_bytes, RLIM_INFINITY }) == 0);
        fault_arm(kind, hook);
        status = run_here();
        fault_arm(FAULT_NONE, NULL);
        _exit(status);
    }
    return end(child, said);
}

/* ---- is that right? ---- */

static int same_file(const char *a, const char *b)
{
    size_t n = 0, m = 0;
    if (!is_file(a) && !is_file(b)) return 1;
    if (strstr(a, ".safetensors")) {                    /* times stand in the metadata */
        Safetensors *x = safetensors_open(a), *y = safetensors_open(b);
        int          same = x && y && x->count == y->count && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0;
        safetensors_close(x), safetensors_close(y);
        return same;
    }
    char *x = file_read(a, 1 << 24, &n), *y = file_read(b, 1 << 24, &m);
    int   same = x && y && n == m && memcmp(x, y, n) == 0;
    free(x), free(y);
    return same;
}

static int is_like(const char *folder, const char *other, const char *file) { return same_file(place(folder, file), place(other, file)); }

static void complain(int n, const char *what)
{
    if (sum.bad++ < 5) printf("# call %d of %s: %s; it said: %s%s", n, job->name, what, *text ? text : "nothing", strchr(text, '\n') ? "" : "\n");
}

/* The run in `folder`, whose call n failed, has ended. `word`: what its message speaks of. */
static void judge(const char *folder, int status, int n, const char *word)
{
    char *line = strstr(text, "sdlora: ");
    if (!line) line = strstr(text, "libgomp: ");         /* which ends the program itself when it has no memory */
    char *after = line ? strchr(line, '\n') : NULL;
    int   ended = WIFEXITED(status) ? WEXITSTATUS(status) : -1, bad = sum.bad;
    int   one_line = after && !after[1] && (line == text || line[-1] == '\n');            /* the last; progress may stand before it */
    for (int i = 0; i < 3 && job->file[i]; i++)
        if (!is_like(folder, "good", job->file[i]) && (ended == 0 || !is_like(folder, "before", job->file[i]))) complain(n, job->file[i]);
    if (parts_in(tmp_path(folder))) complain(n, "something unfinished is left");
    if (ended < 0) complain(n, strsignal(WTERMSIG(status)));
    int   says_why = one_line && (strstr(line, word) || strstr(line, "libgomp: Out of memory"));
    if (ended > 0 && (ended > 1 || !says_why)) complain(n, "status 1 and a line that says why were expected");
    if (bad == sum.bad) sum.done += ended == 0, sum.refused += ended == 1;
    else sum.bad = bad + 1;
}

static void verdict(const char *what, int failed, int calls)
{
    int bad = sum.bad || !failed || sum.refused + sum.done != failed || !sum.refused;
    printf("%sok %d - oom: %s: %s: %d of %d calls failed, one at a time: %d runs refused, %d did without, %d wrong\n", bad ? "not " : "", ++tests, job->name,
           what, failed, calls, sum.refused, sum.done, sum.bad);
    failures += bad;
    memset(&sum, 0, sizeof sum);
}

/* ---- memory ---- */

static int open_files(void)
{
    int            n = 0;
    struct dirent *e;
    DIR           *dir = opendir("/proc/self/fd");
    JOB_CHECK(dir);
    while ((e = readdir(dir))) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static int fail_target(int n) { return n == target || (lasting && n > target) ? fails_with : 0; }

static int is_chosen(int n, int every) { return (unsigned)n * 2654435761u % (unsigned)every == 0; }

/* The child goes on from here in a folder of its own, where all is as the run has left it, and has no memory this once. */
static int branch(int n)
{
    static int in_child, files;                         /* open when the run began */
    int        said[2];
    JOB_CHECK(n < MOST);
    if (n == 1) files = open_files();
    if (in_child) return 0;
    shared->calls = n;
    if (!is_chosen(n, (stride + job->denser - 1) / job->denser)) return 0;
    if (open_files() > files) return shared->left[n] = 1, 0;
    fresh("branch", "run");
    pid_t child = begin("branch", said);
    if (child == 0) return in_child = 1, ENOMEM;
    judge("branch", end(child, said), n, "memory");
    shared->forked++, shared->sum = sum;
    alarm(SECONDS);                                     /* they are for the run, not for its children */
    return 0;
}

static void test_memory(void)
{
    if (!fault_works(FAULT_MEMORY)) return;
    fresh("run", "before");
    memset(shared, 0, sizeof *shared);
    int status = run("run", FAULT_MEMORY, branch), calls = shared->calls, failed = shared->forked;
    sum = shared->sum;
    if (sum.bad) fputs(text, stdout);                   /* what it found wrong with its children */
    judge("run", status, 0, "memory");
    if (status) complain(0, "the run whose calls do not fail ended with another status than 0");
    sum.done--;                                         /* that one was not to be refused */
    for (target = 1; target <= calls; target++) {
        if (!shared->left[target]) continue;
        fresh("run", "before");
        fails_with = ENOMEM, lasting = 0;
        judge("run", run("run", FAULT_MEMORY, fail_target), target, "memory");
        failed++;
    }
    verdict("no memory", failed, calls);
}

/* ---- disks ---- */

static int count(int n) { return shared->calls = n, 0; }

static void test_calls(const char *what, Fault kind, int number, int goes_on)
{
    int every = (stride == 1 ? 1 : kind == FAULT_READ ? 9 : 3) / job->denser, failed = 0;
    if (every < 1) every = 1;
    fresh("run", "before");
    JOB_CHECK(run("run", kind, count) == 0);
    int calls = shared->calls;
    for (target = 1; target <= calls; target++) {
        if (!is_chosen(target, every)) continue;
        fresh("run", "before");
        fails_with = number, lasting = goes_on;
        judge("run", run("run", kind, fail_target), target, strerror(number));
        failed++;
    }
    verdict(what, failed, calls);
}

/* Files may grow to so many bytes, and no further: as on a disk that fills up in the middle of one. */
static void test_limit(void)
{
    int failed = 0;
    for (limit_bytes = 1; limit_bytes < 1 << 20; limit_bytes *= stride == 1 ? 2 : 7, failed++) {
        fresh("run", "before");
        judge("run", run("run", FAULT_NONE, NULL), (int)limit_bytes, strerror(EFBIG));
    }
    limit_bytes = RLIM_INFINITY;
    verdict("files of a limited size", failed, failed);
}

/* ---- what is there at first ---- */

/* Results of other options, those of the job, and they differ. */
static void prepare(void)
{
    char       other[1024], *at;
    const Job *now = job;
    Job        before = *job;
    before.options = strcpy(other, now->options);
    JOB_CHECK((at = strstr(other, job->changes)));
    at[strlen(job->changes) - 1] = '2';
    if (is_dir(tmp_path("before"))) tmp_remove(tmp_path("before")), tmp_remove(tmp_path("good"));
    JOB_CHECK(dir_make(tmp_path("before")) == 0);
    job = &before;
    JOB_CHECK(run("before", FAULT_NONE, NULL) == 0);
    job = now;
    copy_tree(tmp_path("good"), tmp_path("before"));
    JOB_CHECK(run("good", FAULT_NONE, NULL) == 0);
    JOB_CHECK(!is_like("before", "good", job->file[0]));
}

/* What the later jobs read: embeddings; the LoRAs of both training runs; one with numbers for names, and another with other numbers in it. */
static void keep_files(void)
{
    copy_tree(tmp_path("words"), "golden/embeddings/dir");
    Safetensors *s = safetensors_open("golden/words/cloneofsimo.safetensors");
    JOB_CHECK(link(place("good", jobs[0].file[0]), tmp_path("lora-1.safetensors")) == 0);
    JOB_CHECK(link(place("before", jobs[0].file[0]), tmp_path("lora-2.safetensors")) == 0);
    JOB_CHECK(s && safetensors_write(tmp_path("places-1.safetensors"), s->entry, s->count, s->pair, s->pairs) == 0);
    JOB_CHECK(safetensors_write_as(tmp_path("places-2.safetensors"), T_BF16, s->entry, s->count, s->pair, s->pairs) == 0);
    safetensors_close(s);
}

/* A process that has threads must not fork and go on: begins anew, for libgomp reads its settings when it is loaded. */
static void with_one_thread(char **argv)
{
    const char *threads = getenv("OMP_NUM_THREADS");
    if (threads && strcmp(threads, "1") == 0) return;
    JOB_CHECK(setenv("OMP_NUM_THREADS", "1", 1) == 0);
    execv("/proc/self/exe", argv);
    JOB_CHECK(!"execv");
}

int main(int argc, char **argv)
{
    stride = argc > 1 ? atoi(argv[1]) : SANITIZED ? 1009 : 101;
    JOB_CHECK(stride > 0);
    with_one_thread(argv);
    JOB_CHECK(tmp_open(NULL) == 0 && realpath(JOB_MODEL, model));
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    JOB_CHECK(shared != MAP_FAILED);
    job_picture("data/1_thing", 0, 16, 16);
    for (int k = 0; k < JOBS; k++) {
        job = &jobs[k];
        prepare();
        if (k == 0) keep_files();
        test_memory();
        test_calls("the disk is full", FAULT_WRITE, ENOSPC, 1);
        test_calls("writing fails once", FAULT_WRITE, EIO, 0);
        test_calls("reading fails once", FAULT_READ, EIO, 0);
        test_limit();
    }
    printf("1..%d\n", tests);
    tmp_close(NULL);
    return failures != 0;
}
