/* The message of the last error: replaced, cut, a thread's own. */
#include "base/err.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void test_message(void **state)
{
    (void)state;
    assert_string_equal(err_text(), "");
    assert_int_equal(err("%s: %d", "file", 7), -1);
    assert_string_equal(err_text(), "file: 7");
    err("again: %s", err_text());
    assert_string_equal(err_text(), "again: file: 7");
    err("%s", "a\nb\033[2J\177\xc3\xa9");
    assert_string_equal(err_text(), "a?b?[2J?\xc3\xa9");
}

static void test_long_message(void **state)
{
    char text[5000];
    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    err("%s", text);
    assert_true(strlen(err_text()) > 500 && strlen(err_text()) < sizeof text);
    assert_int_equal(strncmp(err_text(), text, strlen(err_text())), 0);
}

static void *other_thread(void *ctx)
{
    *(int *)ctx = strcmp(err_text(), "") == 0;
    err("theirs");
    return NULL;
}

static void test_thread_local(void **state)
{
    pthread_t thread;
    int was_empty = 0;
    (void)state;
    err("ours");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &was_empty), 0);
    pthread_join(thread, NULL);
    assert_true(was_empty);
    assert_string_equal(err_text(), "ours");
}

/* A failed CHECK aborts, and says on stderr where and why. */
static void test_check(void **state)
{
    int out[2], status;
    char text[512] = "";
    size_t used = 0;
    (void)state;
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(out[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        CHECK(1 + 1 == 2, "never shown");
        CHECK(1 + 1 == 3, "x has %d", 5);
        _exit(0);
    }
    close(out[1]);
    for (ssize_t n = 1; n > 0; used += (size_t)n) n = read(out[0], text + used, sizeof text - 1 - used);
    close(out[0]);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "unit_err.c"));
    assert_non_null(strstr(text, "1 + 1 == 3: x has 5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message), cmocka_unit_test(test_long_message), cmocka_unit_test(test_thread_local), cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
