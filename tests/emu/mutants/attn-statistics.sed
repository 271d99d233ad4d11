# attn.cu attn_dx race: the statistics of the last query of a tile are not brought
s/threadIdx\.x < BN) t\.statistics/threadIdx.x < BN - 1) t.statistics/
