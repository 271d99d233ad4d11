# ref/lora/file.c: a strength may be infinite
s/if (!isfinite(m->alpha)) return err.*/if (0) return -1;/
