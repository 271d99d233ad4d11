# ref/text/caption.c: a caption is put where it just does not fit
s/if (length >= size - \*used) return err/if (length > size - *used) return err/
