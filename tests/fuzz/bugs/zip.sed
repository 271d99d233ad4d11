# ref/io/zip.c: a member may end behind the archive
s/if (begin > directory || x.bytes > directory - begin)/if (begin > directory)/
