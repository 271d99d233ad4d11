#include "io/json.h"
#include "base/err.h"
#include "io/file.h"
#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_LIMIT = 64 << 20 };

struct Json {
    cJSON *root;
    int    failed;
    char   failure[ERR_SIZE];
    char   path[PATH_SIZE];
};

static int line_of(const char *text, const char *at)
{
    int line = 1;
    for (; text < at; text++) line += *text == '\n';
    return line;
}

/* cJSON itself stops at a thousand levels of nesting, so its recursion is bounded. */
Json *json_parse(const char *text, const char *path)
{
    const char *end = NULL;
    Json *j = calloc(1, sizeof *j);
    if (!j) return err("%s: no memory", path), NULL;
    snprintf(j->path, sizeof j->path, "%s", path);
    errno = 0;
    j->root = cJSON_ParseWithOpts(text, &end, 1);
    if (!j->root && errno == ENOMEM) err("%s: no memory", path);            /* which cJSON does not tell from bad JSON */
    else if (!j->root) err("%s:%d: this is not JSON", path, line_of(text, end));
    else if (!cJSON_IsObject(j->root)) err("%s: expected an object {...}", path), cJSON_Delete(j->root), j->root = NULL;
    if (!j->root) return free(j), NULL;
    return j;
}

Json *json_open(const char *path)
{
    char *text = file_read(path, JSON_LIMIT, NULL);
    if (!text) return NULL;
    Json *j = json_parse(text, path);
    free(text);
    return j;
}

int json_close(Json *j)
{
    int result = j->failed ? err("%s", j->failure) : 0;
    cJSON_Delete(j->root);
    free(j);
    return result;
}

void json_fail(Json *j, const char *key, const char *format, ...)
{
    char what[256];
    if (j->failed) return;
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    j->failed = 1;
    snprintf(j->failure, sizeof j->failure, "%.600s: %s: %s", j->path, key, what);
}

/* The value at the end of a path of names; NULL: absent or null. */
static const cJSON *find(const Json *j, const char *key)
{
    const cJSON *at = cJSON_GetObjectItemCaseSensitive(j->root, key);
    char name[128];
    if (at) return cJSON_IsNull(at) ? NULL : at;
    at = j->root;
    for (const char *dot; at && *key; key = dot + (*dot == '.')) {
        dot = key + strcspn(key, ".");
        snprintf(name, sizeof name, "%.*s", (int)(dot - key), key);
        at = cJSON_GetObjectItemCaseSensitive(at, name);
    }
    return cJSON_IsNull(at) ? NULL : at;
}

static const cJSON *need(Json *j, const char *key)
{
    const cJSON *item = find(j, key);
    if (!item) json_fail(j, key, "a value is needed and there is none");
    return item;
}

/* A value as text for a message: short, on one line. */
static void found(Json *j, const char *key, const char *wanted, const cJSON *item)
{
    char *text = cJSON_PrintUnformatted(item);
    json_fail(j, key, "expected %s, found %.60s", wanted, text ? text : "something else");
    cJSON_free(text);
}

int json_has(const Json *j, const char *key) { return find(j, key) != NULL; }
int json_is_string(const Json *j, const char *key) { return cJSON_IsString(find(j, key)); }

static int is_int(const cJSON *item)
{
    double x = item->valuedouble;
    return cJSON_IsNumber(item) && x >= INT_MIN && x <= INT_MAX && x == (double)(int)x;
}

static int as_int(Json *j, const char *key, const cJSON *item)
{
    if (is_int(item)) return (int)item->valuedouble;
    found(j, key, "a whole number", item);
    return 0;
}

static double as_double(Json *j, const char *key, const cJSON *item)
{
    if (cJSON_IsNumber(item) && isfinite(item->valuedouble)) return item->valuedouble;     /* 1e400 is a number of JSON */
    found(j, key, "a number", item);
    return 0;
}

static int as_bool(Json *j, const char *key, const cJSON *item)
{
    if (cJSON_IsBool(item)) return cJSON_IsTrue(item);
    found(j, key, "true or false", item);
    return 0;
}

static const char *as_string(Json *j, const char *key, const cJSON *item)
{
    if (cJSON_IsString(item)) return item->valuestring;
    found(j, key, "a string", item);
    return "";
}

#define GETTERS(type, name, none)                                                                                                                              \
    type json_##name(Json *j, const char *key, type otherwise)                                                                                                 \
    {                                                                                                                                                          \
        const cJSON *item = find(j, key);                                                                                                                      \
        return item ? as_##name(j, key, item) : otherwise;                                                                                                     \
    }                                                                                                                                                          \
    type json_need_##name(Json *j, const char *key)                                                                                                            \
    {                                                                                                                                                          \
        const cJSON *item = need(j, key);                                                                                                                      \
        return item ? as_##name(j, key, item) : none;                                                                                                          \
    }
GETTERS(int, int, 0)
GETTERS(double, double, 0)
GETTERS(int, bool, 0)
GETTERS(const char *, string, "")

/* Walks an array; a value alone is an array of one. */
static const cJSON *first(const cJSON *item) { return cJSON_IsArray(item) ? item->child : item; }
static const cJSON *after(const cJSON *item, const cJSON *e) { return cJSON_IsArray(item) ? e->next : NULL; }

static int has_room(Json *j, const char *key, int count, int max)
{
    if (count == max) json_fail(j, key, "expected at most %d values, found more", max);
    return count < max;
}

int json_ints(Json *j, const char *key, int *out, int max)
{
    const cJSON *item = find(j, key);
    int count = 0;
    for (const cJSON *e = first(item); e && has_room(j, key, count, max); e = after(item, e)) out[count++] = as_int(j, key, e);
    return count;
}

int json_strings(Json *j, const char *key, const char **out, int max)
{
    const cJSON *item = find(j, key);
    int count = 0;
    for (const cJSON *e = first(item); e && has_room(j, key, count, max); e = after(item, e)) out[count++] = as_string(j, key, e);
    return count;
}

int json_each_int(Json *j, int (*visit)(void *ctx, const char *key, int value), void *ctx)
{
    for (const cJSON *item = j->root->child; item; item = item->next) {
        int value = as_int(j, item->string, item);
        if (j->failed || visit(ctx, item->string, value) < 0) return -1;
    }
    return 0;
}

/* The first member of the object; NULL: there is none, or it is no object, which is latched. */
static const cJSON *members(Json *j, const char *key, const cJSON *object)
{
    if (object && !cJSON_IsObject(object)) found(j, key, "an object", object);
    return object && !j->failed ? object->child : NULL;
}

int json_each_string(Json *j, const char *key, int (*visit)(void *ctx, const char *key, const char *value), void *ctx)
{
    for (const cJSON *item = members(j, key, need(j, key)); item; item = item->next) {
        const char *value = as_string(j, item->string, item);
        if (j->failed || visit(ctx, item->string, value) < 0) return -1;
    }
    return j->failed ? -1 : 0;
}

int json_each_double(Json *j, const char *key, int (*visit)(void *ctx, const char *key, double value), void *ctx)
{
    for (const cJSON *item = members(j, key, find(j, key)); item; item = item->next) {
        double value = as_double(j, key, item);
        if (j->failed || visit(ctx, item->string, value) < 0) return -1;
    }
    return j->failed ? -1 : 0;
}
