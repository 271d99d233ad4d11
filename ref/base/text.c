#define _GNU_SOURCE                                     /* fopencookie */
#include "base/text.h"
#include <stdlib.h>
#include <string.h>

/* 0, as stdio wants it, where there is no memory: the stream's error is then set, and stays so. */
static ssize_t put(void *cookie, const char *data, size_t size)
{
    Text *t = cookie;
    if (t->length + size >= t->room) {
        size_t room = 2 * (t->length + size) + 1024;
        char  *s = realloc(t->s, room);
        if (!s) return 0;
        t->s = s, t->room = room;
    }
    memcpy(t->s + t->length, data, size);
    t->length += size, t->s[t->length] = 0;
    return (ssize_t)size;
}

FILE *text_open(Text *t)
{
    *t = (Text){ .s = calloc(1, 1), .room = 1 };
    return t->out = t->s ? fopencookie(t, "w", (cookie_io_functions_t){ .write = put }) : NULL;
}

char *text_close(Text *t)
{
    int bad = !t->out || ferror(t->out);
    if (t->out && fclose(t->out)) bad = 1;
    t->out = NULL;
    if (bad) free(t->s), t->s = NULL;
    return t->s;
}
