# ref/io/safetensors.c: a shape may have one dimension more than there is room
s/if (e->rank == SAFETENSORS_MAX_RANK) return err/if (e->rank > SAFETENSORS_MAX_RANK) return err/
