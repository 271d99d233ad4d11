/* job.h - a small job for a test: random pictures in the test's folder, and options as a user writes them. */
#ifndef TESTS_JOB_H
#define TESTS_JOB_H
#include "base/err.h"
#include "base/rng.h"
#include "cli/options.h"
#include "diffusion/sample_config.h"
#include "io/image.h"
#include "io/safetensors.h"
#include "tmp.h"
#include "train/config.h"

#define JOB_MODEL "golden/parity/a/model"               /* random weights, 16x16, sizes in steps of 4: a training step takes about 10 ms */
enum { JOB_WORDS = 64 };

#define JOB_CHECK(condition)                                                                                                                                   \
    do {                                                                                                                                                       \
        if (condition) break;                                                                                                                                  \
        fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, err_text());                                                                        \
        abort();                                                                                                                                               \
    } while (0)

/* Picture `number` of DIR/folder, w x h, noise of its own, and a caption beside it. */
static inline void job_picture(const char *folder, int number, int w, int h)
{
    char  name[64], caption[64];
    Image image;
    Rng   rng = rng_open(3, RNG_TEST, (uint32_t)number, (uint32_t)(w * 1000 + h));
    JOB_CHECK(dir_make(tmp_path(folder)) == 0 && image_new(&image, w, h) == 0);
    for (int k = 0; k < 3 * w * h; k++) image.rgb[k] = (uint8_t)rng_below(&rng, 256);
    snprintf(name, sizeof name, "%s/%03d.png", folder, number);
    JOB_CHECK(image_save(tmp_path(name), &image, NULL) == 0);
    image_free(&image);
    snprintf(name, sizeof name, "%s/%03d.txt", folder, number);
    snprintf(caption, sizeof caption, "thing, tag %d, red, round", number);
    JOB_CHECK(file_write(tmp_path(name), caption, strlen(caption)) == 0);
}

/* `folder` = a part of JOB_MODEL, "vae", in which the first number of a tensor is `value`. */
static inline void job_part(const char *folder, const char *part, const char *weights, const char *tensor, double value)
{
    char         dir[PATH_SIZE], from[PATH_SIZE], to[PATH_SIZE];
    const char  *file[] = { "config.json", weights };
    size_t       size = 0;
    JOB_CHECK(dir_make(folder) == 0 && path_join(dir, JOB_MODEL, part) == 0);
    for (int i = 0; i < 2; i++) {
        JOB_CHECK(path_join(from, dir, file[i]) == 0 && path_join(to, folder, file[i]) == 0);
        char *data = file_read(from, 1 << 24, &size);
        JOB_CHECK(data != NULL && file_write(to, data, size) == 0);
        free(data);
    }
    Safetensors            *read = safetensors_open(to);
    const SafetensorsEntry *e = read ? safetensors_find(read, tensor) : NULL;
    JOB_CHECK(e != NULL);
    double number;                                      /* as the file has it */
    type_set(e->type, &number, 0, value);
    size_t bytes = type_size(e->type), at = size - read->bytes + (size_t)((const char *)e->data - (const char *)read->data);
    safetensors_close(read);
    char *data = file_read(to, 1 << 24, &size);
    JOB_CHECK(data != NULL);
    memcpy(data + at, &number, bytes);
    JOB_CHECK(file_write(to, data, size) == 0);
    free(data);
}

/* The words of `line`, apart by blanks, in *text, which they live in; '@' stands for the test's folder. */
static inline int job_words(char *argv[JOB_WORDS], char text[4096], const char *line)
{
    int    words = 0;
    size_t n = 0;
    *text = 0;
    for (; *line; line++) n += (size_t)snprintf(text + n, 4096 - n, *line == '@' ? "%s" : "%.1s", *line == '@' ? tmp_dir : line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) argv[words++] = word;
    return words;
}

/* The configuration of `sdlora train` with these options; quiet, of JOB_MODEL and @/data, to @/out, unless they say otherwise. Valid while text is. */
static inline TrainConfig job_train(char text[4096], const char *options)
{
    char        line[2048], *argv[JOB_WORDS];
    TrainConfig config;
    snprintf(line, sizeof line, "--quiet --overwrite %s", options);
    if (!strstr(options, "--model")) strcat(line, " --model " JOB_MODEL);
    if (!strstr(options, "--train_data_dir")) strcat(line, " --train_data_dir @/data");
    if (!strstr(options, "--output_dir")) strcat(line, " --output_dir @/out");
    int words = job_words(argv, text, line);
    JOB_CHECK(options_parse(&train_command, &config, words, argv) == 0 && train_config_check(&config) == 0);
    return config;
}
#endif
