# product_dw.cu conv_dw: the padding above is taken for that on the left
s/% p\.kernel - p\.pad_x;/% p.kernel - p.pad_y;/
