/* set.h - the CPU set: activations and accumulators f32, one set for each level of instructions.
 *
 * "cpu": the best level that this processor has, of those that the program was built with; "cpu-avx512", "cpu-avx2", "cpu-neon", "cpu-base": that one;
 * "cpu-exact", "cpu-avx2-exact" and so on: the same without Winograd's transforms, which round more. Set.name tells which it is.
 * NULL and err(): no such set, or not on this processor. */
#ifndef CPU_SET_H
#define CPU_SET_H
#include "ops/ops.h"

Set *cpu_open(const char *name);
#endif
