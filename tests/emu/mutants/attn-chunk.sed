# attn.cu attn_dx: a wide head meets its own chunk first, and mixes another
s/(blockIdx\.z + 1 + i) % p\.chunks/(blockIdx.z + i) % p.chunks/
