# dev.h linear: one channel too many at the edge of a row
s/x\.v\[j\] = j < count ? p\[j\]/x.v[j] = j <= count ? p[j]/
