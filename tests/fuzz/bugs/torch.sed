# ref/io/torch_file.c: a view may reach one element beyond its storage
s/if (last >= s->storage.count)/if (last > s->storage.count)/
