/* log.csv: its lines, the average over the last hundred, and being taken up after a stop. */
#include "train/log.h"
#include "base/err.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "tmp.h"

static double loss_of(int step) { return 1.0 / step; }

/* Steps [first, last] of epochs of four. */
static void write_steps(Log *log, int first, int last)
{
    for (int k = first; k <= last; k++) {
        TrainPosition at = { k, k / 4, k % 4 };
        TrainReport   report = { .loss = loss_of(k), .norm = 2 * k, .lr_text = 1e-4, .lr_unet = 1e-3 };
        for (int band = 1; band <= 2; band++) report.band_loss[band] = (2 * band - 1) * k, report.band_samples[band] = band;
        assert_int_equal(log_step(log, &at, &report), 0);
    }
}

/* The file holds the header and the lines of steps 1 to `steps`, each whole. */
static void check_file(const char *path, int steps)
{
    char *text = file_read(path, 1 << 20, NULL), *line, *end;
    assert_non_null(text);
    line = strtok_r(text, "\n", &end);
    assert_string_equal(line, "step,epoch,loss,average_loss,lr_unet,lr_text_encoder,gradient_norm,seconds,loss_t1,loss_t2,loss_t3,loss_t4");
    for (int k = 1; k <= steps; k++) {
        int    step, epoch, used = 0;
        double loss, average, unet, text_encoder, norm, seconds, second, third, sum = 0;
        line = strtok_r(NULL, "\n", &end);
        assert_non_null(line);
        assert_int_equal(sscanf(line, "%d,%d,%lf,%lf,%lf,%lf,%lf,%lf,,%lf,%lf,%n", &step, &epoch, &loss, &average, &unet, &text_encoder, &norm, &seconds,
                                &second, &third, &used), 10);
        assert_true(step == k && epoch == (k - 1) / 4 + 1 && second == k && third == 1.5 * k && used && !line[used]);
        for (int j = k > LOG_WINDOW ? k - LOG_WINDOW + 1 : 1; j <= k; j++) sum += loss_of(j);
        double mean = sum / (k < LOG_WINDOW ? k : LOG_WINDOW);
        assert_true(fabs(loss - loss_of(k)) <= 1e-5 * loss && fabs(average - mean) <= 1.01e-5 * mean);     /* six digits are written */
        assert_true(unet == 1e-3 && text_encoder == 1e-4 && norm == 2 * k && seconds >= 0 && seconds < 60);
    }
    assert_null(strtok_r(NULL, "\n", &end));
    free(text);
}

static void a_line_a_step(void **state)
{
    (void)state;
    Log log;
    assert_int_equal(file_write(tmp_path("log.csv"), "old\n", 4), 0);
    assert_int_equal(log_open(&log, tmp_path("log.csv"), 0), 0);
    assert_true(log_average(&log) == 0);
    write_steps(&log, 1, 250);
    assert_int_equal(log_close(&log), 0);
    check_file(tmp_path("log.csv"), 250);
}

/* A run killed at step 250, half a line of 251 written, goes on from the state of step 130; then from that of step 0, which is a new run. */
static void taken_up(void **state)
{
    (void)state;
    Log   log;
    FILE *file = fopen(tmp_path("log.csv"), "a");
    assert_non_null(file);
    fputs("251,63,0.0", file);
    fclose(file);
    assert_int_equal(log_open(&log, tmp_path("log.csv"), 130), 0);
    check_file(tmp_path("log.csv"), 130);
    write_steps(&log, 131, 140);
    assert_int_equal(log_close(&log), 0);
    check_file(tmp_path("log.csv"), 140);

    assert_int_equal(log_open(&log, tmp_path("log.csv"), 200), 0);      /* a log that is behind: its lines are kept */
    assert_int_equal(log_close(&log), 0);
    check_file(tmp_path("log.csv"), 140);

    assert_int_equal(log_open(&log, tmp_path("new.csv"), 130), 0);      /* resumed elsewhere: the log begins here */
    assert_int_equal(log_close(&log), 0);
    check_file(tmp_path("new.csv"), 0);
    assert_int_equal(log_open(&log, tmp_path("log.csv"), 0), 0);
    assert_int_equal(log_close(&log), 0);
    check_file(tmp_path("log.csv"), 0);
}

/* A log of many megabytes is read in a moment: each line takes its own length, not that of all that follows. */
static void a_long_log(void **state)
{
    (void)state;
    enum { LINES = 200000 };
    Log      log;
    LogLine *line;
    int      lines;
    FILE    *file = fopen(tmp_path("long.csv"), "w");
    assert_non_null(file);
    fputs("step,epoch,loss\n", file);
    for (int k = 1; k <= LINES; k++) fprintf(file, "%d,1,0.5,0.5,0.0001,0.0001,,%d.123,0.5,,,0.00000000000000000000001\n", k, k);
    fputs("\n,1,2\n7,,3\n99999999999,1,2\n", file);   /* none of ours */
    assert_int_equal(fclose(file), 0);
    assert_int_equal(log_read(&line, &lines, tmp_path("long.csv")), 0);
    assert_int_equal(lines, LINES);
    assert_true(line[LINES - 1].step == LINES && line[LINES - 1].epoch == 1 && line[LINES - 1].seconds == LINES + 0.123 && isnan(line[7].norm));
    free(line);
    assert_int_equal(log_open(&log, tmp_path("long.csv"), LINES), 0);
    assert_true(log.count == LINES && log_average(&log) == 0.5);
    assert_int_equal(log_close(&log), 0);
}

static void trouble(void **state)
{
    (void)state;
    Log log;
    assert_int_equal(log_open(&log, tmp_path("nowhere/log.csv"), 0), -1);
    assert_non_null(strstr(err_text(), "nowhere/log.csv"));
    assert_int_equal(dir_make(tmp_path("folder.csv")), 0);
    assert_int_equal(log_open(&log, tmp_path("folder.csv"), 0), -1);
    assert_non_null(strstr(err_text(), "folder.csv"));
}

/* A disk without space: the step that could not be written says so. */
static void a_full_disk(void **state)
{
    (void)state;
    Log log = { .file = fopen("/dev/full", "w"), .path = strdup("full.csv") };
    assert_true(log.file && log.path);
    TrainPosition at = { 1, 0, 1 };
    TrainReport   report = { .loss = 1 };
    assert_int_equal(log_step(&log, &at, &report), -1);
    assert_non_null(strstr(err_text(), "full.csv: "));
    log_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_line_a_step), cmocka_unit_test(taken_up), cmocka_unit_test(a_long_log),
                                        cmocka_unit_test(trouble), cmocka_unit_test(a_full_disk) };
    return cmocka_run_group_tests(tests, tmp_open, tmp_close);
}
