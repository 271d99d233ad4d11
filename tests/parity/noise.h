/* noise.h - ref64 with the rounding errors of another set, as a kernel set: what a run on that may be off by, measured.
 *
 * Every number that goes to memory - each output of each op, each weight and input - is moved by a random part of itself, up to u, the unit roundoff of the
 * type that the other set keeps it in: 2^-24 for float, 2^-11 for f16. So the errors start everywhere where that set's do, at the size that they have at
 * most, and the net itself carries them on. */
#ifndef PARITY_NOISE_H
#define PARITY_NOISE_H
#include "ops/ops.h"

/* There is one such set: another seed begins another series of errors, those of `like`. NULL and err() where ref64 cannot be opened. */
Set *noise_open(const Set *like, uint64_t seed);
#endif
