#include "train/log.h"
#include "base/err.h"
#include "io/file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char header[] = "step,epoch,loss,average_loss,lr_unet,lr_text_encoder,gradient_norm,seconds\n";

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
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

/* Keeps the lines of steps up to `step`, and their losses for the average. */
static int keep_lines(Log *log, const char *path, int step)
{
    if (step == 0 || !is_file(path)) return file_write(path, header, sizeof header - 1);
    char *text = file_read(path, (size_t)1 << 30, NULL), *end;
    if (!text) return -1;
    for (end = text; *end; ) {
        char  *next = strchr(end, '\n');
        double loss;
        int    at;
        if (!next) break;                               /* half a line, of a killed run */
        if (sscanf(end, "%d,%*d,%lf", &at, &loss) == 2) {
            if (at > step) break;
            remember(log, loss);
        }
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
    if (!(log->path = strdup(path)) || !(log->file = fopen(path, "a"))) {
        free(log->path);
        return err("%s: %s", path, strerror(errno));
    }
    return 0;
}

int log_step(Log *log, const TrainPosition *at, const TrainReport *r)
{
    int epoch = at->batch ? at->epoch + 1 : at->epoch;  /* from 1; the position is already behind the step */
    remember(log, r->loss);
    fprintf(log->file, "%d,%d,%.6g,%.6g,%.6g,%.6g,%.6g,%.3f\n", at->step, epoch, r->loss, log_average(log), r->lr_unet, r->lr_text, r->norm,
            now() - log->opened);
    return fflush(log->file) ? err("%s: %s", log->path, strerror(errno)) : 0;
}

int log_close(Log *log)
{
    int status = 0;
    if (log->file && fclose(log->file)) status = err("%s: %s", log->path, strerror(errno));
    free(log->path);
    *log = (Log){ 0 };
    return status;
}
