/* err.h - three kinds of trouble, three mechanisms.
 *
 * Bad input (a file, a flag, no memory, no space): the function returns -1 or NULL, and err() has recorded one line that names the file, the key and what
 * was expected; main prints it.  Our own bug: CHECK prints file, line and shapes, and aborts.  A device: the set latches its first error until sync. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum { ERR_SIZE = 1024 };                               /* of err_text(), its end included */

/* Records the message (a later one replaces it) and returns -1, so `return err("%s: no such key", path)` is the whole of a failure. Thread-local. A control
 * character, of a name or value from a file, becomes '?': the message is one line. */
int err(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The last recorded message, "" when there is none. Valid until this thread's next err(). */
const char *err_text(void);

#define CHECK(condition, ...)                                                                                                                                  \
    do {                                                                                                                                                       \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__);                                                                           \
    } while (0)
_Noreturn void check_failed(const char *file, int line, const char *condition, const char *format, ...) __attribute__((format(printf, 4, 5)));
#endif
