# ref/io/exif.c: a segment may reach beyond the file
s/length > f.size - at - 2) break/length > f.size) break/
