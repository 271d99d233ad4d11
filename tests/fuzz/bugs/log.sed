# ref/train/log.c: the last line is not counted
s/malloc(((size_t)room + 1) \* sizeof \*\*line)/malloc((size_t)room * sizeof **line)/
