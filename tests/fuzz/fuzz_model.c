/* covers ref/model/checkpoint.c ref/model/model_config.c ref/cli/info_files.c
 * The configuration files of a model: unet/config.json, and after bytes 0xff those of the text encoder, the VAE, the scheduler, and model_index.json. What is
 * left out is that of golden/parity/a. The model is described, shown
 * as by `sdlora info`, and, where it is small, loaded with the numbers of golden/parity/a, which fit or are refused. */
#include "cli/info_files.h"
#include "fuzz.h"
#include "io/file.h"
#include "model/checkpoint.h"
#include <stdlib.h>
#include <string.h>

enum { PARTS = 5, MOST = 1 << 20 };                     /* numbers of a model that is loaded */

static void put_golden(const char *name)
{
    char   path[PATH_SIZE];
    size_t bytes;
    path_join(path, "golden/parity/a/model", name);
    void *own = file_read(path, 1 << 24, &bytes);
    CHECK(own, "%s", err_text());
    fuzz_file(name, own, bytes);
    free(own);
}

/* The configuration, written and read again, is the same to the byte. */
static void check_texts(void)
{
    ModelConfig a, b;
    char       *text[CONFIGS];
    CHECK(model_config_read(&a, fuzz_dir()) == 0, "%s", err_text());
    for (int i = 0; i < CONFIGS; i++) CHECK((text[i] = model_config_text(&a, (ConfigFile)i)) != NULL, "%s", err_text());
    CHECK(model_config_parse(&b, (const char *const *)text, "again") == 0, "%s", err_text());
    for (int i = 0; i < CONFIGS; i++) {
        char *again = model_config_text(&b, (ConfigFile)i);
        CHECK(again && strcmp(again, text[i]) == 0, "%s: %s and %s", config_files[i], text[i], again);
        free(again);
        free(text[i]);
    }
}

static void check_folder(void)
{
    Checkpoint m;
    Set       *ref = set_open("ref"), *null = set_null(ref);
    CHECK(null, "%s", err_text());
    if (checkpoint_describe(&m, fuzz_dir(), null) < 0) fuzz_refused(fuzz_dir());
    else {
        CHECK(checkpoint_step(&m) > 0 && m.native_w > 0 && m.native_h > 0, "a model for %d x %d", m.native_w, m.native_h);
        check_texts();
        size_t count = m.clip.weights.count + m.unet.weights.count + m.vae.weights.count;
        checkpoint_close(&m);
        if (count <= MOST && checkpoint_open(&m, fuzz_dir(), ref) == 0) checkpoint_close(&m);
        else if (count <= MOST) fuzz_refused(fuzz_dir());
    }
    free(null);
    cJSON *o = info_of(fuzz_dir());
    if (!o) fuzz_refused(fuzz_dir());
    cJSON_Delete(o);
}

static void check_built_in(const char *word, const ModelConfig *config)
{
    Checkpoint m;
    Set       *null = set_null(set_open("ref"));
    CHECK(strcmp(model_config_name(config), word) == 0, "%s is built in as %s", word, model_config_name(config));
    CHECK(null && checkpoint_describe(&m, word, null) == 0 && checkpoint_step(&m) == 64, "%s", err_text());
    checkpoint_close(&m);
    free(null);
}

int fuzz_one(const uint8_t *data, size_t size)
{
    static const char *const name[PARTS] = { "unet/config.json", "text_encoder/config.json", "vae/config.json", "scheduler/scheduler_config.json",
                                             "model_index.json" };
    static int numbers;
    FuzzPart   part[PARTS];
    char              *word = fuzz_text((FuzzPart){ data, size });
    const ModelConfig *built_in = model_config_named(word);
    if (built_in) check_built_in(word, built_in);
    free(word);
    if (!numbers++) put_golden("unet/diffusion_pytorch_model.safetensors"), put_golden("vae/diffusion_pytorch_model.safetensors"),
                    put_golden("text_encoder/model.safetensors");
    fuzz_parts(part, PARTS, data, size);
    for (int i = 0; i < PARTS; i++)
        if (part[i].data) fuzz_file(name[i], part[i].data, part[i].size);
        else put_golden(name[i]);
    check_folder();
    return 0;
}
