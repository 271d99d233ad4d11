# product.cu conv: every image gets the row of the first
s/p\.row\.p + n \* p\.row\.img + column/p.row.p + column/
