#include "cli.h"
#include "../job.h"
#include "io/safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>

long cli_file_limit;

static char program[PATH_SIZE], last_words[4096];
static Said said;
static int  number, failed;

void cli_open(const char *argv0)
{
    char *copy = strdup(argv0);
    JOB_CHECK(copy && tmp_open(NULL) == 0 && path_join(program, dirname(copy), "sdlora") == 0);
    free(copy);
    if (access(program, X_OK)) printf("Bail out! %s: no such program\n", program), exit(1);
}

int cli_close(void)
{
    printf("1..%d\n", number);
    JOB_CHECK(tmp_close(NULL) == 0);
    return failed > 0;
}

/* ---- running it ---- */

/* In the child: output to files, and no more than the limit into any other. */
static void become(char **argv)
{
    int out = open(tmp_path("stdout"), O_WRONLY | O_CREAT | O_TRUNC, 0644), err = open(tmp_path("stderr"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (out < 0 || err < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(120);
    if (cli_file_limit) {
        struct rlimit limit = { (rlim_t)cli_file_limit, (rlim_t)cli_file_limit };
        signal(SIGXFSZ, SIG_IGN);                       /* write() then fails as on a full disk */
        if (setrlimit(RLIMIT_FSIZE, &limit)) _exit(121);
    }
    execv(program, argv);
    _exit(122);
}

int sdlora_begin(const char *words)
{
    char  text[4096], *argv[JOB_WORDS + 2] = { program };
    pid_t child;
    snprintf(last_words, sizeof last_words, "%s", words);
    argv[1 + job_words(argv + 1, text, words)] = NULL;
    fflush(stdout);
    child = fork();
    JOB_CHECK(child >= 0);
    if (child == 0) become(argv);
    return child;
}

int sdlora_status(int process)
{
    int status = 0;
    while (waitpid(process, &status, 0) < 0) JOB_CHECK(errno == EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALLED + WTERMSIG(status);
}

static void read_said(char *out, const char *name)
{
    char *text = file_read(tmp_path(name), SAID_SIZE - 1, NULL);
    JOB_CHECK(text);
    strcpy(out, text);
    free(text);
}

const Said *sdlora(const char *words)
{
    said.status = sdlora_status(sdlora_begin(words));
    read_said(said.out, "stdout");
    read_said(said.err, "stderr");
    return &said;
}

/* ---- judging it ---- */

void check(int good, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%sok %d - ", good ? "" : "not ", ++number);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    if (good) return;
    failed++;
    printf("# repeat: %s %s\n# exit status %d, then on stderr:\n# %s\n", program, last_words, said.status, said.err);
}

int lines_of(const char *text)
{
    int lines = 0;
    for (const char *c = text; *c; c++) lines += *c == '\n';
    return *text && text[strlen(text) - 1] != '\n' ? -1 : lines;
}

/* ---- files ---- */

const char *at(const char *name) { return tmp_path(name); }

void put_text(const char *name, const char *text) { JOB_CHECK(file_write(tmp_path(name), text, strlen(text)) == 0); }

void put_picture(const char *folder, int picture, int w, int h) { job_picture(folder, picture, w, h); }

void put_demo(const char *folder, int count)
{
    JOB_CHECK(dir_make(tmp_path(folder)) == 0);
    for (int k = 0; k < 2 * count; k++) {
        char   from[64], to[128];
        size_t size;
        snprintf(from, sizeof from, "golden/demo/10_face/%03d.%s", k / 2, k % 2 ? "txt" : "png");
        snprintf(to, sizeof to, "%s/%s", folder, path_name(from));
        void *data = file_read(from, 1 << 20, &size);
        JOB_CHECK(data && file_write(tmp_path(to), data, size) == 0);
        free(data);
    }
}

int same_tensors(const char *a, const char *b)
{
    Safetensors *x = safetensors_open(tmp_path(a)), *y = safetensors_open(tmp_path(b));
    int          same = x && y && x->count > 0 && x->count == y->count && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0;
    for (int i = 0; same && i < x->count; i++) same = strcmp(x->entry[i].name, y->entry[i].name) == 0;
    safetensors_close(x), safetensors_close(y);
    return same;
}

int same_bytes(const char *a, const char *b)
{
    size_t size[2];
    char  *x = file_read(tmp_path(a), 1 << 24, &size[0]), *y = file_read(tmp_path(b), 1 << 24, &size[1]);
    int    same = x && y && size[0] > 0 && size[0] == size[1] && memcmp(x, y, size[0]) == 0;
    free(x), free(y);
    return same;
}

int same_picture(const char *a, const char *b)
{
    Image x = { 0 }, y = { 0 };
    int   read = image_load(&x, tmp_path(a), IMAGE_WHITE) == 0 && image_load(&y, tmp_path(b), IMAGE_WHITE) == 0;
    int   same = read && x.w == y.w && x.h == y.h && memcmp(x.rgb, y.rgb, 3 * (size_t)x.w * (size_t)x.h) == 0;
    image_free(&x), image_free(&y);
    return same;
}

int file_count(const char *folder)
{
    Names names;
    if (dir_list(&names, tmp_path(folder))) return -1;
    int count = names.count;
    names_free(&names);
    return count;
}

int has_type(const char *file, const char *dtype)
{
    Safetensors *s = safetensors_open(tmp_path(file));
    int          good = s && s->count > 0;
    for (int i = 0; good && i < s->count; i++) good = strcmp(s->entry[i].dtype, dtype) == 0;    /* alphas too */
    safetensors_close(s);
    return good;
}
