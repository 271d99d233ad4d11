/* stb.c - Sean Barrett's stb_image and stb_image_write, compiled here and nowhere else: PNG, JPEG and BMP in, PNG out. */
#include "io/image.h"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_MAX_DIMENSIONS IMAGE_MAX_SIDE
#define STBI_WRITE_NO_STDIO
#include <stb_image.h>
#include <stb_image_write.h>
