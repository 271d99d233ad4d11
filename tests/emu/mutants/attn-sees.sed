# attn.cu attn_dx: backward, a query sees the key after its own
s/|| key <= query);/|| key <= query + 1);/
