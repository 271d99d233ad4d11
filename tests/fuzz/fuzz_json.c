/* covers ref/io/json.c
 * A configuration, 0xff, a key that all getters are asked for: "a" where there is none. */
#include "fuzz.h"
#include "io/json.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GETTERS = 14, MOST = 4 };

static int count_member(void *ctx, const char *key, int value)
{
    CHECK(key && value >= INT_MIN, "a member without a name");
    return ++*(int *)ctx < MOST ? 0 : -1;
}

static int count_double(void *ctx, const char *key, double value)
{
    CHECK(key && (value <= 0 || value > 0), "a member that is no number");
    return ++*(int *)ctx < MOST ? 0 : -1;
}

static int count_text(void *ctx, const char *key, const char *value)
{
    CHECK(key && strlen(value) < SIZE_MAX, "a member without a name");
    return ++*(int *)ctx < MOST ? 0 : -1;
}

static void get(Json *j, int getter, const char *key)
{
    int         out[MOST], members = 0;
    const char *text[MOST], *one;
    switch (getter) {
    case 0: json_int(j, key, -1); break;
    case 1: json_double(j, key, -1); break;
    case 2: json_bool(j, key, 1); break;
    case 3: one = json_string(j, key, "none"); CHECK(strlen(one) < SIZE_MAX, "no text"); break;
    case 4: json_need_int(j, key); break;
    case 5: json_need_double(j, key); break;
    case 6: json_need_bool(j, key); break;
    case 7: one = json_need_string(j, key); CHECK(strlen(one) < SIZE_MAX, "no text"); break;
    case 8: CHECK(json_ints(j, key, out, MOST) <= MOST, "more than fit"); break;
    case 9:
        for (int n = json_strings(j, key, text, MOST), i = 0; i < n; i++) CHECK(strlen(text[i]) < SIZE_MAX, "no text");
        break;
    case 10: json_each_int(j, count_member, &members); break;
    case 11: json_each_double(j, key, count_double, &members); break;
    case 12: json_each_string(j, key, count_text, &members); break;
    default: CHECK(!json_is_string(j, key) || json_has(j, key), "a text that is not there"); break;
    }
}

int fuzz_one(const uint8_t *data, size_t size)
{
    FuzzPart    part[2];
    int         parts = fuzz_parts(part, 2, data, size);
    char       *key = parts > 1 ? fuzz_text(part[1]) : strdup("a");
    const char *path = fuzz_file("a.json", data, parts ? part[0].size : 0);
    for (int getter = 0; getter < GETTERS; getter++) {
        Json *j = json_open(path);
        if (!j) {
            fuzz_refused(path);
            break;
        }
        get(j, getter, key);
        if (json_close(j) < 0) fuzz_refused(path);
    }
    free(key);
    return 0;
}
