# act.cu dropout: two words of the key swapped
s/k\[2\] = { (unsigned)key, (unsigned)(key >> 32) }/k[2] = { (unsigned)(key >> 32), (unsigned)key }/
