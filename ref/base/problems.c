#include "base/problems.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

int problems_take(Problems *p)
{
    if (!p) return -1;
    char **text = realloc(p->text, ((size_t)p->count + 1) * sizeof *text);
    if (text) p->text = text, text[p->count] = strdup(err_text());
    if (!text || !text[p->count]) return err("no memory for a list of %d problems", p->count + 1);
    p->count++;
    return 0;
}

void problems_print(const Problems *p, FILE *out)
{
    for (int i = 0; i < p->count; i++) fprintf(out, "%s\n", p->text[i]);
}

void problems_close(Problems *p)
{
    for (int i = 0; i < p->count; i++) free(p->text[i]);
    free(p->text);
    *p = (Problems){ 0 };
}
