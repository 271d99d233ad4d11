# product_dw.cu conv_dw: eight columns are taken for channels of one tap
s/if (p\.wide_x) return eight/if (p.wide_x || p.x.c > 4) return eight/
