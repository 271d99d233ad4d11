# attn.cu attn: a query does not see its own key
s/(p\.causal \&\& key > row + i \/ 2 \* 8)/(p.causal \&\& key >= row + i \/ 2 * 8 \&\& key > 0)/
