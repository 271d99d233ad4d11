/* version.h - the number of this program, in files that it writes and in what it prints. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H
#define SDLORA_VERSION "0.1.0"
#endif
