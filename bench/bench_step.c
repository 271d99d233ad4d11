/* bench_step - how long the nets of Stable Diffusion take: a pass of each, a training step.
 *
 *   bench_step [--model sd15] [--set auto] [--size 512x768,...] [--batch 1,...] [--threads 0,...] [--runs 3] [--rank 32] [--conv]
 *              [--csv FILE] [--trace STEM] WHAT...
 *   bench_step [--model ...] [--set ...] [--rank ...] [--conv] --serve
 *
 *   forward       the UNet alone                        step          a step of LoRA: UNet and text encoder forward, loss, backward, AdamW
 *   text          the text encoder                      checkpoint    the same with gradient checkpointing
 *   decode        latents to a picture                  unet          a step of the UNet's modules, the text encoder's states being known
 *
 * The model may be a folder or a file; a built-in one's name stands for its shapes with random weights. --conv: adapters on the residual blocks as well. Every
 * WHAT is timed at each size, batch and number of threads. The runs take turns, one of each and then the next of each, so that they have the same share of
 * whatever else the machine does. A line for each: seconds (the best and the median of the runs), GFLOP/s, the most memory that the process has had.
 *
 * --serve reads lines WHAT WIDTH HEIGHT BATCH THREADS and answers each with a line: seconds, peak MB, GFLOP, trainable numbers. bench/peers asks. */
#include "base/err.h"
#include "bench/nets.h"
#include "ops/trace.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MOST_RUNS = 100, MOST_ROWS = 256, MOST_VALUES = 16 };

typedef struct {
    const char *model, *set, *csv, *trace;
    const char *sizes, *batches, *threads;              /* lists with commas */
    LoraRules   rules;
    int         what[MOST_VALUES], whats, runs, conv, serve;
} Options;

typedef struct {
    Job    job;
    Spent  spent;
    double seconds[MOST_RUNS], peak;
} Row;

static int by_size(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double peak_mb(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_maxrss / 1024;
}

static int serve(Nets *nets)
{
    char line[256], what[32];
    Job  job;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%31s %d %d %d %d", what, &job.w, &job.h, &job.batch, &job.threads) != 5 || (job.task = net_task(what)) < 0)
            return fprintf(stderr, "bench_step: not a job: %s", line), 2;
        Spent spent = nets_time(nets, &job);
        printf("%.6f %.0f %.3f %zu\n", spent.seconds, peak_mb(), 1e-9 * spent.flops, spent.trainable);
        fflush(stdout);
    }
    return 0;
}

/* ---- the table ---- */

static const char *next(const char *list)               /* behind the next comma, or NULL */
{
    const char *comma = strchr(list, ',');
    return comma ? comma + 1 : NULL;
}

static int list_rows(const Options *o, Row *row)
{
    int rows = 0;
    for (int i = 0; i < o->whats; i++)
        for (const char *s = o->sizes; s; s = next(s))
            for (const char *b = o->batches; b; b = next(b))
                for (const char *t = o->threads; t; t = next(t)) {
                    Job job = { .task = o->what[i], .batch = atoi(b), .threads = atoi(t) };
                    if (rows == MOST_ROWS || sscanf(s, "%dx%d", &job.w, &job.h) != 2 || job.batch < 1 || job.batch > 64 || job.threads < 0) return 0;
                    if (!job.threads) job.threads = omp_get_max_threads();
                    row[rows++].job = job;
                }
    return rows;
}

static void print_row(const Options *o, const char *set, Row *r)
{
    const Job *j = &r->job;
    qsort(r->seconds, (size_t)o->runs, sizeof *r->seconds, by_size);
    double gflop = 1e-9 * r->spent.flops, best = r->seconds[0], median = (r->seconds[o->runs / 2] + r->seconds[(o->runs - 1) / 2]) / 2;
    printf("%-11s %-11s %4dx%-4d %5d %7d %9.4f %9.4f %9.1f %9.1f %8.0f\n", net_task_name(j->task), set, j->w, j->h, j->batch, j->threads, best, median, gflop,
           gflop / best, r->peak);
    if (!o->csv) return;
    FILE *f = fopen(o->csv, "a");
    CHECK(f, "%s: cannot be written", o->csv);
    fprintf(f, "%s,%s,%s,%d,%d,%d,%d,%.5f,%.5f,%.2f,%.0f\n", net_task_name(j->task), o->model, set, j->w, j->h, j->batch, j->threads, best, median,
            gflop, r->peak);
    fclose(f);
}

static int table(const Options *o, Nets *nets)
{
    Row *row = calloc(MOST_ROWS, sizeof *row);
    int  rows = row ? list_rows(o, row) : 0;
    if (!rows) return fprintf(stderr, "bench_step: %s, %s, %s: not sizes, batches and threads\n", o->sizes, o->batches, o->threads), 2;
    for (int i = 0; i < o->runs; i++)
        for (int j = 0; j < rows; j++) row[j].spent = nets_time(nets, &row[j].job), row[j].seconds[i] = row[j].spent.seconds, row[j].peak = peak_mb();
    printf("%-11s %-11s %9s %5s %7s %9s %9s %9s %9s %8s\n", "what", "set", "size", "batch", "threads", "best s", "median s", "GFLOP", "GFLOP/s", "peak MB");
    for (int j = 0; j < rows; j++) print_row(o, nets->plain->name, &row[j]);
    free(row);
    return 0;
}

static int parse(Options *o, int argc, char **argv)     /* 0, or -1: not understood */
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        int         task = net_task(name);
        if (task >= 0 && o->whats < MOST_VALUES) { o->what[o->whats++] = task; continue; }
        if (!strcmp(name, "--serve")) { o->serve = 1; continue; }
        if (!strcmp(name, "--conv")) { o->conv = 1; continue; }
        if (!strcmp(name, "--model")) o->model = value;
        else if (!strcmp(name, "--set")) o->set = value;
        else if (!strcmp(name, "--csv")) o->csv = value;
        else if (!strcmp(name, "--trace")) o->trace = value;
        else if (!strcmp(name, "--size")) o->sizes = value;
        else if (!strcmp(name, "--batch")) o->batches = value;
        else if (!strcmp(name, "--threads")) o->threads = value;
        else if (!strcmp(name, "--rank")) o->rules.alpha = o->rules.dim = atoi(value);
        else if (!strcmp(name, "--runs")) o->runs = atoi(value);
        else return -1;
        i++;
    }
    if (o->conv) o->rules.conv_dim = o->rules.dim, o->rules.conv_alpha = o->rules.alpha;
    return o->runs < 1 || o->runs > MOST_RUNS || o->rules.dim < 1 || o->serve == (o->whats > 0) ? -1 : 0;
}

int main(int argc, char **argv)
{
    Options o = { .model = "sd15", .set = "auto", .sizes = "512x768", .batches = "1", .threads = "0", .runs = 3, .rules = { .dim = 32, .alpha = 32 } };
    Nets    nets;
    if (parse(&o, argc, argv)) return fprintf(stderr, "bench_step: see the head of bench/bench_step.c\n"), 2;
    nets_open(&nets, o.model, o.set, o.trace != NULL, &o.rules);
    int status = o.serve ? serve(&nets) : table(&o, &nets);
    if (!status && o.trace) CHECK(trace_write(nets.traced, o.trace) == 0, "%s", err_text());
    nets_close(&nets);
    return status;
}
