#include "train/log.h"
#include "base/clock.h"
#include "base/err.h"
#include "io/file.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char header[] = "step,epoch,loss,average_loss,lr_unet,lr_text_encoder,gradient_norm,seconds,loss_t1,loss_t2,loss_t3,loss_t4\n";

/* Seconds since 1970: the wall time of events. */
static double wall_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void remember(Log *log, double loss) { log->window[log->count++ % LOG_WINDOW] = loss; }

double log_average(const Log *log)
{
    int    n = log->count < LOG_WINDOW ? log->count : LOG_WINDOW;
    double sum = 0;
    for (int i = 0; i < n; i++) sum += log->window[i];
    return n ? sum / n : 0;
}

/* The whole number that `ends` ends, at *at, which moves behind it; -1: there is none. */
static int read_count(const char **at, char ends)
{
    char *end;
    if (**at < '0' || **at > '9') return -1;
    long value = strtol(*at, &end, 10);
    if (*end != ends || value > INT_MAX) return -1;
    *at = end + 1;
    return (int)value;
}

/* What follows a line's step and epoch; NULL: it has none, as the header. */
static const char *read_head(const char *line, int *step, int *epoch)
{
    return (*step = read_count(&line, ',')) < 0 || (*epoch = read_count(&line, ',')) < 0 ? NULL : line;
}

/* The number that begins at *at, which moves behind the comma that ends it; NAN for none. */
static double next_number(const char **at)
{
    double x = **at == ',' || **at == '\n' || !**at ? NAN : strtod(*at, NULL);
    *at += strcspn(*at, ",\n");
    if (**at == ',') ++*at;
    return x;
}

/* Keeps the lines of steps up to `step`, and their losses for the average. */
static int keep_lines(Log *log, const char *path, int step)
{
    if (step == 0 || !is_file(path)) return file_write(path, header, sizeof header - 1);
    char *text = file_read(path, (size_t)1 << 30, NULL), *end;
    if (!text) return -1;
    for (end = text; *end; ) {
        char *next = strchr(end, '\n');
        int   at, epoch;
        if (!next) break;                               /* half a line, of a killed run */
        const char *rest = read_head(end, &at, &epoch);
        if (rest && at > step) break;
        if (rest) remember(log, next_number(&rest));
        end = next + 1;
    }
    int status = file_write(path, text, (size_t)(end - text));
    free(text);
    return status;
}

int log_open(Log *log, const char *path, int step)
{
    *log = (Log){ .opened = now() };
    if (keep_lines(log, path, step)) return -1;
    if ((log->path = strdup(path)) && (log->file = fopen(path, "a"))) return 0;
    err("%s: %s", path, strerror(errno));
    free(log->path);
    log->path = NULL;
    return -1;
}

int log_events(Log *log, const char *dir, int step) { return events_open(&log->events, dir, wall_time(), step + 1); }

static int put_events(Log *log, const TrainPosition *at, const TrainReport *r)
{
    const EventScalar scalar[] = { { "loss/current", r->loss }, { "loss/average", log_average(log) }, { "lr/unet", r->lr_unet },
                                   { "lr/textencoder", r->lr_text }, { "norm/gradient", r->norm } };
    int count = (int)(sizeof scalar / sizeof *scalar);
    return events_put(&log->events, wall_time(), at->step, scalar, isnan(r->norm) ? count - 1 : count);
}

int log_step(Log *log, const TrainPosition *at, const TrainReport *r)
{
    int epoch = at->batch ? at->epoch + 1 : at->epoch;  /* from 1; the position is already behind the step */
    remember(log, r->loss);
    fprintf(log->file, "%d,%d,%.6g,%.6g,%.6g,%.6g,", at->step, epoch, r->loss, log_average(log), r->lr_unet, r->lr_text);
    if (!isnan(r->norm)) fprintf(log->file, "%.6g", r->norm);
    fprintf(log->file, ",%.3f", now() - log->opened);
    for (int k = 0; k < BANDS; k++)
        if (r->band_samples[k]) fprintf(log->file, ",%.6g", r->band_loss[k] / r->band_samples[k]);
        else fputc(',', log->file);
    fputc('\n', log->file);
    if (fflush(log->file)) return err("%s: %s", log->path, strerror(errno));
    return log->events.file ? put_events(log, at, r) : 0;
}

int log_close(Log *log)
{
    int status = 0;
    if (log->file && fclose(log->file)) status = err("%s: %s", log->path, strerror(errno));
    if (events_close(&log->events)) status = -1;
    free(log->path);
    *log = (Log){ 0 };
    return status;
}

/* ---- reading ---- */

int log_read(LogLine **line, int *lines, const char *path)
{
    char *text = file_read(path, (size_t)1 << 30, NULL);
    int   room = 0;
    *lines = 0, *line = NULL;
    if (!text) return -1;
    for (const char *at = text; *at; at++) room += *at == '\n';
    *line = malloc(((size_t)room + 1) * sizeof **line);
    if (!*line) return free(text), err("%s: out of memory for %d lines", path, room);
    for (const char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        LogLine l = { 0 };
        double *number[] = { &l.loss, &l.average, &l.lr_unet, &l.lr_text, &l.norm, &l.seconds, &l.band[0], &l.band[1], &l.band[2], &l.band[3] };
        const char *rest = read_head(at, &l.step, &l.epoch);
        if (!rest) continue;                            /* the header */
        for (size_t k = 0; k < sizeof number / sizeof *number; k++) *number[k] = next_number(&rest);
        (*line)[(*lines)++] = l;
    }
    free(text);
    return 0;
}
