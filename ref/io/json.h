/* json.h - configuration files.
 *
 * The file is one object. A getter returns the value of a key, or its default where the key is absent or null; a json_need_ getter has no default. The first
 * value that is missing, of the wrong type or out of range is latched, and json_close reports it as "FILE: KEY: what was expected, what was found", so that
 * code which reads a config is a list of assignments. A key may be a path of names, "pad_token.content", where no member has that very name. */
#ifndef IO_JSON_H
#define IO_JSON_H
#include <stddef.h>

typedef struct Json Json;

Json *json_open(const char *path);                      /* NULL and err(): unreadable, not JSON (with the line), not an object */
Json *json_parse(const char *text, const char *path);   /* the same from memory; path is for messages */
int   json_close(Json *j);                              /* 0, or -1 and err(): the first failure of a getter; strings of j are gone */
void  json_fail(Json *j, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));   /* latch a caller's own finding */

int json_has(const Json *j, const char *key);           /* there, and not null */
int json_is_string(const Json *j, const char *key);

int         json_int(Json *j, const char *key, int otherwise);
double      json_double(Json *j, const char *key, double otherwise);
int         json_bool(Json *j, const char *key, int otherwise);
const char *json_string(Json *j, const char *key, const char *otherwise);   /* valid until json_close */

int         json_need_int(Json *j, const char *key);    /* 0, 0.0, 0 and "" when the failure is latched */
double      json_need_double(Json *j, const char *key);
int         json_need_bool(Json *j, const char *key);
const char *json_need_string(Json *j, const char *key);

/* Arrays: the number of elements, at most max (more is a failure); 0 when absent. A value alone counts as an array of one. */
int json_ints(Json *j, const char *key, int *out, int max);
int json_strings(Json *j, const char *key, const char **out, int max);

/* Calls visit for each member, in order: of the file's object, for files that are tables of numbers (vocab.json); of the object at a key, which must be there;
 * of the object at a key, where it is there. 0, or -1: visit gave -1, which ends it, or a failure is latched. */
int json_each_int(Json *j, int (*visit)(void *ctx, const char *key, int value), void *ctx);
int json_each_string(Json *j, const char *key, int (*visit)(void *ctx, const char *key, const char *value), void *ctx);
int json_each_double(Json *j, const char *key, int (*visit)(void *ctx, const char *key, double value), void *ctx);
#endif
