/* hashes.h - the hashes that kohya's scripts write into a LoRA file, and by which web UIs and model sites know it.
 *
 *   sshs_model_hash    SHA-256 of all tensor data: A1111's hash of a LoRA; its first 12 digits are civitai's AutoV3
 *   sshs_legacy_hash   eight digits of that of 64 KB from 1 MB on, of a file whose metadata are ss_* alone */
#ifndef LORA_HASHES_H
#define LORA_HASHES_H
#include "io/safetensors.h"

/* safetensors_write with both of them after the pairs. 0, or -1 and err(). */
int lora_write(const char *path, const SafetensorsEntry *entry, int count, const SafetensorsPair *pair, int pairs);
#endif
