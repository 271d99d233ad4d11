/* isa.h - the instruction set of one compilation. Every file of this room but set.c is compiled once for each level that the machine's family has, with
 * -DISA_AVX512, -DISA_AVX2, -DISA_NEON or -DISA_BASE; NAME(linear) is then linear_avx512 and so on. Levels differ in W, the floats of a vector, and in the
 * size of the tile that the registers hold (micro.h), hence in the order of sums: each is a set of its own, and a state says which one made it. */
#ifndef CPU_ISA_H
#define CPU_ISA_H

#if defined ISA_AVX512
#define NAME(stem) stem##_avx512
enum { W = 16, MR = 14 };
#elif defined ISA_AVX2
#define NAME(stem) stem##_avx2
enum { W = 8, MR = 6 };
#elif defined ISA_NEON
#define NAME(stem) stem##_neon
enum { W = 4, MR = 12 };
#elif defined ISA_BASE
#define NAME(stem) stem##_base
enum { W = 4, MR = 6 };
#else
#error "compile with -DISA_AVX512, -DISA_AVX2, -DISA_NEON or -DISA_BASE"
#endif

enum { NV = 2, NR = NV * W };                           /* a register tile is MR rows by NR columns, NV vectors */
#endif
