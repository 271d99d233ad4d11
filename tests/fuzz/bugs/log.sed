# ref/train/log.c: the last line is not counted
s/malloc(((size_t)room + 1)/malloc(((size_t)room \/ 2 + 1)/
