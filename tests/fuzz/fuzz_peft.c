/* covers ref/lora/peft.c ref/lora/file.c ref/cli/info_files.c
 * A folder of PEFT, whose adapter_config.json is these bytes, and whose numbers are two modules. */
#include "cli/info_files.h"
#include "fuzz.h"
#include "io/safetensors.h"
#include "lora/info.h"
#include <math.h>

static void put_numbers(void)
{
    static const float     x[6] = { 1, 2, 3, 4, 5, 6 };
    const SafetensorsEntry e[] = {
        { .name = "base_model.model.mid.to_q.lora_A.weight", .type = T_F32, .rank = 2, .shape = { 2, 3 }, .data = x },
        { .name = "base_model.model.mid.to_q.lora_B.weight", .type = T_F32, .rank = 2, .shape = { 3, 2 }, .data = x },
        { .name = "base_model.model.down.0.to_k.lora_A.weight", .type = T_F32, .rank = 2, .shape = { 1, 3 }, .data = x },
        { .name = "base_model.model.down.0.to_k.lora_B.weight", .type = T_F32, .rank = 2, .shape = { 2, 1 }, .data = x },
    };
    const char *path = fuzz_file("unet/adapter_model.safetensors", "", 0);
    CHECK(safetensors_write(path, e, 4, NULL, 0) == 0, "%s", err_text());
}

int fuzz_one(const uint8_t *data, size_t size)
{
    static int there;
    LoraInfo   info;
    if (!there++) put_numbers();
    fuzz_file("unet/adapter_config.json", data, size);
    cJSON *shown = info_of(fuzz_dir());
    if (!shown) fuzz_refused(fuzz_dir());
    cJSON_Delete(shown);
    if (lora_info_path(&info, fuzz_dir()) < 0) return fuzz_refused(fuzz_dir()), 0;
    CHECK(info.file.modules == 2, "%d modules", info.file.modules);
    for (int i = 0; i < 2; i++) CHECK(isfinite(info.file.module[i].alpha) && isfinite(info.file.module[i].scale), "alpha %g", info.file.module[i].alpha);
    lora_info_close(&info);
    return 0;
}
