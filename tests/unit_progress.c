/* The progress line: its text, and what goes to a file that is no terminal. */
#include "base/progress.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void expect(const char *unit, int start, int step, int total, double seconds, const char *note, const char *want)
{
    Progress p = { .label = "train", .unit = unit, .start = start, .step = step, .total = total };
    char line[200];
    snprintf(p.note, sizeof p.note, "%s", note);
    progress_line(line, sizeof line, &p, seconds);
    assert_string_equal(line, want);
}

static void test_line(void **state)
{
    (void)state;
    expect("step", 0, 0, 100, 0, "", "train  0/100  0%");
    expect("step", 0, 25, 100, 10, "loss 0.1234", "train  25/100  25%  2.50 steps/s  0:30 left  loss 0.1234");
    expect("step", 0, 1, 500, 20, "", "train  1/500  0%  20.00 s/step  2:46:20 left");
    expect("step", 400, 410, 1000, 5, "", "train  410/1000  41%  2.00 steps/s  4:55 left");
    expect("step", 0, 100, 100, 3725, "", "train  100/100  100%  37.25 s/step  1:02:05 in all");
    expect("step", 0, 999, 1000, 999, "", "train  999/1000  99%  1.00 steps/s  0:01 left");
    expect("step", 0, 0, 0, 1, "", "train  0/0  100%");
    expect("picture", 0, 25, 100, 10, "", "train  25/100  25%  2.50 pictures/s  0:30 left");
    expect("picture", 0, 1, 2, 20, "", "train  1/2  50%  20.00 s/picture  0:20 left");
}

/* In a file: no control characters, and of many quick updates only the last, by closing. */
static void test_not_a_terminal(void **state)
{
    char text[500] = "";
    FILE *file = tmpfile();
    int  old = dup(STDERR_FILENO);
    (void)state;
    assert_true(file && old >= 0);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    Progress silent = progress_open("never", "step", 0, 5), p = progress_open("steps", "step", 0, 1000);
    for (int i = 1; i <= 1000; i++) progress_update(&p, i, "loss %d", i);
    progress_close(&p);
    progress_close(&silent);
    dup2(old, STDERR_FILENO);
    close(old);
    rewind(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_true(size > 0 && strchr(text, '\n') == text + size - 1 && !strchr(text, '\r') && !strchr(text, 27));
    assert_int_equal(strncmp(text, "steps  1000/1000  100%  ", 24), 0);
    assert_non_null(strstr(text, "in all  loss 1000\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_line), cmocka_unit_test(test_not_a_terminal) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
