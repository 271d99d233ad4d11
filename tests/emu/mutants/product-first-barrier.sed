# product.cu linear_dx race: no barrier before the first slab is read
s/^    __syncthreads();$//
