# dev.h linear: one channel too many at the edge of a row
s/push_half(x, j < count ? p\[j\]/push_half(x, j <= count ? p[j]/
