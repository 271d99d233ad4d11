# product.h linear: a warp reads rows of its tile 8 apart, which lie 16 apart
s/m + 16 \* i + lane % 16/m + 8 * i + lane % 16/
