#include "cli/foreign.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool fits_name(const char *name, size_t length, const char *row)
{
    for (size_t j = 0; j < length; j++, row++) {
        if (*row == '*') return true;
        if ((name[j] == '-' ? '_' : tolower((unsigned char)name[j])) != *row) return false;
    }
    return !*row || *row == '*';
}

/* b, without blanks, is a without its own. */
static bool same_text(const char *a, const char *b)
{
    for (a += strspn(a, " "); *a && tolower((unsigned char)*a) == tolower((unsigned char)*b); a += strspn(a, " ")) a++, b++;
    return !*a && !*b;
}

/* "0.0" is "0". */
static bool same_value(const char *a, const char *b)
{
    char  *end_a, *end_b;
    double x = strtod(a, &end_a), y = strtod(b, &end_b);
    return same_text(a, b) || (end_a != a && end_b != b && !*end_a && !*end_b && x == y);
}

static bool fits_value(const char *value, const char *values)
{
    char one[32];
    for (size_t length; *values; values += length, values += strspn(values, " ")) {
        length = strcspn(values, " ");
        memcpy(one, values, length), one[length] = 0;   /* the table's own: short */
        if (same_value(value, one)) return true;
    }
    return false;
}

const Foreign *foreign_find(const Foreign *rows, const char *name, size_t length, const char *value)
{
    for (; rows && rows->name; rows++)
        if (fits_name(name, length, rows->name) && (!value || !rows->values || fits_value(value, rows->values))) return rows;
    return NULL;
}
