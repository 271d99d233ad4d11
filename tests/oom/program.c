/* The program itself, as a function that a test can call. */
#include "fault.h"
#define main sdlora_main
#include "cli/main.c"
