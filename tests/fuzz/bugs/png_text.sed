# ref/io/png_text.c: a chunk may begin behind the end of the file
s/if (end - chunk < FRAME ||/if (/
