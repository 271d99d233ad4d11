#include "cli/outline.h"
#include "io/utf8.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CELL = 512, GAP = 3 };

/* 1234567 -> "1,234,567" */
static void whole_number(char out[CELL], double x)
{
    char   digits[32];
    size_t n = (size_t)snprintf(digits, sizeof digits, "%.0f", fabs(x)), at = 0;
    if (x < 0) out[at++] = '-';
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
}

static void number(char out[CELL], double x)
{
    if (x == floor(x) && fabs(x) < 1e15) whole_number(out, x);
    else snprintf(out, CELL, "%.4g", x);
}

/* Prints a text, at most `width` characters of each line where width is not 0; further lines begin with `indent` blanks. */
static void print_text(FILE *out, const char *text, int width, int indent)
{
    char bytes[4];
    int  column = 0;
    for (const char *end = text + strlen(text); text < end;) {
        int32_t code = utf8_next(&text, end);
        if (code == '\n') {
            fprintf(out, "\n%*s", *text ? indent : 0, "");
            column = 0;
            continue;
        }
        if (width && ++column > width) {
            if (column == width + 1) fputs("...", out);
            continue;
        }
        if (code < 0) code = UTF8_REPLACEMENT;
        if (code < ' ' || (code >= 127 && code < 160)) code = '?';
        fwrite(bytes, 1, (size_t)utf8_put(bytes, code), out);
    }
}

static void print_value(FILE *out, const cJSON *item, int width, int indent)
{
    char cell[CELL];
    if (cJSON_IsString(item)) print_text(out, item->valuestring, width, indent);
    else if (cJSON_IsNumber(item)) number(cell, item->valuedouble), fputs(cell, out);
    else fputs(cJSON_IsTrue(item) ? "yes" : cJSON_IsFalse(item) ? "no" : "none", out);
}

/* Characters, not bytes. */
static int length_of(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_name(FILE *out, const char *name, int column)
{
    int length = length_of(name);
    print_text(out, name, 0, 0);
    fprintf(out, "%*s", column > length ? column - length : 0, "");
}

/* ---- tables ---- */

static void cell_of(char out[CELL], const cJSON *item)
{
    if (cJSON_IsNumber(item)) number(out, item->valuedouble);
    else snprintf(out, CELL, "%s", cJSON_IsString(item) ? item->valuestring : cJSON_IsTrue(item) ? "yes" : "");
}

static int column_width(const cJSON *table, const cJSON *head)
{
    char         cell[CELL];
    const cJSON *row;
    int          width = length_of(head->string);
    cJSON_ArrayForEach(row, table) {
        cell_of(cell, cJSON_GetObjectItemCaseSensitive(row, head->string));
        if (length_of(cell) > width) width = length_of(cell);
    }
    return width;
}

static void print_row(FILE *out, const cJSON *heads, const int *widths, const cJSON *row, int indent)
{
    char         cell[CELL];
    const cJSON *head;
    int          k = 0;
    fprintf(out, "%*s", indent, "");
    cJSON_ArrayForEach(head, heads) {
        if (row) cell_of(cell, cJSON_GetObjectItemCaseSensitive(row, head->string));
        else snprintf(cell, CELL, "%s", head->string);
        int pad = widths[k++] - length_of(cell), right = cJSON_IsNumber(head);
        fprintf(out, "%*s", right ? pad : 0, "");
        print_text(out, cell, 0, 0);
        if (head->next) fprintf(out, "%*s", (right ? 0 : pad) + GAP, "");
    }
    fputc('\n', out);
}

static void print_table(FILE *out, const cJSON *table, int indent)
{
    const cJSON *first = table->child, *head, *row;
    int         *widths = calloc((size_t)cJSON_GetArraySize(first) + 1, sizeof *widths), k = 0;
    if (!widths) return;
    cJSON_ArrayForEach(head, first) widths[k++] = column_width(table, head);
    print_row(out, first, widths, NULL, indent);
    cJSON_ArrayForEach(row, table) print_row(out, first, widths, row, indent);
    free(widths);
}

/* ---- objects ---- */

static int is_section(const cJSON *item) { return cJSON_IsObject(item) || cJSON_IsArray(item); }

static void print_members(FILE *out, const cJSON *object, int width, int indent)
{
    const cJSON *item;
    int          column = 0;
    cJSON_ArrayForEach(item, object)
        if (!is_section(item) && length_of(item->string) > column) column = length_of(item->string);
    cJSON_ArrayForEach(item, object) {
        if (is_section(item)) continue;
        fprintf(out, "%*s", indent, "");
        print_name(out, item->string, column + GAP);
        print_value(out, item, width, indent + column + GAP);
        fputc('\n', out);
    }
    cJSON_ArrayForEach(item, object) {
        if (!is_section(item) || !item->child) continue;
        const cJSON *row;
        fprintf(out, "\n%*s", indent, "");
        print_name(out, item->string, 0);
        fputc('\n', out);
        if (cJSON_IsObject(item)) print_members(out, item, width, indent + 2);
        else if (cJSON_IsObject(item->child)) print_table(out, item, indent + 2);
        else
            cJSON_ArrayForEach(row, item) {
                fprintf(out, "%*s", indent + 2, "");
                print_value(out, row, width, indent + 2);
                fputc('\n', out);
            }
    }
}

void outline_print(FILE *out, const cJSON *object, int width) { print_members(out, object, width, 0); }
