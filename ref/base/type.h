/* type.h - element types of tensors in memory and in files, and exact conversions between them. */
#ifndef BASE_TYPE_H
#define BASE_TYPE_H
#include <stddef.h>
#include <stdint.h>

typedef enum { T_F32, T_F64, T_F16, T_BF16, T_I32, T_I64, T_U8, T_COUNT } Type;

size_t      type_size(Type type);                       /* bytes of one element */
const char *type_name(Type type);                       /* "f32", ... */

/* IEEE binary16 and bfloat16. To the narrow type: round to nearest even, overflow to infinity, NaN stays NaN (quiet). */
float    f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float x);
float    bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float x);

/* Element i of an array of any type, as a double; and back, rounded once to nearest even (integers: truncated, and kept in range). */
double type_get(Type type, const void *array, size_t i);
void   type_set(Type type, void *array, size_t i, double value);

/* dst[0..count) = src[0..count), types may differ, each element rounded once. They do not overlap. Between floating types at the speed of vector code. */
void type_convert(Type dst_type, void *dst, Type src_type, const void *src, size_t count);
#endif
