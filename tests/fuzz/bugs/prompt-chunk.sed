# ref/text/chunks.c: a learned word may stand in two chunks
s/if (f->fill + n > room \&\& end_chunk(f))/if (f->fill + 1 > room \&\& end_chunk(f))/
