/* toml.h - settings files: the part of TOML 1.0 that a list of options needs, read strictly.
 *
 * Comments, [tables], bare, quoted and dotted keys; strings of all four kinds, integers (also 0x 0o 0b and 1_000), numbers, true and false, arrays of these.
 * Refused by name: dates and times, inline tables {}, arrays of tables [[]], arrays in arrays, a key or table given twice. A file is UTF-8 and at most 1 MB.
 *
 * Every value is kept as text: of a string its characters, of a whole number its decimal digits, of another number what stands in the file without '_'. */
#ifndef IO_TOML_H
#define IO_TOML_H

enum { TOML_ENTRIES = 512, TOML_ITEMS = 64, TOML_PATH = 128 };  /* most entries of a file, values of an array, bytes of a key with its tables */

typedef enum { TOML_STRING, TOML_INTEGER, TOML_NUMBER, TOML_BOOL, TOML_ARRAY } TomlKind;

typedef struct TomlValue {
    TomlKind                kind;
    const char             *text;                       /* of an array: NULL */
    const struct TomlValue *item;                       /* of an array: its values, `count` of them */
    int                     count;
} TomlValue;

typedef struct {
    const char *path, *key;                             /* "training.network_dim"; its last part, "network_dim" */
    int         line;
    TomlValue   value;
} TomlEntry;

typedef struct {
    const char      *path;                              /* for messages */
    int              count;
    const TomlEntry *entry;                             /* in the file's order */
} Toml;

Toml *toml_open(const char *path);                      /* NULL and err("FILE:LINE: KEY: what was expected, what was found") */
void  toml_close(Toml *toml);                           /* may be NULL; its texts are gone */
#endif
