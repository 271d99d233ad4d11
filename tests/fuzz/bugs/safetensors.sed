# ref/io/safetensors.c: the bytes of a shape overflow without a word
s/__builtin_mul_overflow(e->count, dtypes\[k\].size, &bytes) ||/(bytes = e->count * dtypes[k].size, 0) ||/
