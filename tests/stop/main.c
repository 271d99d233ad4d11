/* stop - a training run that is ended at random moments and resumed is the run that was never ended, to the bit.
 *
 *   stop [KILLS [SEED]]     SIGKILL as often (default 4), then SIGTERM once. The state is one file that is replaced whole, so no moment can tear it. */
#include "../job.h"
#include "io/safetensors.h"
#include <libgen.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char program[PATH_SIZE];
static int  tests, failures, steps;                     /* steps: of a run, too many to end between the kills */

static void check(int good, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%sok %d - stop: ", good ? "" : "not ", ++tests);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    failures += !good;
}

static void wait_for(int milliseconds)
{
    struct timespec pause = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
    nanosleep(&pause, NULL);
}

/* Starts `sdlora train` with these options, of pictures in @/data unless they say otherwise. */
static pid_t start(const char *options)
{
    char line[2048], text[4096], *argv[JOB_WORDS + 1];
    const char *data = strstr(options, "--train_data_dir") ? "" : "--train_data_dir @/data";
    snprintf(line, sizeof line, "sdlora train --quiet --no_report --model " JOB_MODEL " %s --max_train_steps %d %s", data, steps, options);
    argv[job_words(argv, text, line)] = NULL;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        JOB_CHECK(freopen("/dev/null", "w", stderr) != NULL);
        signal(SIGINT, SIG_DFL);                        /* a shell starts what it puts into the background with SIGINT ignored */
        execv(program, argv);
        _exit(127);
    }
    return child;
}

/* Milliseconds 0: lets it end, else sends the signal after so long. What wait() says. */
static int train(const char *options, int number, int milliseconds)
{
    pid_t child = start(options);
    int   status = -1;
    if (milliseconds) wait_for(milliseconds), kill(child, number);
    waitpid(child, &status, 0);
    return status;
}

/* Sends the signal as soon as `file` is there and has so many bytes; -1: it never has. */
static int train_until(const char *options, const char *file, long bytes, int number)
{
    pid_t       child = start(options);
    int         status = -1;
    struct stat st;
    while (waitpid(child, &status, WNOHANG) == 0) {
        wait_for(1);
        if (stat(tmp_path(file), &st) || st.st_size < bytes) continue;
        kill(child, number);
        waitpid(child, &status, 0);
        return status;
    }
    return -1;
}

static int same_numbers(const char *a, const char *b)
{
    Safetensors *x = safetensors_open(a), *y = safetensors_open(b);
    int          same = x && y && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0;
    safetensors_close(x);
    safetensors_close(y);
    return same;
}

/* The newest state that a run left, as its name sorts; "" for none. A kill may leave a folder that has no state yet, or no longer. */
static void newest_state(char out[PATH_SIZE], const char *dir)
{
    Names names;
    char  state[PATH_SIZE], file[PATH_SIZE];
    *out = 0;
    if (!is_dir(dir) || dir_list(&names, dir)) return;
    for (int i = 0; i < names.count; i++) {
        if (!strstr(names.name[i], "-state")) continue;
        JOB_CHECK(path_join(state, dir, names.name[i]) == 0 && path_join(file, state, "state.safetensors") == 0);
        if (is_file(file)) strcpy(out, state);
    }
    names_free(&names);
}

static int run_on(const char *dir, int number, int milliseconds)
{
    char state[PATH_SIZE], options[PATH_SIZE + 256];
    newest_state(state, tmp_path(dir));
    snprintf(options, sizeof options, "--output_dir @/%s --save_state --save_every_n_steps 3 --save_last_n 2%s%s", dir, *state ? " --resume " : "", state);
    return train(options, number, milliseconds);
}

static int count_names(const char *dir)
{
    Names names;
    if (dir_list(&names, tmp_path(dir))) return -1;
    int count = names.count;
    names_free(&names);
    return count;
}

/* Ctrl-C in each part of a run: a step, a picture that is drawn between two steps, and before the first one, where nothing is there to save. */
static void check_interrupted(void)
{
    static const char prompts[] = "thing --s 500\nthing, red --s 500\n", header[] = "step,epoch,loss,average_loss,";
    char state[PATH_SIZE], options[PATH_SIZE + 256];
    int  status = train_until("--output_dir @/step", "step/log.csv", 4 * (long)sizeof header, SIGINT);
    newest_state(state, tmp_path("step"));
    snprintf(options, sizeof options, "--output_dir @/step --resume %s", state);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 3 && train(options, 0, 0) == 0, "SIGINT in a step ends with 3, and --resume goes on");

    JOB_CHECK(file_write(tmp_path("prompts.txt"), prompts, sizeof prompts - 1) == 0);
    status = train_until("--output_dir @/preview --sample_prompts @/prompts.txt --sample_every_n_steps 3", "preview/sample", 0, SIGINT);
    newest_state(state, tmp_path("preview"));
    check(WIFEXITED(status) && WEXITSTATUS(status) == 3 && !strcmp(path_name(state), "lora-step00000003-state") && count_names("preview/sample") == 0,
          "SIGINT in a preview ends with 3, draws no more and saves the step");

    for (int i = 0; i < 6; i++) job_picture("large/1_thing", i, 256, 256);
    status = train_until("--output_dir @/early --train_data_dir @/large --resolution 256", "early", 0, SIGINT);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT && count_names("early") == 0, "SIGINT while pictures are encoded ends at once and leaves nothing");
}

int main(int argc, char **argv)
{
    int  kills = argc > 1 ? atoi(argv[1]) : 4, killed = 0;
    long long seed = argc > 2 ? atoll(argv[2]) : (long long)time(NULL);
    Rng  rng = rng_open((uint64_t)seed, RNG_TEST, 0, 0);
    char here[PATH_SIZE];
    steps = 200 * kills;
    snprintf(here, sizeof here, "%s", argv[0]);
    JOB_CHECK(path_join(program, dirname(here), "sdlora") == 0 && tmp_open(NULL) == 0);
    for (int i = 0; i < 3; i++) job_picture("data/4_thing", i, 16, 16);
    check(train("--output_dir @/whole", 0, 0) == 0, "the run that is never ended; repeat with: stop %d %lld", kills, seed);
    for (int i = 0; i < kills; i++) killed += WIFSIGNALED(run_on("torn", SIGKILL, 100 + (int)rng_below(&rng, 350)));
    int status = run_on("torn", SIGTERM, 300);
    int ended = WIFEXITED(status) && (WEXITSTATUS(status) == 3 || WEXITSTATUS(status) == 0), early = WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
    check(2 * killed >= kills && (ended || early), "%d of %d kills hit; SIGTERM ends with 3, or comes before the first step or too late", killed, kills);
    status = run_on("torn", 0, 0);
    check(status == 0 || is_file(tmp_path("torn/lora.safetensors")), "the last resume comes to the end");
    char whole[PATH_SIZE];
    snprintf(whole, sizeof whole, "%s", tmp_path("whole/lora.safetensors"));
    check(same_numbers(whole, tmp_path("torn/lora.safetensors")), "both runs end with the same bits");
    check_interrupted();
    tmp_close(NULL);
    printf("1..%d\n", tests);
    return failures != 0;
}
