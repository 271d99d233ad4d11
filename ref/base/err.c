#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local char text[ERR_SIZE];

int err(const char *format, ...)
{
    char line[sizeof text];                             /* an argument may be err_text() itself */
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++)                       /* names and values from files: nothing that would break the line or move a terminal's cursor */
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    snprintf(text, sizeof text, "%s", line);
    return -1;
}

const char *err_text(void) { return text; }

void check_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s:%d: bug: %s: ", file, line, condition);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}
