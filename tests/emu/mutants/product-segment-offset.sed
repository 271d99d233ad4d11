# product.cu linear: a segment begins at the first column
s/(unsigned)row - part\.first;/(unsigned)row;/
