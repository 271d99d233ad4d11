# ref/io/image.c: a Huffman table may have more codes than stb has room for
s/if (codes > 256) return/if (codes > 65536) return/
