/* set.h - the CPU set: activations and accumulators f32, one set for each level of instructions.
 *
 * cpu_open(NULL): the best level that this processor has, of those that the program was built with; cpu_open("avx2"): that one. Set.name tells which it is:
 * "cpu-avx512", "cpu-avx2", "cpu-neon", "cpu-base". NULL and err(): no such level, or not on this processor. */
#ifndef CPU_SET_H
#define CPU_SET_H
#include "ops/ops.h"

Set *cpu_open(const char *level);
#endif
