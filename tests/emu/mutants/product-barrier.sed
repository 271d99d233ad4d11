# product.cu linear race: no barrier between slabs
s/^        __syncthreads();$//
