# attn.cu attn: what was summed before a larger score came is not scaled down
s/^    scale_rows<D>(acc, change\[0\], change\[1\]);$//
