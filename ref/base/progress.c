#include "base/progress.h"
#include "base/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double EVERY_TERMINAL = 0.1, EVERY_FILE = 5;                   /* seconds between two lines */

Progress progress_open(const char *label, const char *unit, int start, int total)
{
    return (Progress){ .label = label, .unit = unit, .start = start, .step = start, .total = total, .terminal = isatty(STDERR_FILENO), .opened = now() };
}

/* 59 -> "0:59", 3700 -> "1:01:40". */
static void print_time(char *out, size_t size, double seconds)
{
    long s = (long)(seconds + 0.5);
    if (s < 3600) snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
    else snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

void progress_line(char *out, size_t size, const Progress *p, double seconds)
{
    char   rate[64] = "", left[64] = "", time[32];
    int    done = p->step - p->start, percent = p->total > 0 ? (int)(100.0 * p->step / p->total) : 100;
    double per_second = done > 0 && seconds > 0 ? done / seconds : 0;
    if (per_second >= 1) snprintf(rate, sizeof rate, "  %.2f %ss/s", per_second, p->unit);
    else if (per_second > 0) snprintf(rate, sizeof rate, "  %.2f s/%s", 1 / per_second, p->unit);
    if (per_second > 0) {
        int over = p->step >= p->total;
        print_time(time, sizeof time, over ? seconds : (p->total - p->step) / per_second);
        snprintf(left, sizeof left, "  %s %s", time, over ? "in all" : "left");
    }
    snprintf(out, size, "%s  %d/%d  %d%%%s%s%s%s", p->label, p->step, p->total, percent, rate, left, *p->note ? "  " : "", p->note);
}

/* On a terminal: back to the first column, the line, and what is left of a longer one erased. */
static void show(Progress *p, double time)
{
    char line[512];
    progress_line(line, sizeof line, p, time - p->opened);
    fprintf(stderr, p->terminal ? "\r%s\x1b[K" : "%s\n", line);
    fflush(stderr);
    p->shown = time;
}

void progress_update(Progress *p, int step, const char *note, ...)
{
    double  time = now();
    va_list args;
    p->step = step;
    va_start(args, note);
    vsnprintf(p->note, sizeof p->note, note, args);
    va_end(args);
    if (time - (p->shown > 0 ? p->shown : p->opened) >= (p->terminal ? EVERY_TERMINAL : EVERY_FILE)) show(p, time);
}

void progress_close(Progress *p)
{
    if (p->step == p->start && p->shown == 0) return;
    show(p, now());
    if (p->terminal) fputc('\n', stderr);
}
