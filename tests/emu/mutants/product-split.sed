# product.h linear: the last of the parts that blocks share is not added
s/z < splits; z++) add_eight/z + 1 < splits; z++) add_eight/
