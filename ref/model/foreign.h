/* foreign.h - the models that are not Stable Diffusion 1.x or 2.x, told by what is in them, so that each is refused under its own name. */
#ifndef MODEL_FOREIGN_H
#define MODEL_FOREIGN_H
#include "io/safetensors.h"

/* "a Stable Diffusion XL model" and the like; NULL: nothing foreign is seen. */
const char *foreign_file(const Safetensors *file);
const char *foreign_pipeline(const char *class_name);   /* of model_index.json */

/* Puts "PATH: WHAT; ..." on err(): -1. */
int foreign_refuse(const char *path, const char *what);
#endif
