# attn.cu attn: the mask begins a tile too late
s/(p\.causal \&\& k0 + BN > blockIdx\.x \* ROWS)/(p.causal \&\& k0 > blockIdx.x * ROWS)/
