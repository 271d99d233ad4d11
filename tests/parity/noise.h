/* noise.h - ref64 with the rounding errors of float, as a kernel set: what a float run may be off by, measured.
 *
 * Every number that goes to memory - each output of each op, each weight and input - is moved by a random part of itself, up to u = 2^-24, the unit
 * roundoff of float. So the errors start everywhere where float's do, at the size that float's have at most, and the net itself carries them on. */
#ifndef PARITY_NOISE_H
#define PARITY_NOISE_H
#include "ops/ops.h"

/* There is one such set: another seed begins another series of errors. NULL and err() where ref64 cannot be opened. */
Set *noise_open(uint64_t seed);
#endif
